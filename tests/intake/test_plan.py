from dataclasses import replace

import pytest

from ich_mlflow.dicom.contrast import Contrast, ContrastTags
from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.intake.files import InputFile
from ich_mlflow.intake.plan import choose, plan
from ich_mlflow.intake.survey import Image

AGENT = ContrastTags(contrast=Contrast.CERTAIN, keyword="ContrastBolusAgent")
HEADER = ImageHeader(
    sop_uid="", series_uid="", patient_id="p", study_uid="s", study_date="20260101", position_mm=0.0, tilt_degrees=0.0,
    description="HEAD WO", kernel="H31s", body_part="HEAD", image_type="ORIGINAL\\PRIMARY\\AXIAL",
    series_number=2, instance_number=1, field_of_view_mm=(230.0, 230.0),
)  # fmt: skip


def series(name, *, slices=30, step_mm=5.0, **tags):
    """From the head down, as files often are."""
    return [
        Image(
            file=InputFile(name=f"{name}/{k:03d}", path=None, num_bytes=100),
            header=replace(
                HEADER,
                sop_uid=f"{name}-{k}",
                series_uid=name,
                position_mm=-k * step_mm,
                instance_number=k + 1,
                **tags,
            ),
        )
        for k in range(slices)
    ]


def chosen(*all_series, every=False):
    planned, _, rows = choose([image for one in all_series for image in one], every=every)
    assert sum(row.chosen for row in rows) == len(planned)
    return sorted(one.series_uid for one in planned)


def why(one):
    return choose(one)[2][0].why


NON_CONTRAST = series("non-contrast")


def test_slices_are_ordered_from_the_neck_up():
    (one,), _, (row,) = choose(NON_CONTRAST)
    assert one.sop_uids[0] == "non-contrast-29"
    assert one.positions_mm[:2] == (-145.0, -140.0)
    assert one.files[0].name == "non-contrast/029"
    assert (row.num_slices, row.step_mm, row.chosen, row.why) == (30, 5.0, True, "the only one")
    assert one.remarks == ()


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"is_localizer": True}, "localizer"),
        ({"tilt_degrees": 90.0}, "not axial: its normal is 90 degrees from the body axis"),
        ({"contrast": AGENT}, "contrast, by ContrastBolusAgent"),
        ({"description": "Head + C"}, "contrast, by its name"),
        ({"image_type": "DERIVED\\SECONDARY\\AXIAL\\CT_SOM5 MIP"}, "a projection, by ImageType"),
        ({"image_type": "DERIVED\\SECONDARY\\MIP"}, "a projection, by ImageType"),
        ({"description": "", "body_part": "CHEST"}, "another part of the body, by BodyPartExamined"),
        ({"description": "C-SPINE 2.0", "body_part": ""}, "another part of the body, by its description"),
        ({"description": "CHEST", "body_part": "HEAD"}, "another part of the body, by its description"),
        (
            {"description": "5.0 STND", "body_part": "", "study_description": "CT ABDOMEN"},
            "another part of the body, by the study's description",
        ),
        ({"field_of_view_mm": (650.0, 650.0)}, "its field of view is 650 mm, expected 520 at most"),
    ],
)
def test_what_is_never_scored(tags, said):
    assert why(series("other", **tags)) == said
    assert chosen(NON_CONTRAST, series("other", **tags)) == ["non-contrast"]
    assert chosen(NON_CONTRAST, series("other", **tags), every=True) == ["non-contrast"]


@pytest.mark.parametrize(
    "tags",
    [
        {"body_part": "", "description": ""},
        {"body_part": "SKULL"},
        {"body_part": "HEADNECK"},
        {"body_part": "UNKNOWN", "description": "Brain 5mm"},
        {"body_part": "", "description": "5.0", "study_description": "CT HEAD AND C-SPINE"},
        {"field_of_view_mm": (float("nan"), float("nan"))},
        {"field_of_view_mm": (500.0, 500.0)},
        {"image_type": "DERIVED\\SECONDARY\\REFORMATTED"},  # axial, and so as good as the scan
        {"image_type": ""},
    ],
)
def test_what_may_be_a_head(tags):
    assert chosen(series("it", **tags)) == ["it"]


