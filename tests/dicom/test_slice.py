import contextlib
import pickle
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from ich_mlflow.dicom.damage import FILE_FAULTS
from ich_mlflow.dicom.parse import parse_any, parse_plain
from ich_mlflow.dicom.pixels import read_hounsfield
from ich_mlflow.dicom.slice import read_slice, slice_from_bytes
from ich_mlflow.errors import SliceError
from tests.factories import write_dicom

SECRET = "DOE^JANE"


def read_pixels(folder, stored_values, **options) -> list[list[int]]:
    hu = read_slice(write_dicom(folder / "ID_000000001.dcm", stored_values, **options)).hu
    assert hu.dtype == np.int16
    return hu.tolist()


def refusal(path) -> str:
    with pytest.raises(SliceError) as caught:
        read_slice(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert SECRET not in message
    return message


# The kinds of pixels among RSNA 2019's training files, by BitsStored, PixelRepresentation and RescaleIntercept


def test_16_bit_signed_pixels_are_read_as_they_say_and_padding_is_clipped(tmp_path):
    assert read_pixels(tmp_path, [[-2000, 24, 1064]], intercept=-1024) == [[-1024, -1000, 40]]


def test_12_bit_unsigned_pixels_with_intercept_minus_1024_are_read_as_they_say(tmp_path):
    stored = [[0, 1064, 4095]]
    assert read_pixels(tmp_path, stored, bits_stored=12, signed=False, intercept=-1024) == [[-1024, 40, 3071]]


def test_12_bit_unsigned_pixels_with_intercept_minus_1000_are_read_as_they_say(tmp_path):
    stored = [[0, 1040, 4095]]
    assert read_pixels(tmp_path, stored, bits_stored=12, signed=False, intercept=-1000) == [[-1000, 40, 3095]]


@pytest.mark.parametrize("bits_stored", [12, 16])
def test_signed_pixels_with_intercept_0_are_not_fixed(tmp_path, bits_stored):
    stored = [[-1000, 40, 2047]]
    assert read_pixels(tmp_path, stored, bits_stored=bits_stored, intercept=0) == stored


@pytest.mark.parametrize("intercept", [0, 1])
def test_12_bit_unsigned_pixels_with_intercept_0_or_1_are_unwrapped(tmp_path, intercept):
    stored = [[3096, 4095, 40, 3095]]
    pixels = read_pixels(tmp_path, stored, bits_stored=12, signed=False, intercept=intercept)
    assert pixels == [[-1000, -1, 40, 3095]]


def test_16_bit_unsigned_pixels_with_intercept_0_are_not_unwrapped(tmp_path):
    assert read_pixels(tmp_path, [[3096, 40]], signed=False, intercept=0) == [[3096, 40]]


# Bits and encodings


def test_bits_above_the_stored_ones_are_ignored(tmp_path):
    # 0xF428 is 1064 with all four unused bits set
    stored = [[0xF428, 0x0428]]
    assert read_pixels(tmp_path, stored, bits_stored=12, signed=False, intercept=-1024) == [[40, 40]]


def test_the_sign_is_extended_from_the_highest_stored_bit(tmp_path):
    # 0x0FFF is -1 in 12 bits, 0x0C18 is -1000
    assert read_pixels(tmp_path, [[0x0FFF, 0x0C18]], bits_stored=12, intercept=0) == [[-1, -1000]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_both_vr_encodings_are_read(tmp_path, syntax):
    assert read_pixels(tmp_path, [[1064, 24]], syntax=syntax) == [[40, -1000]]


@pytest.mark.parametrize("signed", [True, False])
def test_losslessly_compressed_pixels_are_read(tmp_path, signed):
    path = write_dicom(
        tmp_path / "a.dcm", [[1064, 24], [0, 4095]], bits_stored=12 + 4 * signed, signed=signed
    )
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    assert read_slice(path).hu.tolist() == [[40, -1000], [-1024, 3071]]


def write_big_endian(path):
    """A file of [[1064, 24], [-2000, 0]]."""
    dataset = pydicom.dcmread(write_dicom(path, [[1064, 24], [-2000, 0]]))
    dataset.PixelData = np.array([[1064, 24], [-2000, 0]], ">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False)
    return path


def test_big_endian_pixels_are_read(tmp_path):
    path = write_big_endian(tmp_path / "a.dcm")
    assert read_slice(path).hu.tolist() == [[40, -1000], [-1024, -1024]]


def test_an_odd_number_of_pixels_with_its_padding_byte_is_read(tmp_path):
    assert read_pixels(tmp_path, [[1064, 24, 0]]) == [[40, -1000, -1024]]


# What else a slice tells


def test_identity_position_and_spacing_are_read(tmp_path):
    ct_slice = read_slice(write_dicom(tmp_path / "ID_000000001.dcm", [[0, 0]]))
    assert (ct_slice.sop_uid, ct_slice.patient_id) == ("ID_000000001", "ID_aaaaaaaa")
    assert (ct_slice.study_uid, ct_slice.series_uid) == ("ID_bbbbbbbbbb", "ID_cccccccccc")
    assert ct_slice.position_mm == 40
    assert ct_slice.pixel_spacing_mm == (0.5, 0.4)


@pytest.mark.parametrize("spacing", [None, [0, 0.5], 0.5])
def test_a_spacing_that_makes_no_sense_is_unknown(tmp_path, spacing):
    path = write_dicom(tmp_path / "a.dcm", [[0]], change=lambda d: setattr(d, "PixelSpacing", spacing))
    assert read_slice(path).pixel_spacing_mm is None


def test_no_warning_reaches_the_user(tmp_path, capfd):
    path = write_dicom(tmp_path / "ID_000000001.dcm", [[0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_slice(path)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


# What is refused


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.dcm")


@pytest.mark.parametrize("content", [b"", b"not dicom", b"\0" * 4096, b"\0" * 128 + b"DICM" + b"\xff" * 500])
def test_what_is_not_dicom_is_refused(tmp_path, content):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert "not a readable DICOM file" in refusal(path)


@pytest.mark.parametrize("modality", ["MR", "OT", SECRET])
def test_another_modality_is_refused(tmp_path, modality):
    path = write_dicom(tmp_path / "a.dcm", [[0]], change=lambda d: setattr(d, "Modality", modality))
    assert "Modality" in refusal(path)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_missing_rescale_tags_are_refused(tmp_path, keyword):
    path = write_dicom(tmp_path / "a.dcm", [[0]], change=lambda d: delattr(d, keyword))
    assert keyword in refusal(path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", 0),
        ("RescaleSlope", ["1", "2"]),
        ("RescaleType", "OD"),
        ("SamplesPerPixel", 3),
        ("NumberOfFrames", 2),
        ("PhotometricInterpretation", "MONOCHROME1"),
        ("PhotometricInterpretation", "RGB"),
        ("BitsAllocated", 8),
        ("BitsStored", 17),
        ("HighBit", 16),
        ("PixelRepresentation", 2),
        ("Rows", 0),
        ("Rows", 60000),
        ("Rows", None),
        ("PixelData", None),
    ],
)
def test_pixels_the_project_cannot_trust_are_refused_by_name(tmp_path, keyword, value):
    path = write_dicom(tmp_path / "a.dcm", [[0, 0]], change=lambda d: setattr(d, keyword, value))
    assert keyword in refusal(path)


def test_pixel_data_that_is_too_short_is_refused_with_both_lengths(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8)), change=lambda d: setattr(d, "Rows", 9))
    assert "128 bytes of PixelData, expected 144" in refusal(path)


@pytest.mark.parametrize(
    ("cut", "reason"), [(1, "truncated"), (100, "truncated"), (300, "truncated"), (700, "not_dicom")]
)
def test_a_file_that_is_cut_short_is_refused_for_that_wherever_it_ends(tmp_path, cut, reason):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8)))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SliceError, match="cut short" if reason == "truncated" else "copied whole") as caught:
        read_slice(path)
    assert caught.value.reason == reason


