import cv2
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom import quirks
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.phantom.exam import make_exam
from ich_mlflow.phantom.lesions import read_lesions, write_lesions
from ich_mlflow.sources.phantom import PhantomSource

OPTIONS = CohortOptions(exams=3, exam_rate=0.7, rows=64)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("lesions") / "cohort", OPTIONS, workers=1, progress=False)


def test_masks_are_the_blood_of_the_exams_and_slices_without_have_no_file(cohort):
    num_files = 0
    for number in range(OPTIONS.exams):
        exam = make_exam(OPTIONS, number)
        for k, sop_uid in enumerate(exam.sop_uids):
            mask = read_lesions(cohort, sop_uid)
            if mask is None:
                assert not exam.blood[:, k].any()
            else:
                np.testing.assert_array_equal(mask, exam.blood[:, k])
                num_files += 1
    assert num_files == len(list((cohort / "lesions").iterdir())) > 0


def test_the_tables_labels_are_the_area_rule_on_the_masks(cohort):
    table = pd.read_csv(cohort / "stage_2_train.csv").set_index("ID")["Label"]
    checked = 0
    for number in range(OPTIONS.exams):
        exam = make_exam(OPTIONS, number)
        for sop_uid in exam.sop_uids:
            mask = read_lesions(cohort, sop_uid)
            areas = np.zeros(5) if mask is None else mask.sum(axis=(1, 2)) * exam.geometry.pixel_mm**2
            for subtype, area in zip(SUBTYPES, areas, strict=True):
                assert table[f"{sop_uid}_{subtype}"] == int(area > OPTIONS.min_blood_area_mm2)
                checked += 1
    assert checked == 5 * len(table) / 6


def test_masks_of_odd_sizes_lie_on_the_pixels_as_written(tmp_path):
    options = CohortOptions(exams=19, exam_rate=1.0, rows=64, quirks=True)
    cohort = write_cohort(tmp_path / "cohort", options, workers=1, progress=False)
    compared = set()
    for number in range(11, 19):
        exam = make_exam(options, number)
        faults = quirks.faults_of(number, options.exams, len(exam.hu))
        for k, sop_uid in enumerate(exam.sop_uids):
            mask = read_lesions(cohort, sop_uid)
            if mask is None or k in faults:
                continue
            hu = read_slice(cohort / "stage_2_train" / f"{sop_uid}.dcm").hu
            assert mask.shape[1:] == hu.shape
            # What is cut off, or added, is the same on both sides: the middle is what the exam has there.
            middle = (min(64, hu.shape[0]), min(64, hu.shape[1]))
            np.testing.assert_array_equal(
                _middle(hu, *middle), np.maximum(_middle(exam.hu[k], *middle), -1024)
            )
            np.testing.assert_array_equal(_middle(mask, *middle), _middle(exam.blood[:, k], *middle))
            compared.add(hu.shape)
    assert {(80, 61), (54, 54), (51, 47), (96, 96)} <= compared


def _middle(image, rows, columns):
    top, left = (image.shape[-2] - rows) // 2, (image.shape[-1] - columns) // 2
    return image[..., top : top + rows, left : left + columns]


def test_each_subtype_has_its_bit(tmp_path):
    blood = np.zeros((5, 2, 3), bool)
    blood[0, 0, 0] = blood[4, 0, 0] = blood[1, 1, 2] = True  # epidural and subdural; intraparenchymal
    write_lesions(tmp_path, "ID_1", blood)
    image = cv2.imread(str(tmp_path / "lesions" / "ID_1.png"), cv2.IMREAD_UNCHANGED)
    assert image.tolist() == [[17, 0, 0], [0, 0, 2]]
    np.testing.assert_array_equal(read_lesions(tmp_path, "ID_1"), blood)


def test_a_slice_without_blood_has_no_file(tmp_path):
    write_lesions(tmp_path, "ID_1", np.zeros((5, 2, 2), bool))
    assert not list(tmp_path.iterdir())
    assert read_lesions(tmp_path, "ID_1") is None


def test_the_source_reads_the_masks_with_the_slices(cohort):
    source = PhantomSource(str(cohort))
    assert len(source.files()) == len(list((cohort / "stage_2_train").iterdir()))
    assert source.rejected() == ()
    shown = 0
    for file in source.files():
        blood, masks = source.read(file).blood, read_lesions(cohort, file.sop_uid)
        if masks is None:
            assert not blood.any()
        else:
            np.testing.assert_array_equal([(blood >> i) & 1 for i in range(5)], masks)
            shown += 1
    assert shown > 0


def test_of_a_cohort_of_before_there_were_masks_nothing_is_known(cohort, tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("stage_2_train", "stage_2_train.csv"):
        (tmp_path / "old" / name).symlink_to(cohort / name)
    source = PhantomSource(str(tmp_path / "old"))
    assert source.read(source.files()[0]).blood is None


def test_a_mask_that_is_none_lists_its_slice(cohort, tmp_path):
    for name in ("stage_2_train", "stage_2_train.csv"):
        (tmp_path / name).symlink_to(cohort / name)
    source = PhantomSource(str(tmp_path))
    uid = source.files()[0].sop_uid
    (tmp_path / "lesions").mkdir()
    (tmp_path / "lesions" / f"{uid}.png").write_bytes(b"none")
    anew = PhantomSource(str(tmp_path))
    with pytest.raises(SliceError, match="is no lesion mask"):
        anew.read(anew.files()[0])


@pytest.mark.parametrize("content", [b"", b"no PNG", cv2.imencode(".png", np.full((2, 2), 32, np.uint8))[1]])
def test_a_file_that_is_no_mask_is_refused_by_name(tmp_path, content):
    (tmp_path / "lesions").mkdir()
    (tmp_path / "lesions" / "ID_1.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"lesions/ID_1\.png is no lesion mask"):
        read_lesions(tmp_path, "ID_1")


def test_masks_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 2, 2\), expected \[5, rows, columns\]"):
        write_lesions(tmp_path, "ID_1", np.zeros((4, 2, 2), bool))
