import cv2
import numpy as np
import pytest

from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.sources.ctich import CtIchSource
from tests.factories import CTICH_HEADER, write_ctich
from tests.real_data import CT_ICH, needs_ct_ich

NORMAL_1 = "49,1,0,0,0,0,0,1,0"
EPIDURAL_2 = "49,2,0,0,0,1,0,0,1"


def refusal(source) -> str:
    with pytest.raises(DataError) as caught:
        source.files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_put_in_the_order_of_the_subtypes(tmp_path):
    rows = ["49,1,1,0,0,0,0,0,0", "49,2,0,0,0,0,1,0,0"]
    first, second = CtIchSource(write_ctich(tmp_path, rows)).files()
    assert (first.sop_uid, first.subtypes) == ("CTICH_049_01", (0, 0, 1, 0, 0))
    assert (second.sop_uid, second.subtypes) == ("CTICH_049_02", (0, 0, 0, 0, 1))


def test_a_byte_order_mark_is_tolerated(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1], header="\ufeff" + CTICH_HEADER))
    assert len(source.files()) == 1


def test_hounsfield_units_are_rebuilt_and_the_place_is_known(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2]))
    ct_slice = source.read(source.files()[1])
    assert abs(int(ct_slice.hu[4, 4]) - 30) <= 1  # grey 106 of the brain window: -20 + 120 * 106 / 255 = 29.9
    assert ct_slice.hu.dtype == np.int16
    assert (ct_slice.sop_uid, ct_slice.patient_id) == ("CTICH_049_02", "049")
    assert ct_slice.position_mm == 10
    assert ct_slice.pixel_spacing_mm is None


def test_black_in_both_windows_is_what_the_formula_says(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1], grey=0)
    (root / "Patients_CT" / "049" / "bone" / "1.jpg").write_bytes(
        (root / "Patients_CT" / "049" / "brain" / "1.jpg").read_bytes()
    )
    source = CtIchSource(root)
    assert (source.read(source.files()[0]).hu == -900).all()


def test_patients_without_a_folder_and_masks_are_skipped(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2, "50,1,0,0,0,0,0,1,0"])
    brain = root / "Patients_CT" / "049" / "brain"
    (brain / "2_HGE_Seg.jpg").write_bytes((brain / "2.jpg").read_bytes())
    source = CtIchSource(root)
    assert len(source.files()) == 2
    assert source.audit()["labels_without_file"] == 1
    assert source.audit()["files_without_label"] == 0


def with_mask(root, number, rows, *, grey=255, shape=(16, 16)):
    mask = np.zeros(shape, np.uint8)
    mask[:rows] = grey
    cv2.imwrite(str(root / "Patients_CT" / "049" / "brain" / f"{number}_HGE_Seg.jpg"), mask)


def test_a_mask_beside_a_slice_is_of_its_one_subtype(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2])
    with_mask(root, 2, 8)
    source = CtIchSource(root)
    normal, bleeding = source.files()
    assert (normal.blood, bleeding.blood) == ("", "Patients_CT/049/brain/2_HGE_Seg.jpg")
    assert not source.read(normal).blood.any()  # known to show none
    blood = source.read(bleeding).blood
    assert blood[:8].tolist() == [[1] * 16] * 8
    assert not blood[8:].any()


def test_a_mask_of_a_slice_with_several_subtypes_is_of_none_of_them(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1, "49,2,0,1,0,1,0,0,1"])
    with_mask(root, 2, 8)
    source = CtIchSource(root)
    assert np.unique(source.read(source.files()[1]).blood).tolist() == [0, 32]


def test_where_no_slice_has_a_mask_nothing_is_known_of_any(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2]))
    assert [source.read(file).blood for file in source.files()] == [None, None]


def test_a_bleeding_slice_without_a_mask_or_with_an_empty_one_is_not_known(tmp_path):
    root = write_ctich(tmp_path, ["49,1,0,0,0,0,1,0,0", EPIDURAL_2])
    with_mask(root, 2, 0)
    source = CtIchSource(root)
    assert [file.blood for file in source.files()] == [None, "Patients_CT/049/brain/2_HGE_Seg.jpg"]
    assert [source.read(file).blood for file in source.files()] == [None, None]