def test_compressed_pixels_that_are_broken_are_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", [[0, 0]])
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(path)
    assert "compressed" in refusal(path)


def test_deflated_files_are_read(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", [[1064, 24]], syntax=DeflatedExplicitVRLittleEndian)
    assert read_slice(path).hu.tolist() == [[40, -1000]]


def test_a_deflated_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ich_mlflow.dicom.part10._INFLATED_BYTES", 2**20)
    path = write_dicom(tmp_path / "a.dcm", np.zeros((1024, 1024)), syntax=DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 10_000
    assert "unpacks to more than 1 MiB" in refusal(path)


def test_a_deflated_file_whose_meta_header_lies_about_its_length_is_not_unpacked(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", [[0, 0]], syntax=DeflatedExplicitVRLittleEndian)
    data = bytearray(path.read_bytes())
    data[140:144] = (20).to_bytes(4, "little")
    path.write_bytes(data)
    assert "meta header" in refusal(path)


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_every_fault_is_refused_with_its_reason_and_tag(tmp_path, fault):
    path = write_dicom(tmp_path / "ID_000000001.dcm", np.arange(1024).reshape(32, 32))
    FILE_FAULTS[fault].damage(path)
    if FILE_FAULTS[fault].reason in ("constant", "another_slice"):
        read_slice(path)  # it can be read; the stored set and the source refuse it
        return
    with pytest.raises(SliceError) as caught:
        read_slice(path)
    assert (caught.value.reason, caught.value.tag) == (FILE_FAULTS[fault].reason, FILE_FAULTS[fault].tag)


def test_reason_and_tag_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(SliceError("a.dcm is bad", reason="truncated", tag="PixelData")))
    assert (str(error), error.reason, error.tag) == ("a.dcm is bad", "truncated", "PixelData")


# Padding


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, [[1000, -24, -1014]]),
        ({"PixelPaddingValue": 2024}, [[-1024, -24, -1014]]),
        ({"PixelPaddingValue": 2024, "PixelPaddingRangeLimit": 1000}, [[-1024, -1024, -1014]]),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 20}, [[1000, -24, -1024]]),
    ],
)
def test_padding_becomes_the_lowest_value(tmp_path, tags, expected):
    def change(dataset):
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    assert read_pixels(tmp_path, [[2024, 1000, 10]], change=change) == expected


