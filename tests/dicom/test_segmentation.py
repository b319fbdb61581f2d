import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from ich_mlflow.dicom.segmentation import write_segmentation
from ich_mlflow.errors import DataError, SliceError
from tests.dicom.test_findings import ALGORITHM, COMPLETE, NEEDS_VALIDATOR, ROOT, groups_of, validate
from tests.dicom.test_findings import write as write_report
from tests.factories import write_dicom

EPIDURAL, SUBDURAL = 1, 5
FRAME = f"{ROOT}.9"


def write_series(folder, num_slices=3, *, tags=None, without=(), shape=(4, 6)):
    """Slices 5 mm apart from below; with `tags` as a hospital's, without as RSNA's."""

    def change(dataset, number):
        dataset.ImagePositionPatient = [-10, -20, 5 * number]
        for keyword, value in (tags or {}).items():
            setattr(dataset, keyword, value)
        if tags:
            dataset.SOPInstanceUID = f"{ROOT}.3.{number}"
        for keyword in without:
            delattr(dataset, keyword)

    return [
        write_dicom(
            folder / f"ID_{number:09x}.dcm",
            np.zeros(shape),
            change=lambda dataset, number=number: change(dataset, number),
        )
        for number in range(num_slices)
    ]


def blood_of(num_slices=3, shape=(4, 6)):
    """Epidural blood of 2 pixels on the middle slice, subdural blood of 1 on it and of 3 on the last."""
    blood = np.zeros((num_slices, *shape), np.uint8)
    blood[1, 0, :2] = EPIDURAL
    blood[1, 3, 5] = SUBDURAL
    blood[2, 1:, 0] = SUBDURAL
    return blood


def write(folder, sources, blood=None, *, uid_seed="prediction 1"):
    path = folder / "lesions.dcm"
    write_segmentation(path, sources, blood_of() if blood is None else blood, ALGORITHM, uid_seed=uid_seed)
    return path


def test_each_subtype_is_a_segment_that_is_read_back_slice_by_slice(tmp_path):
    sources = write_series(tmp_path, tags={**COMPLETE, "FrameOfReferenceUID": FRAME})
    segmentation = hd.seg.segread(write(tmp_path, sources))
    assert [segmentation.get_segment_description(n).segment_label for n in (1, 2)] == ["epidural", "subdural"]
    uids = [f"{ROOT}.3.{number}" for number in range(3)]
    pixels = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(pixels[..., 0], blood_of() == EPIDURAL)
    np.testing.assert_array_equal(pixels[..., 1], blood_of() == SUBDURAL)
    assert segmentation.NumberOfFrames == 3  # of 6: those without blood are left out
    assert segmentation.SegmentationType == "BINARY"
    assert segmentation.FrameOfReferenceUID == FRAME


def test_a_segment_says_what_it_is_who_found_it_and_which_finding_of_the_report_it_belongs_to(tmp_path):
    sources = write_series(tmp_path, tags=COMPLETE)
    segment = hd.seg.segread(write(tmp_path, sources)).get_segment_description(2)
    assert segment.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    assert (segment.segmented_property_type.value, segment.segmented_property_type.scheme_designator) == (
        "50960005", "SCT",
    )  # fmt: skip
    assert segment.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    assert segment.algorithm_identification.name == "ich-5class"
    assert segment.algorithm_identification.version == "7"
    group = groups_of(write_report(tmp_path, sources))["subdural"]
    assert segment.tracking_uid == group.tracking_uid
    assert segment.tracking_id == "ich_mlflow subdural"


def test_patient_and_study_are_kept_and_it_says_that_it_is_research(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, tags=COMPLETE)))
    kept = {keyword: value for keyword, value in COMPLETE.items() if keyword != "SeriesInstanceUID"}
    assert {keyword: dataset[keyword].value for keyword in kept} == kept
    assert (dataset.Modality, dataset.SeriesNumber) == ("SEG", 9003)
    assert dataset.SeriesDescription == "ich_mlflow lesions, research only"
    assert dataset.ContentDescription == "Research software, not a medical device."
    assert dataset.ContentQualification == "RESEARCH"


def test_uids_are_the_same_for_the_same_seed(tmp_path):
    sources = write_series(tmp_path)
    first, again, other = (
        pydicom.dcmread(write(tmp_path, sources, uid_seed=seed)) for seed in ("one", "one", "two")
    )
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert first[keyword].value == again[keyword].value != other[keyword].value
        assert UID(first[keyword].value).is_valid
    assert first.StudyInstanceUID == "ID_bbbbbbbbbb"  # as RSNA has it


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (["ImagePositionPatient"], "no usable ImagePositionPatient"),
        (["PixelSpacing"], "no usable PixelSpacing"),
    ],
)
def test_without_geometry_there_is_none(tmp_path, without, message):
    with pytest.raises(DataError, match=message):
        write(tmp_path, write_series(tmp_path, without=without))
    assert not (tmp_path / "lesions.dcm").exists()


def test_no_blood_another_size_and_missing_identifiers_are_refused(tmp_path):
    sources = write_series(tmp_path)
    with pytest.raises(ValueError, match="0 subtypes"):
        write(tmp_path, sources, np.zeros((3, 4, 6), np.uint8))
    with pytest.raises(ValueError, match="in 2 slices"):
        write(tmp_path, sources[:2])
    with pytest.raises(ValueError, match="slices all of that size"):
        write(tmp_path, sources, blood_of(shape=(6, 6)))
    with pytest.raises(SliceError, match="no StudyInstanceUID"):
        write(tmp_path, write_series(tmp_path, without=["StudyInstanceUID"]))


@NEEDS_VALIDATOR
def test_the_validator_finds_no_error_in_a_segmentation_of_complete_files(tmp_path):
    sources = write_series(tmp_path, tags={**COMPLETE, "FrameOfReferenceUID": FRAME})
    lines = validate(write(tmp_path, sources))
    assert "Segmentation" in lines
    assert [line for line in lines if line.startswith("Error")] == []
