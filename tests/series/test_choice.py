from dataclasses import replace

import pytest

from ich_mlflow.dicom.contrast import Contrast, ContrastTags
from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.series.choice import TO_EVALUATE, TO_SCORE, choose
from ich_mlflow.series.series import scans_of
from ich_mlflow.series.words import contrast_of, derived_from

HEADER = ImageHeader(
    sop_uid="1", series_uid="1", patient_id="p", study_uid="s", position_mm=0.0, tilt_degrees=0.0
)
AGENT = ContrastTags(contrast=Contrast.CERTAIN, keyword="ContrastBolusAgent")


def headers(*, slices=30, step_mm=5.0, at_each=1, start_mm=0.0, **tags):
    return [
        replace(HEADER, position_mm=start_mm + k // at_each * step_mm, instance_number=k + 1, **tags)
        for k in range(slices)
    ]


def series(name="CT Plain", **tags):
    return named(name, headers(**tags))


def named(name, its_headers):
    (one, _), *_ = scans_of(its_headers, study="s", folder=f"exam/{name}", is_named_by_folder=True)
    return one


def chosen(*all_series, policy=TO_EVALUATE):
    found = choose(all_series, policy)
    return all_series[found.chosen[0]].folder.removeprefix("exam/") if found.chosen else None


def why(one, policy=TO_EVALUATE):
    return choose([one], policy).why[0]


def remarks(*all_series):
    return choose(all_series, TO_SCORE).remarks


@pytest.mark.parametrize(
    "name",
    [
        "CT Plain", "CT PLAIN THIN", "CT Thin Plain", "CT PRE CONTRAST THIN", "CT 5mm", "CT I To S", "CT 0.625mm",
        "CT non-contrast", "CT WITHOUT CONTRAST", "CT wo contrast", "CT_Plain_3mm", "CT unenhanced", "CT POST FOSSA",
        "HEAD WO C", "Brain C-", "Head -C", "BRAIN (C-)", "Tete SANS CONTRASTE", "Cabeza SIN CONTRASTE",
        "Kopf ohne KM", "Kopf nativ", "HEAD POST TRAUMA", "Head post thrombectomy", "CT 2.55mm", "CT POST OP",
        "CT Precontrast", "CT BRAIN", "CT RECON 3", "Schädel o. KM", "Schädel o KM", "Crâne sans inj",
        "Encefalo senza mdc", "Crânio sem contraste", "Hoofd zonder contrast", "HEAD WO IV CONTRAST", "HEAD NCCT",
        "CT HEAD NON-CON", "头部平扫", "Cranio basale", "Kopf ohne i.v. KM", "HEAD NO CONT", "CONTRAST: NONE",
    ],
)  # fmt: skip
def test_plain_series_are_taken_for_plain(name):
    assert contrast_of(name) == Contrast.NONE
    assert chosen(series(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "Kopf mit KM", "Schädel mit Kontrastmittel", "Crane avec injection", "HEAD W CON", "Head C+", "Head +C",
        "CT POST CONTRAST", "CT POST CONTRAST THIN", "CT 4cc sec 150cc D3D on", "CT +C", "CT C", "CT BRAIN C THIN",
        "CECT", "CT ANGIO", "CTA", "CT contrast", "CT PLAIN AND CONTRAST", "CT Post", "CT_POST_CONTRAST",
        "CT VENOUS", "CT WITH CONTRAST", "CT pre and post contrast", "COW 5.0", "CRANEO C/C", "Kopf m. KM",
        "HEAD W/C", "Encefalo con mdc", "头部增强", "CAROTIDS",
    ],
)  # fmt: skip
def test_series_with_contrast_are_known_by_their_names(name):
    assert contrast_of(name) > Contrast.NONE
    assert why(series(name)) == "contrast, by its name"
    assert why(series("CT 5mm", description=name)) == "contrast, by its name"


def test_a_description_may_say_without_in_short():
    said = (
        "HEAD W/O C", "HEAD W/OUT CONTRAST", "HEAD W/O CON", "CRANEO S/C", "CRANEO S/CTTE", "HEAD WO/C", "HEAD W/O/C",
        "Encefalo s/mdc",
    )  # fmt: skip
    assert not any(map(contrast_of, said))
    assert not contrast_of("HEAD W/O CONTRAST")
    assert contrast_of("HEAD W CONTRAST") == Contrast.CERTAIN


def test_contrast_in_the_header_rules_a_series_out_though_it_is_called_plain():
    assert why(series(contrast=AGENT)) == "contrast, by ContrastBolusAgent"


def test_the_thinnest_is_chosen_and_of_equal_ones_the_first_by_name():
    assert chosen(series("a", step_mm=5), series("b", step_mm=4), series("c", step_mm=6)) == "b"
    assert chosen(series("b"), series("a"), series("c")) == "a"


def test_a_tilted_gantry_is_axial_and_a_reformat_is_not():
    assert chosen(series(tilt_degrees=25)) == "CT Plain"
    assert chosen(series(tilt_degrees=45)) == "CT Plain"
    assert (
        why(series("CT sagittal", tilt_degrees=90))
        == "not axial: its normal is 90 degrees from the body axis"
    )


def test_a_scan_of_a_part_of_the_head_is_not_enough():
    assert chosen(series(slices=20, step_mm=5)) == "CT Plain"  # 100 mm
    assert why(series(slices=19, step_mm=5)) == "19 slices of 95 mm together, expected 16 and 100 mm"
    assert chosen(series(slices=16, step_mm=7)) == "CT Plain"
    assert why(series(slices=15, step_mm=7)) == "15 slices of 105 mm together, expected 16 and 100 mm"
    assert "a single slice, expected 16" in why(series(slices=1))


def test_thin_slices_of_a_part_do_not_win_over_thick_ones_of_the_whole():
    assert chosen(series("thick"), series("thin", slices=60, step_mm=0.625)) == "thick"


def test_several_images_at_a_position_are_several_phases():
    assert why(series(slices=60, at_each=2)) == "several images at one position: 60 at 30"
    # Two of thirty at one position is a scanner's whim.
    assert chosen(named("whim", [*headers(), HEADER])) == "whim"


@pytest.mark.parametrize(
    "tags", [{"kernel": "BONEPLUS"}, {"kernel": "EDGE"}, {"kernel": "H60s"}, {"description": "Bone 1.25"}]
)
def test_a_bone_kernel_is_only_taken_where_there_is_no_other(tags):
    bone = series("a thin one", slices=200, step_mm=0.6, **tags)
    assert chosen(bone, series("CT Plain", kernel="H31s")) == "CT Plain"
    assert chosen(bone, series("CT Plain", kernel="STANDARD")) == "CT Plain"
    assert chosen(bone) == "a thin one"
    assert why(bone) == "the only one (bone kernel)"


def test_localizers_are_none_and_without_any_series_nothing_is_chosen():
    assert why(series(is_localizer=True)) == "localizer"
    assert chosen(series(is_localizer=True), series("CT POST CONTRAST")) is None
    assert choose([], TO_SCORE).chosen == ()


def test_a_hole_in_the_scan_does_not_count_as_covered():
    holed = [*headers(slices=10), *headers(slices=9, start_mm=100)]  # 45 + 40 mm, 55 mm apart
    assert why(named("holed", holed)) == "19 slices of 95 mm together, expected 16 and 100 mm"


def test_of_two_increments_in_one_scan_each_step_counts():
    """20 x 2.5 mm and 14 x 7.5 mm: 50 + 105 = 155 mm, where 34 times the median step would be 85."""
    fossa, vertex = headers(slices=20, step_mm=2.5), headers(slices=14, step_mm=7.5, start_mm=52.5)
    mixed = named("mixed", [*fossa, *vertex])
    assert mixed.coverage_mm == 155
    assert chosen(series("bone", kernel="H70h"), mixed) == "mixed"
    assert remarks(mixed) == ()


@pytest.mark.parametrize("name", ["HEAD C 5.0", "Head late", "Head post"])
def test_a_doubtful_word_is_a_remark_to_who_scores_and_a_reason_to_who_evaluates(name):
    assert contrast_of(name) == Contrast.DOUBTFUL
    doubtful = series("x", description=name)
    assert remarks(doubtful) == ("perhaps with contrast agent, by its name",)
    assert why(doubtful, TO_EVALUATE) == "contrast, by its name"
    assert chosen(doubtful, series("y"), policy=TO_SCORE) == "y"


def test_contrast_that_another_tag_names_is_contrast():
    volume = ContrastTags(contrast=Contrast.CERTAIN, keyword="ContrastBolusVolume")
    assert why(series(contrast=volume), TO_SCORE) == "contrast, by ContrastBolusVolume"
    route = ContrastTags(contrast=Contrast.DOUBTFUL, keyword="ContrastBolusRoute")
    assert remarks(series(contrast=route)) == ("perhaps with contrast agent, by ContrastBolusRoute",)


@pytest.mark.parametrize(
    ("image_type", "name", "kind"),
    [
        ("DERIVED\\SECONDARY\\OTHER\\IODINE", "DE_Head", "a map of dual energy or a subtraction, by ImageType"),
        ("DERIVED\\PRIMARY\\AXIAL\\VNC", "", "a map of dual energy or a subtraction, by ImageType"),
        ("DERIVED\\PRIMARY\\AXIAL\\RHO_Z", "", "a map of dual energy or a subtraction, by ImageType"),
        ("", "Head Mono 70 keV", "a map of dual energy or a subtraction, by its description"),
        ("", "Water(Iodine)", "a map of dual energy or a subtraction, by its description"),
        ("", "Virtual Non Contrast", "a map of dual energy or a subtraction, by its description"),
        ("", "Subtraction", "a map of dual energy or a subtraction, by its description"),
        ("DERIVED\\SECONDARY\\MIP", "", "a projection, by ImageType"),
        ("", "BRAIN MIP 5", "a projection, by its description"),
        ("ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM7 SPI DUAL STD", "Head 5.0 Hr38", ""),
        ("DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE", "HEAD 3D 1.0", ""),
        ("", "SUBDURAL WINDOW", ""),
        ("", "SUBACUTE SDH", ""),
    ],
)  # fmt: skip
def test_maps_and_projections_are_told_from_scans(image_type, name, kind):
    assert derived_from(image_type, name) == kind
    assert why(series(image_type=image_type, description=name), TO_SCORE) == (kind or "the only one")


def test_an_original_is_preferred_to_what_was_computed():
    reformat = series("reformat", image_type="DERIVED\\SECONDARY\\REFORMATTED", slices=31)
    assert chosen(reformat, series("scan"), policy=TO_SCORE) == "scan"
    assert chosen(reformat, policy=TO_SCORE) == "reformat"


def test_two_interleaved_passes_are_two_scans():
    """32 x 5 mm twice, the second time 2 mm higher: 64 images in one series."""
    first, second = headers(slices=32, acquisition="1"), headers(slices=32, acquisition="2", start_mm=2.0)
    (one, places), (again, _) = scans_of([*first, *second])
    assert (len(one.headers), one.step_mm, places) == (32, 5.0, tuple(range(32)))
    assert (again.is_repeat, again.header.acquisition) == (True, "2")
    said = "another scan of the head is in the study and was not scored: series=all scores it"
    assert remarks(one, again) == (said,)
    # Where no AcquisitionNumber tells them apart, InstanceNumber begins anew at the neck.
    unnumbered = [
        replace(header, acquisition="", instance_number=k) for k, header in enumerate([*first, *second])
    ]
    assert [len(scan.headers) for scan, _ in scans_of(unnumbered)] == [32, 32]


def test_acquisitions_of_thousands_of_digits_are_told_apart_all_the_same():
    first, second = (headers(slices=32, acquisition=digit * 5000) for digit in "12")
    moved = [replace(one, position_mm=one.position_mm + 2) for one in second]
    assert [len(scan.headers) for scan, _ in scans_of([*first, *moved])] == [32, 32]


def test_slices_that_were_taken_again_are_left_out_and_counted():
    """32 x 5 mm, and 5 more of AcquisitionNumber 2 at the places 12 to 16."""
    again = headers(slices=5, start_mm=60.0, acquisition="2")
    (one, _), (rest, _) = scans_of([*headers(slices=32, acquisition="1"), *again])
    assert (len(one.headers), len(rest.headers)) == (32, 5)
    assert remarks(one, rest) == ("5 slices taken again and not scored",)


def test_a_scan_by_steps_with_a_number_each_is_one_scan():
    stepped = [replace(header, acquisition=str(k // 2)) for k, header in enumerate(headers())]
    assert [len(scan.headers) for scan, _ in scans_of(stepped)] == [30]


def test_three_passes_or_two_at_the_same_places_are_phases():
    for starts in ((0.0, 0.0), (0.0, 1.0, 2.0)):
        phases = [
            header
            for number, start in enumerate(starts)
            for header in headers(acquisition=str(number), start_mm=start)
        ]
        assert why(named("phases", phases), TO_SCORE).startswith("several images at one position")


def test_slices_that_are_missing_at_an_end_are_seen_by_their_numbers():
    cut = named("cut", headers(slices=32)[8:])
    assert remarks(cut) == ("its first InstanceNumber is 9: 8 slices may be missing at an end",)
    one_less = named("cut", headers(slices=32)[1:])
    assert remarks(one_less) == ("its first InstanceNumber is 2: 1 slice may be missing at an end",)
    promised = named("cut", headers(slices=24, images_in_acquisition=32))
    assert remarks(promised) == ("ImagesInAcquisition is 32 and there are 24: slices may be missing",)
    assert remarks(named("whole", headers(slices=32, images_in_acquisition=32))) == ()


def numbered(uid, first, *, slices, **tags):
    found = headers(slices=slices, series_uid=uid, **tags)
    return named(uid, [replace(one, instance_number=first + k) for k, one in enumerate(found)])


def test_where_numbers_run_on_from_series_to_series_nothing_is_missing_at_an_end():
    """Localizers 1 and 2, the head 3 to 34, by a bone kernel 35 to 66."""
    localizers = numbered("localizer", 1, slices=2, is_localizer=True)
    head, bone = numbered("head", 3, slices=32), numbered("bone", 35, slices=32, kernel="H70h")
    assert remarks(localizers, head, bone) == ()
    assert remarks(localizers, head) == ()
    # 3 to 10 are nowhere; or both series count from 1, and this one begins with 3.
    said = ("its first InstanceNumber is {}: {} slices may be missing at an end",)
    assert remarks(localizers, numbered("cut", 11, slices=24)) == (said[0].format(11, 10),)
    again = numbered("bone", 1, slices=32, kernel="H70h")
    assert remarks(head, again) == (said[0].format(3, 2),)
    # A number that counts nothing is not counted with.
    far = numbered("far", 4_000_000_000, slices=32)
    assert remarks(localizers, far) == (
        "its first InstanceNumber is 4000000000: slices may be missing at an end",
    )


def test_a_sister_series_that_reaches_further_is_said():
    said = remarks(named("cut", headers(slices=24)), named("bone", headers(slices=32, kernel="H70h")))
    assert said == ("another scan of the head is in the study and was not scored: series=all scores it",)


def test_where_positions_are_one_or_none_slice_location_orders():
    for position in (float("nan"), 7.0):
        lost = [
            replace(
                header, position_mm=position, slice_location_mm=header.position_mm, instance_number=30 - k
            )
            for k, header in enumerate(headers())
        ]
        (one, places), *rest = scans_of(lost)
        assert (one.step_mm, places[0], rest) == (5.0, 0, [])
        assert remarks(one) == ("slices without a position: in the order of SliceLocation",)


def test_a_protocols_free_text_as_body_part_does_not_decide_and_pixels_do():
    free = series("x", body_part="ROUTINE 5MM")
    asked = []
    for seen, taken in (("", (0,)), ("there is no skull around a brain", ())):
        found = choose([free], TO_SCORE, look=lambda place, seen=seen: asked.append(place) or seen)
        assert found.chosen == taken
    assert asked == [0, 0]
    assert found.why == ("another part of the body, by its pixels: there is no skull around a brain",)
    assert why(series(body_part="ABDOMEN"), TO_SCORE) == "another part of the body, by BodyPartExamined"


def test_a_series_whose_headers_say_that_it_cant_be_read_is_taken_where_there_is_no_other():
    unreadable = "the file has a RescaleType other than HU"
    broken = series("Head", why_unreadable=unreadable)
    thin = series("Head", step_mm=4.0, slices=36, series_uid="2")
    found = choose([broken, thin], TO_SCORE)
    assert (found.chosen, found.why[0]) == ((1,), f"it can't be read: {unreadable}")
    assert found.remarks == (f"another series of the head can't be read: {unreadable}",)
    assert choose([broken, thin], TO_SCORE, every=True).chosen == (1,)
    assert choose([broken], TO_SCORE).chosen == (0,)
    one_can = named(
        "Head", [replace(one, why_unreadable=unreadable * (k > 0)) for k, one in enumerate(headers())]
    )
    assert one_can.why_unreadable == ""


def test_of_a_series_that_would_not_have_been_taken_nothing_is_said():
    bone = series("Head", kernel="H70h", why_unreadable="the file has a RescaleType other than HU")
    assert choose([bone, series("Head", series_uid="2")], TO_SCORE).remarks == ()