@pytest.mark.parametrize(
    ("bits", "signed", "value", "stored"), [(12, False, 63536, 63536 & 0xFFF), (12, True, -32768, 0)]
)
def test_a_padding_value_with_bits_above_the_stored_ones_is_that_of_the_pixels(
    tmp_path, bits, signed, value, stored
):
    def change(dataset):
        dataset.add_new("PixelPaddingValue", "SS" if signed else "US", value)

    pixels = read_pixels(tmp_path, [[stored, 1064]], bits_stored=bits, signed=signed, change=change)
    assert pixels == [[-1024, 40]]


@pytest.mark.parametrize("keyword", ["PixelPaddingValue", "NumberOfFrames"])
def test_an_empty_optional_number_is_none(tmp_path, keyword):
    assert read_pixels(tmp_path, [[1064]], change=lambda d: setattr(d, keyword, None)) == [[40]]


def test_a_number_that_is_padded_with_nul_is_read(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", [[1064]], intercept="-10")
    path.write_bytes(path.read_bytes().replace(b"DS\x04\x00-10 ", b"DS\x04\x00-10\0"))
    assert read_slice(path).hu.tolist() == [[1054]]


def test_a_file_without_transfer_syntax_that_looks_big_endian_is_not_guessed_at(tmp_path):
    path = write_big_endian(tmp_path / "a.dcm")
    element = b"\x02\0\x10\0UI\x14\0" + ExplicitVRBigEndian.encode() + b"\0"
    assert element in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(element, b""))
    assert "readable" in refusal(path)


