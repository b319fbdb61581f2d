import math
import re

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.dicom.series import read_header
from ich_mlflow.errors import SliceError
from tests.factories import write_dicom

#: 128 x 128 x 2 bytes: as much as is read at first, so the pixels never are.
PIXELS = np.zeros((128, 128), int)


def write(folder, change=lambda dataset: None, syntax=ExplicitVRLittleEndian):
    return write_dicom(folder / "a.dcm", PIXELS, change=change, syntax=syntax)


def read(path, asked=None):
    asked = [] if asked is None else asked

    def first(num_bytes):
        asked.append(num_bytes)
        return path.read_bytes()[:num_bytes]

    return read_header(first, str(path))


def describe(dataset):
    tilt = math.radians(20)
    dataset.ImageOrientationPatient = [1, 0, 0, 0, round(math.cos(tilt), 6), round(-math.sin(tilt), 6)]
    dataset.ImagePositionPatient = [0, 0, 100]
    dataset.SeriesDescription = "Plain 5mm"
    dataset.ConvolutionKernel = "STANDARD"
    dataset.ContrastBolusAgent = "Iohexol"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_header_is_read_without_the_pixels(tmp_path, syntax):
    asked = []
    header = read(write(tmp_path, describe, syntax), asked)
    assert asked == [2**15]
    assert (header.sop_uid, header.series_uid) == ("a", "ID_cccccccccc")
    assert header.tilt_degrees == pytest.approx(20, abs=0.01)
    assert header.position_mm == pytest.approx(93.97, abs=0.01)  # 100 mm up, of which cos 20 along the normal
    assert (header.description, header.kernel) == ("Plain 5mm", "STANDARD")
    assert (header.contrast.keyword, header.is_localizer) == ("ContrastBolusAgent", True)


def test_what_is_not_said_is_empty(tmp_path):
    header = read(write(tmp_path))
    assert (header.description, header.kernel, header.contrast.keyword, header.is_localizer) == (
        "",
        "",
        "",
        False,
    )
    assert (header.tilt_degrees, header.position_mm) == (0, 40)


def test_a_header_longer_than_the_start_is_read_whole(tmp_path):
    asked = []
    path = write(tmp_path, lambda dataset: setattr(dataset, "PatientComments", "x" * 10_000 * 4))
    assert read(path, asked).sop_uid == "a"
    assert asked == [2**15, None]


def test_a_deflated_file_is_read(tmp_path):
    assert read(write(tmp_path, describe, DeflatedExplicitVRLittleEndian)).description == "Plain 5mm"


@pytest.mark.parametrize(
    ("change", "reason", "tag"),
    [
        (lambda dataset: setattr(dataset, "Modality", "MR"), "not_ct", "Modality"),
        (lambda dataset: delattr(dataset, "SOPInstanceUID"), "no_identity", "SOPInstanceUID"),
        (lambda dataset: delattr(dataset, "SeriesInstanceUID"), "no_identity", "SeriesInstanceUID"),
        (lambda dataset: delattr(dataset, "ImagePositionPatient"), "no_geometry", "ImagePositionPatient"),
        (lambda dataset: delattr(dataset, "ImageOrientationPatient"), "no_geometry", "ImagePositionPatient"),
    ],
)
def test_what_a_choice_needs_must_be_there(tmp_path, change, reason, tag):
    path = write(tmp_path, change)
    with pytest.raises(SliceError, match=re.escape(str(path))) as caught:
        read(path)
    assert (caught.value.reason, caught.value.tag) == (reason, tag)


def test_what_is_no_dicom_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_text("no DICOM")
    with pytest.raises(SliceError) as caught:
        read(path)
    assert caught.value.reason == "not_dicom"
