from dataclasses import replace

import pytest

from ich_mlflow.dicom.series import SliceHeader
from ich_mlflow.series.choice import Series, choose_series, says_contrast

HEADER = SliceHeader(
    sop_uid="1",
    series_uid="1",
    position_mm=0.0,
    tilt_degrees=0.0,
    description="",
    kernel="",
    has_contrast=False,
    is_localizer=False,
)


def series(name="CT Plain", *, slices=30, step_mm=5.0, at_each=1, **tags):
    headers = tuple(replace(HEADER, position_mm=k // at_each * step_mm, **tags) for k in range(slices))
    return Series(study="s", folder=f"exam/{name}", headers=headers)


def chosen(*all_series):
    one, rows = choose_series(all_series)
    assert [row.chosen for row in rows].count(True) == (one is not None)
    return one and one.folder.removeprefix("exam/")


def why(one):
    return choose_series([one])[1][0].why


@pytest.mark.parametrize(
    "name",
    [
        "CT Plain", "CT PLAIN THIN", "CT Thin Plain", "CT PRE CONTRAST THIN", "CT 5mm", "CT I To S", "CT 0.625mm",
        "CT non-contrast", "CT WITHOUT CONTRAST", "CT wo contrast", "CT_Plain_3mm", "CT unenhanced", "CT POST FOSSA",
        "HEAD WO C", "Brain C-", "Head -C", "BRAIN (C-)", "Tete SANS CONTRASTE",
        "Cabeza SIN CONTRASTE", "Kopf ohne KM", "Kopf nativ", "HEAD POST TRAUMA", "Head post thrombectomy",
        "CT 2.55mm", "CT POST OP", "CT Precontrast", "CT BRAIN", "CT RECON 3",
    ],
)  # fmt: skip
def test_plain_series_are_taken_for_plain(name):
    assert not says_contrast(name)
    assert chosen(series(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "Kopf mit KM", "Schädel mit Kontrastmittel", "Crane avec injection", "HEAD W CON", "Head C+", "Head +C",
        "CT POST CONTRAST", "CT POST CONTRAST THIN", "CT 4cc sec 150cc D3D on", "CT +C", "CT C", "CT BRAIN C THIN",
        "CECT", "CT ANGIO", "CTA", "CT contrast", "CT PLAIN AND CONTRAST", "CT Post", "CT_POST_CONTRAST",
        "CT VENOUS", "CT WITH CONTRAST", "CT pre and post contrast",
    ],
)  # fmt: skip
def test_series_with_contrast_are_known_by_their_names(name):
    assert says_contrast(name)
    assert why(series(name)) == "contrast, by its name"
    assert why(series("CT 5mm", description=name)) == "contrast, by its name"


def test_a_description_may_say_without_in_short():
    assert not any(map(says_contrast, ("HEAD W/O C", "HEAD W/OUT CONTRAST", "HEAD W/O CON")))
    assert not says_contrast("HEAD W/O CONTRAST")
    assert says_contrast("HEAD W CONTRAST")


def test_contrast_in_the_header_rules_a_series_out_though_it_is_called_plain():
    assert why(series(has_contrast=True)) == "contrast, by ContrastBolusAgent"


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
    assert "1 slices of nan mm" in why(series(slices=1))


def test_thin_slices_of_a_part_do_not_win_over_thick_ones_of_the_whole():
    assert chosen(series("thick"), series("thin", slices=60, step_mm=0.625)) == "thick"


def test_several_images_at_a_position_are_several_phases():
    assert why(series(slices=60, at_each=2)) == "several images at one position: 60 at 30"
    # Two of thirty at one position is a scanner's whim.
    headers = (*series().headers, HEADER)
    assert chosen(Series(study="s", folder="exam/whim", headers=headers)) == "whim"


@pytest.mark.parametrize(
    "tags", [{"kernel": "BONEPLUS"}, {"kernel": "EDGE"}, {"kernel": "H60s"}, {"description": "Bone 1.25"}]
)
def test_a_bone_kernel_is_only_taken_where_there_is_no_other(tags):
    bone = series("a thin one", slices=200, step_mm=0.6, **tags)
    assert chosen(bone, series("CT Plain", kernel="H31s")) == "CT Plain"
    assert chosen(bone, series("CT Plain", kernel="STANDARD")) == "CT Plain"
    assert chosen(bone) == "a thin one"
    assert why(bone) == "the only one"


def test_localizers_are_none_and_without_any_series_nothing_is_chosen():
    assert why(series(is_localizer=True)) == "localizer"
    assert chosen(series(is_localizer=True), series("CT POST CONTRAST")) is None
    assert choose_series([]) == (None, [])


def test_a_hole_in_the_scan_does_not_count_as_covered():
    low, high = series(slices=10).headers, series(slices=10).headers
    far = tuple(replace(header, position_mm=header.position_mm + 100) for header in high[:9])
    holed = Series(study="s", folder="exam/holed", headers=(*low, *far))  # 45 + 40 mm, 145 mm apart
    assert why(holed) == "19 slices of 95 mm together, expected 16 and 100 mm"