def test_of_reconstructions_the_one_nearest_to_5_mm_is_taken():
    thin, thick = series("thin", slices=120, step_mm=1.25), series("thick", slices=15, step_mm=10.0)
    assert chosen(thin, NON_CONTRAST, thick) == ["non-contrast"]
    assert chosen(thin, NON_CONTRAST, every=True) == ["non-contrast", "thin"]
    # 10 mm is nearer by the ratio, and 15 slices of it are too few for a whole head
    assert chosen(thin, thick) == ["thin"]
    *_, rows = choose([*thin, *NON_CONTRAST])
    assert [row.why for row in rows] == [
        "another is nearer to 5 mm from slice to slice, or has more",
        "the best of several",
    ]


def test_of_equal_ones_more_slices_win_then_the_lower_number():
    assert chosen(NON_CONTRAST, series("longer", slices=31)) == ["longer"]
    assert chosen(series("b", series_number=3), series("a", series_number=4)) == ["b"]


def test_bone_and_short_ones_are_taken_only_where_there_is_nothing_better():
    bone, short = series("bone", kernel="H70h"), series("short", slices=4)
    assert chosen(bone, NON_CONTRAST, short) == ["non-contrast"]
    assert chosen(bone, short) == ["bone"]
    (one,), _, (row,) = choose(bone)
    assert one.remarks == ("bone kernel: there was no other",)
    assert row.why == "the only one (bone kernel)"
    (one,), *_ = choose(short)
    assert one.remarks == ("less than a whole head: 4 slices of 20 mm together, expected 16 and 100 mm",)


def test_a_lone_slice_is_scored_and_said_to_be_one():
    (one,), *_ = choose(NON_CONTRAST[:1])
    assert one.remarks[0].startswith("less than a whole head: a single slice")


def test_a_body_is_no_head():
    assert why(series("body", slices=200)) == "it covers 1000 mm of the body, expected 400 at most"


def test_a_localizer_in_the_series_of_the_scan_is_left_out_of_it():
    localizer = [
        replace(NON_CONTRAST[0], header=replace(NON_CONTRAST[0].header, sop_uid="l", is_localizer=True))
    ]
    planned, _, rows = choose([*localizer, *NON_CONTRAST])
    assert [len(one.files) for one in planned] == [30]
    assert sorted((row.num_slices, row.chosen) for row in rows) == [(1, False), (30, True)]


def test_without_positions_the_order_is_that_of_instance_numbers():
    lost = series("lost", tilt_degrees=float("nan"))
    lost = [replace(one, header=replace(one.header, position_mm=float("nan"))) for one in reversed(lost)]
    (one,), *_ = choose(lost)
    assert one.sop_uids[:2] == ("lost-0", "lost-1")
    assert "slices without a position: in the order of InstanceNumber" in one.remarks


def test_one_missing_position_makes_the_instance_numbers_count_for_all():
    lost = [
        replace(one, header=replace(one.header, position_mm=float("nan"))) if k == 3 else one
        for k, one in enumerate(NON_CONTRAST)
    ]
    (one,), *_ = choose(lost)
    assert one.sop_uids[:5] == (
        "non-contrast-0",
        "non-contrast-1",
        "non-contrast-2",
        "non-contrast-3",
        "non-contrast-4",
    )


def test_missing_slices_are_seen_and_a_change_of_step_is_none():
    assert choose([*NON_CONTRAST[:10], *NON_CONTRAST[13:]])[0][0].remarks == ("1 gap between its slices",)
    fossa = series("mixed", slices=12, step_mm=2.5)
    vertex = [
        replace(one, header=replace(one.header, sop_uid=f"v{k}", position_mm=5.0 * (k + 1)))
        for k, one in enumerate(series("mixed", slices=20))
    ]
    assert choose([*fossa, *vertex])[0][0].remarks == ()


