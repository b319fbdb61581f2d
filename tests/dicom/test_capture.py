import re

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, SecondaryCaptureImageStorage

from ich_mlflow.dicom.capture import with_captions, write_captures
from ich_mlflow.errors import DataError
from tests.dicom.test_findings import COMPLETE, EMPTY, NEEDS_VALIDATOR, ROOT, validate, write_series

CAPTION = "intraparenchymal 91 %, subdural 12 %"


def coloured(width=256, height=200):
    """A picture whose pixel at row r, column c is (r, c, 7)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=2).astype(np.uint8)


def write(folder, sources, *, uid_seed="prediction 1", captions=None, images=None):
    paths = [folder / f"capture{number}.dcm" for number in range(len(sources))]
    write_captures(
        paths,
        sources,
        images or [coloured()] * len(sources),
        captions or [CAPTION] * len(sources),
        uid_seed=uid_seed,
    )
    return paths


def test_the_picture_is_kept_and_a_strip_with_white_text_is_below_it(tmp_path):
    (path,) = write(tmp_path, write_series(tmp_path, 1))
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    np.testing.assert_array_equal(pixels[:200], coloured())
    assert pixels[0, 0].tolist() == [0, 0, 7]
    assert pixels[199, 255].tolist() == [199, 255, 7]
    strip = pixels[200:]
    assert strip.shape[0] > 20
    np.testing.assert_array_equal(strip[..., 0], strip[..., 1])
    np.testing.assert_array_equal(strip[..., 0], strip[..., 2])
    assert strip.max() > 150
    assert (strip == 0).mean() > 0.5
    assert (dataset.Rows, dataset.Columns) == (200 + len(strip), 256)


@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("caption", ["", CAPTION, "word " * 40])
def test_text_has_room_whatever_the_width_and_the_caption(width, caption):
    strip = with_captions(coloured(width), caption)[200:]
    border = np.concatenate([strip[:1], strip[-1:]]).ravel()
    assert strip.any()
    assert not border.any()
    assert not strip[:, -2:].any()


def test_a_longer_caption_takes_more_lines():
    one, several = (len(with_captions(coloured(), caption)) for caption in ("x" * 44, "word " * 40))
    assert several > one


def test_it_is_a_secondary_capture_of_rgb_without_loss(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, 1))[0])
    assert dataset.SOPClassUID == SecondaryCaptureImageStorage
    assert (dataset.PhotometricInterpretation, dataset.BitsStored, dataset.SamplesPerPixel) == ("RGB", 8, 3)
    assert dataset.LossyImageCompression == "00"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert list(dataset.PatientOrientation) == ["L", "P"]
    assert dataset.BurnedInAnnotation == "NO"  # nobody is told by it
    assert dataset.ImageComments == CAPTION
    assert dataset.DerivationDescription.endswith("Research software, not a medical device.")
    assert dataset.ContentQualification == "RESEARCH"
    assert isinstance(hd.imread(tmp_path / "capture0.dcm"), hd.Image)


def test_all_pictures_are_one_new_series_in_the_order_given_and_name_their_slices(tmp_path):
    sources = write_series(tmp_path, 3)
    datasets = [pydicom.dcmread(path) for path in write(tmp_path, sources[::-1], captions=["a", "b", "c"])]
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    assert datasets[0].SeriesInstanceUID != "ID_cccccccccc"
    assert {dataset.SeriesNumber for dataset in datasets} == {9002}
    assert {dataset.SeriesDescription for dataset in datasets} == {"ich_mlflow heat maps, research only"}
    assert [dataset.InstanceNumber for dataset in datasets] == [1, 2, 3]
    assert [dataset.ImageComments for dataset in datasets] == ["a", "b", "c"]
    assert [dataset.SourceImageSequence[0].ReferencedSOPInstanceUID for dataset in datasets] == [
        "ID_000000002",
        "ID_000000001",
        "ID_000000000",
    ]


def test_patient_and_study_of_a_complete_file_are_kept(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, 1, tags=COMPLETE))[0])
    expected = {keyword: value for keyword, value in COMPLETE.items() if keyword != "SeriesInstanceUID"}
    assert {keyword: dataset[keyword].value for keyword in expected} == expected
    assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == f"{ROOT}.3.0"


def test_of_a_file_with_rsna_tags_the_identifiers_are_kept_and_the_rest_is_empty(tmp_path):
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, 1, without=["SOPClassUID"]))[0])
    assert dataset.PatientID == "ID_aaaaaaaa"
    assert dataset.StudyInstanceUID == "ID_bbbbbbbbbb"
    assert [keyword for keyword in EMPTY if keyword not in dataset or dataset[keyword].value] == []


def test_uids_are_valid_and_the_same_for_the_same_seed(tmp_path):
    sources = write_series(tmp_path, 2)
    runs = [
        [pydicom.dcmread(path) for path in write(tmp_path, sources, uid_seed=seed)]
        for seed in ("one", "one", "two")
    ]
    first, again, other = ([dataset.SOPInstanceUID for dataset in run] for run in runs)
    assert first == again
    assert len({*first, *other}) == 4
    assert all(UID(uid).is_valid for uid in first)


@pytest.mark.parametrize(
    ("orientation", "letters"),
    [
        ([-1, 0, 0, 0, 1, 0], ["R", "P"]),
        ([1, 0, 0, 0, 0.9, -0.44], ["L", "P"]),
        ([0, 1, 0, 0, 0, -1], ["P", "F"]),
    ],
)
def test_the_orientation_is_the_nearest_axis_of_the_patient(tmp_path, orientation, letters):
    sources = write_series(tmp_path, 1, tags={"ImageOrientationPatient": orientation})
    assert list(pydicom.dcmread(write(tmp_path, sources)[0]).PatientOrientation) == letters


def test_a_slice_without_geometry_gives_a_picture_of_unknown_orientation(tmp_path):
    sources = write_series(tmp_path, 1, without=["ImageOrientationPatient"])
    assert not pydicom.dcmread(write(tmp_path, sources)[0]).PatientOrientation


def test_a_picture_of_a_slice_that_lost_something_in_compression_says_so(tmp_path):
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    dataset = pydicom.dcmread(write(tmp_path, write_series(tmp_path, 1, tags=lossy))[0])
    assert dataset.LossyImageCompression == "01"
    assert dataset.LossyImageCompressionRatio == 12.5


def test_a_caption_is_made_plain(tmp_path):
    sources = write_series(tmp_path, 1)
    dataset = pydicom.dcmread(write(tmp_path, sources, captions=["a\\b\n\u00fc  c"])[0])
    assert dataset.ImageComments == "a/b ? c"


@pytest.mark.parametrize(
    "image",
    [np.zeros((200, 256), np.uint8), np.zeros((200, 256, 3), np.float32), np.zeros((200, 127, 3), np.uint8)],
)
def test_another_kind_of_picture_is_refused(tmp_path, image):
    with pytest.raises(ValueError, match="at least 128 wide"):
        write(tmp_path, write_series(tmp_path, 1), images=[image])


def test_a_caption_too_many_is_refused(tmp_path):
    with pytest.raises(ValueError, match="as many"):
        write(tmp_path, write_series(tmp_path, 1), captions=["a", "b"])


def test_two_pictures_of_the_same_slice_are_refused(tmp_path):
    with pytest.raises(DataError, match="same SOPInstanceUID"):
        write(tmp_path, write_series(tmp_path, 1) * 2)


@NEEDS_VALIDATOR
def test_the_validator_finds_no_error_in_a_picture_of_a_complete_file(tmp_path):
    lines = validate(write(tmp_path, write_series(tmp_path, 1, tags=COMPLETE))[0])
    assert "SCImage" in lines
    assert [line for line in lines if line.startswith("Error")] == []


@NEEDS_VALIDATOR
def test_in_a_picture_of_an_rsna_file_the_validator_minds_the_kept_identifiers_alone(tmp_path):
    lines = validate(write(tmp_path, write_series(tmp_path, 1))[0])
    errors = [line for line in lines if line.startswith("Error")]
    minded = {found for line in errors for found in re.findall(r'[<"](ID_\w+)[>"]', line)}
    assert minded == {"ID_bbbbbbbbbb", "ID_000000000"}
    assert {line for line in errors if not re.search(r'[<"]ID_\w+[>"]', line)} == {
        "Error - Dicom dataset contains invalid data values for Value Representations"
    }