def test_a_mask_that_is_no_image_is_refused(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2])
    (root / "Patients_CT" / "049" / "brain" / "2_HGE_Seg.jpg").write_text("none")
    source = CtIchSource(root)
    with pytest.raises(SliceError, match=r"2_HGE_Seg\.jpg is no JPEG"):
        source.read(source.files()[1])


def test_a_missing_bone_image_is_refused(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1]))
    (tmp_path / "Patients_CT" / "049" / "bone" / "1.jpg").unlink()
    with pytest.raises(SliceError, match=r"bone/1\.jpg") as caught:
        source.read(source.files()[0])
    assert caught.value.reason == "unreadable"


def test_an_image_that_is_none_is_refused(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1]))
    (tmp_path / source.files()[0].path).write_text("not a JPEG")
    with pytest.raises(SliceError, match=r"brain/1\.jpg"):
        source.read(source.files()[0])


def test_exact_repeats_are_dropped_and_counted(tmp_path):
    source = CtIchSource(write_ctich(tmp_path, [NORMAL_1, EPIDURAL_2, NORMAL_1]))
    assert len(source.files()) == 2
    assert source.audit()["repeated_rows"] == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([NORMAL_1, "49,x,0,0,0,0,0,1,0"], "line 3"),
        ([NORMAL_1, "49,2,0,0,0,0,2,0,0"], "line 3"),
        ([NORMAL_1, "49,2,0,0,0,,0,1,0"], "line 3"),
        ([NORMAL_1, "49,2,0,0,0,0,0,0,1,0,9"], "can't be read"),
        ([], "no rows"),
        (["50,1,0,0,0,0,0,1,0"], "none in common"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, rows, words):
    assert words in refusal(CtIchSource(write_ctich(tmp_path, rows)))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([NORMAL_1, "49,1,0,0,0,1,0,0,0"], "contradicting_rows"),
        (["49,1,0,0,0,1,0,1,0"], "any_contradicts"),
        (["49,1,0,0,0,0,0,0,0"], "any_contradicts"),
    ],
)
def test_labels_that_contradict_each_other_put_the_slice_on_the_list(tmp_path, rows, reason):
    source = CtIchSource(write_ctich(tmp_path, [*rows, EPIDURAL_2]))
    assert [file.sop_uid for file in source.files()] == ["CTICH_049_02"]
    assert [(one.file, one.reason) for one in source.rejected()] == [("Patients_CT/049/brain/1.jpg", reason)]


def test_both_images_count_as_the_slices_bytes(tmp_path):
    root = write_ctich(tmp_path, [NORMAL_1])
    images = [root / "Patients_CT" / "049" / kind / "1.jpg" for kind in ("brain", "bone")]
    assert CtIchSource(root).files()[0].num_bytes == sum(image.stat().st_size for image in images)


def test_missing_columns_are_refused_with_what_was_found(tmp_path):
    message = refusal(CtIchSource(write_ctich(tmp_path, ["1,2"], header="ID,Label")))
    assert "ID, Label" in message
    assert "PatientNumber" in message


@pytest.mark.parametrize("missing", ["hemorrhage_diagnosis.csv", "Patients_CT"])
def test_a_missing_part_is_refused_with_the_expected_layout(tmp_path, missing):
    root = write_ctich(tmp_path, [NORMAL_1])
    (root / missing).rename(root / "elsewhere")
    assert missing in refusal(CtIchSource(root))


@needs_ct_ich
def test_the_real_table_counts_what_its_readme_says():
    files = CtIchSource(CT_ICH).files()
    assert len(files) == 1530
    assert np.sum([file.subtypes for file in files], axis=0).tolist() == [103, 42, 13, 11, 33]
    bleeding = {file.path.split("/")[-3] for file in files if any(file.subtypes)}
    assert (len(bleeding), len({file.path.split("/")[-3] for file in files})) == (22, 50)


@needs_ct_ich
def test_brain_tissue_of_a_real_slice_is_some_thirty_hounsfield_units():
    source = CtIchSource(CT_ICH)
    files = [file for file in source.files() if file.sop_uid.startswith("CTICH_049")]
    hu = source.read(files[len(files) // 2]).hu
    assert hu.shape == (650, 650)
    assert 25 < np.median(hu[(hu > 10) & (hu < 60)]) < 40
