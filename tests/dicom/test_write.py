from dataclasses import replace

import numpy as np
import pydicom
import pytest

from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.dicom.write import SYNTAXES, Encoding, Identity, write_slice

IDENTITY = Identity(
    sop_uid="ID_0123456789abcdef"[:12],
    patient_id="ID_00000001",
    study_uid="ID_0000000001",
    series_uid="ID_0000000002",
    position=(-120.0, -110.0, 35.5),
    orientation=(1, 0, 0, 0, 1, 0),
    pixel_spacing_mm=(0.5, 0.4),
)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("encoding", "kept"),
    [
        (Encoding(), -1024),
        (Encoding(bits_stored=12, signed=False), -1024),
        (Encoding(bits_stored=12, signed=False, intercept=-1000), -1000),
        (Encoding(intercept=0), -1024),
        (Encoding(bits_stored=12, intercept=0), -1024),
        (Encoding(bits_stored=12, signed=False, intercept=0, wrapped=True), -1000),
        (Encoding(bits_stored=12, signed=False, intercept=1, wrapped=True), -1000),
    ],
)
def test_what_is_written_is_read_back_to_the_hu(tmp_path, encoding, kept, syntax):
    hu = np.random.default_rng(0).integers(-1024, 2000, size=(64, 48)).astype(np.int16)
    write_slice(tmp_path / "a.dcm", hu, IDENTITY, replace(encoding, syntax=syntax))
    read = read_slice(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read.hu, np.maximum(hu, kept))
    assert read.sop_uid == IDENTITY.sop_uid
    assert read.pixel_spacing_mm == (0.5, 0.4)
    assert read.position_mm == pytest.approx(35.5)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_is_of_the_syntax_that_was_asked_for(tmp_path, syntax):
    write_slice(tmp_path / "a.dcm", np.zeros((64, 64), np.int16), IDENTITY, Encoding(syntax=syntax))
    uid = pydicom.dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID
    assert (
        uid
        == {
            "implicit": "1.2.840.10008.1.2",
            "explicit": "1.2.840.10008.1.2.1",
            "deflated": "1.2.840.10008.1.2.1.99",
            "big_endian": "1.2.840.10008.1.2.2",
            "rle": "1.2.840.10008.1.2.5",
            "jpeg_lossless": "1.2.840.10008.1.2.4.57",
            "jpeg_lossless_sv1": "1.2.840.10008.1.2.4.70",
            "jpeg_ls": "1.2.840.10008.1.2.4.80",
            "jpeg_2000": "1.2.840.10008.1.2.4.90",
        }[syntax]
    )


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        (Encoding(), [-2000, 1064]),
        (Encoding(bits_stored=12, signed=False, intercept=0, wrapped=True), [3096, 40]),
        (Encoding(padding=-2000), [-2000, 1064]),
    ],
)
def test_stored_values_are_what_the_encoding_says(tmp_path, encoding, stored):
    write_slice(tmp_path / "a.dcm", np.array([[-3024, 40]], np.int16), IDENTITY, encoding)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    assert dataset.pixel_array.tolist() == [stored]


def test_several_windows_are_written_with_leading_zeros(tmp_path):
    write_slice(tmp_path / "a.dcm", np.zeros((2, 2), np.int16), IDENTITY, Encoding(windows=True))
    assert b"00040\\00600" in (tmp_path / "a.dcm").read_bytes()
    assert read_slice(tmp_path / "a.dcm").hu.tolist() == [[0, 0], [0, 0]]


def test_padding_of_a_signed_file_is_clipped_when_read(tmp_path):
    write_slice(tmp_path / "a.dcm", np.array([[-3024, 0]], np.int16), IDENTITY, Encoding())
    np.testing.assert_array_equal(read_slice(tmp_path / "a.dcm").hu, [[-1024, 0]])