def test_another_scan_of_the_head_is_not_passed_over_in_silence():
    first, repeat = series("first", acquisition="2"), series("repeat", acquisition="3", series_number=5)
    (one,), *_ = choose([*first, *repeat])
    said = "another scan of the head is in the study and was not scored: series=all scores it"
    assert one.remarks == (said,)
    (one,), *_ = choose([*first, *series("thin", acquisition="2", slices=119, step_mm=1.25)])
    assert one.remarks == ()  # a reconstruction
    below = [
        replace(one, header=replace(one.header, position_mm=one.header.position_mm - 160))
        for one in series("fossa", slices=10, step_mm=3)
    ]
    (one,), *_ = choose([*NON_CONTRAST, *below])
    assert one.remarks == (said,)
    both, *_ = choose([*first, *repeat], every=True)
    assert [one.remarks for one in both] == [(), ()]


def test_with_all_series_a_bone_kernel_beside_a_soft_one_is_no_remark():
    both, *_ = choose([*NON_CONTRAST, *series("bone", kernel="H70h"), *series("short", slices=4)], every=True)
    assert [one.remarks for one in both] == [()] * 3


@pytest.mark.parametrize("kernel", ["Hr60f", "FC81", "FC30", "YB", "BONEPLUS", "H60s"])
def test_sharp_kernels_are_bone(kernel):
    assert choose(series("bone", kernel=kernel))[2][0].why == "the only one (bone kernel)"


@pytest.mark.parametrize("kernel", ["Hr38f", "FC21", "UB", "STANDARD", "H31s", ""])
def test_soft_kernels_are_not(kernel):
    assert choose(series("soft", kernel=kernel))[2][0].why == "the only one"


@pytest.mark.parametrize("part", ["KOPF", "SCHAEDEL", "TETE", "CABEZA", "ENCEPHALE", "TRAUMA", "OTHER"])
def test_parts_that_say_head_or_nothing_are_heads(part):
    assert chosen(series("it", body_part=part, description="5.0 STND", study_description="CT HEAD")) == ["it"]


def test_enhanced_ct_keeps_its_place_among_the_series():
    assert why(series("e", has_frames=True)).startswith("Enhanced CT, which is not read")


def test_two_series_at_the_same_positions_are_two_phases():
    phases = [*NON_CONTRAST, *series("non-contrast", slices=30)]
    phases = [replace(one, header=replace(one.header, sop_uid=f"{k}")) for k, one in enumerate(phases)]
    assert choose(phases)[2][0].why == "several images at one position: 60 at 30"


def test_the_key_changes_with_the_files():
    keys = {choose(NON_CONTRAST)[0][0].key, choose(NON_CONTRAST[1:])[0][0].key}
    changed = [replace(NON_CONTRAST[0], file=replace(NON_CONTRAST[0].file, num_bytes=99)), *NON_CONTRAST[1:]]
    assert len(keys | {choose(changed)[0][0].key}) == 3
    assert choose(list(reversed(NON_CONTRAST)))[0][0].key in keys


def test_a_plan_has_every_study_also_those_without_a_head():
    studies = plan({("p", "s"): NON_CONTRAST, ("q", "t"): series("chest", body_part="CHEST", description="")})
    assert [(one.number, one.patient_id, len(one.series), len(one.rows)) for one in studies] == [
        (1, "p", 1, 1), (2, "q", 0, 1),
    ]  # fmt: skip


def test_what_does_not_say_head_is_looked_at():
    unsaid = series("unsaid", slices=40, body_part="", description="5.0 STND")
    asked = []

    def look(images):
        asked.append(images[0].header.series_uid)
        return "there are lungs"

    planned, _, rows = choose([*unsaid, *NON_CONTRAST], look=look)
    assert ([one.series_uid for one in planned], asked) == (["non-contrast"], ["unsaid"])
    assert rows[0].why == "another part of the body, by its pixels: there are lungs"
    assert choose(unsaid, look=look)[0] == []
    assert asked == ["unsaid"] * 2