def test_a_file_that_only_mentions_the_deflated_syntax_is_read(tmp_path):
    def change(dataset):
        dataset.add_new("AvailableTransferSyntaxUID", "UI", DeflatedExplicitVRLittleEndian)

    path = write_dicom(tmp_path / "a.dcm", [[1064, 24]], change=change)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    assert read_slice(path).hu.tolist() == [[40, -1000]]


def test_unsigned_padding_above_the_signed_range_is_found(tmp_path):
    def change(dataset):
        dataset.add_new("PixelPaddingValue", "US", 63536)

    stored = [[63536, 1064]]
    assert read_pixels(tmp_path, stored, signed=False, change=change) == [[-1024, 40]]


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, " "])
def test_a_data_set_needs_every_identifier(tmp_path, keyword, value):
    path = write_dicom(tmp_path / "a.dcm", [[0]], change=lambda d: setattr(d, keyword, value))
    assert keyword in refusal(path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
@pytest.mark.parametrize("value", [None, [1, 2], [0, 0, 0, 0, 0, 0]])
def test_a_data_set_needs_geometry(tmp_path, keyword, value):
    path = write_dicom(tmp_path / "a.dcm", [[0]], change=lambda d: setattr(d, keyword, value))
    assert keyword in refusal(path)


# Serving


def test_bytes_are_read_without_identity_and_position(tmp_path):
    def anonymise(dataset):
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient"):
            delattr(dataset, keyword)

    data = write_dicom(tmp_path / "a.dcm", [[1064]], change=anonymise).read_bytes()
    ct_slice = slice_from_bytes(data, "request 0")
    assert ct_slice.hu.tolist() == [[40]]
    assert (ct_slice.patient_id, ct_slice.study_uid, ct_slice.series_uid) == ("", "", "")
    assert ct_slice.position_mm == 0


def test_bytes_are_refused_by_the_name_they_were_given():
    with pytest.raises(SliceError, match=r"^request 3 .*9 bytes"):
        slice_from_bytes(b"not dicom", "request 3")


def test_no_broken_byte_makes_anything_but_a_slice_or_a_refusal(tmp_path):
    data = write_dicom(tmp_path / "a.dcm", np.zeros((4, 4))).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(1000):
        broken = bytearray(data)
        for place in random.integers(132, len(data), 4):
            broken[place] = random.integers(256)
        with contextlib.suppress(SliceError):
            assert slice_from_bytes(bytes(broken), "request").hu.dtype == np.int16


# The quick way and pydicom's own reader


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_plain_file_is_read_the_quick_way_and_as_pydicom_reads_it(tmp_path, syntax):
    values = np.random.default_rng(1).integers(0, 4096, size=(32, 24))
    data = write_dicom(tmp_path / "a.dcm", values, bits_stored=12, signed=False, syntax=syntax).read_bytes()
    plain = parse_plain(data)
    assert plain is not None
    np.testing.assert_array_equal(read_hounsfield(plain, "a"), read_hounsfield(parse_any(data, "a"), "a"))
    assert read_hounsfield(plain, "a")[3, 5] == values[3, 5] - 1024


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:132],
        lambda data: data[128:],
        lambda data: data[:140] + b"\xff\xff\0\0" + data[144:],
        lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
    ],
)
def test_what_is_not_plain_is_left_to_pydicom(tmp_path, damage):
    data = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8))).read_bytes()
    assert parse_plain(data) is not None
    assert parse_plain(damage(data)) is None


def test_what_the_quick_way_reads_of_broken_bytes_pydicom_reads_alike(tmp_path):
    data = write_dicom(tmp_path / "a.dcm", np.arange(16).reshape(4, 4)).read_bytes()
    random, compared = np.random.default_rng(0), 0
    for _ in range(500):
        broken = bytearray(data)
        broken[random.integers(132, len(data))] = random.integers(256)
        plain = parse_plain(bytes(broken))
        with contextlib.suppress(SliceError):
            quick = plain and read_hounsfield(plain, "a").tolist()
            slow = read_hounsfield(parse_any(bytes(broken), "a"), "a").tolist()
            assert quick in (None, slow)
            compared += quick is not None
    assert compared > 300
