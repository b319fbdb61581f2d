"""Files that contradict themselves, or spell things their own way: read where that is unambiguous, and said."""

import gzip

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ich_mlflow.dicom.image_header import read_image_header
from ich_mlflow.dicom.series import read_header
from ich_mlflow.dicom.slice import parse_slice, slice_from_bytes
from ich_mlflow.errors import SliceError
from tests.factories import write_dicom

#: Air around a square of brain with a pixel of water in it, in HU: [64, 64].
HEAD = np.full((64, 64), -1000)
HEAD[4:40, 4:40] = 40
HEAD[8, 8] = 0
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def read(path):
    """As every reader reads it: server, predict's survey, preprocess's headers and slices."""
    data = path.read_bytes()
    ct_slice = slice_from_bytes(data, "the file")
    strict = parse_slice(data, "the file")
    np.testing.assert_array_equal(ct_slice.hu, strict.hu)
    assert ct_slice.remarks == strict.remarks
    for header in (read_image_header(path), read_header(lambda count: data[:count], "the file")):
        assert (header.sop_uid, header.position_mm) == (strict.sop_uid, strict.position_mm)
    return strict


def refusal(path):
    with pytest.raises(SliceError) as caught:
        slice_from_bytes(path.read_bytes(), "the file")
    assert "\n" not in str(caught.value)
    return caught.value


def put(**tags):
    def change(dataset):
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return change


def head(folder, *, change=lambda dataset: None, hu=HEAD, **options):
    """The head with an intercept of -1024, or another."""
    stored = np.asarray(hu) - int(options.get("intercept", -1024))
    return write_dicom(folder / "ID_1.dcm", stored, change=change, **options)


# Padding


def test_padding_that_is_water_too_is_padding_only_where_it_is_joined_to_the_border(tmp_path):
    hu = HEAD.copy()
    hu[0, :3] = hu[1, 0] = 0  # a corner of padding
    hu[2, 2] = 0  # touches it by a corner alone
    ct_slice = read(head(tmp_path, hu=hu, intercept=0, change=put(PixelPaddingValue=0)))
    assert ct_slice.hu[0, :4].tolist() == [-1024, -1024, -1024, -1000]
    assert ct_slice.hu[1, 0] == -1024
    assert (ct_slice.hu[8, 8], ct_slice.hu[2, 2], ct_slice.hu[4, 4]) == (0, 0, 40)
    assert ct_slice.remarks == (
        "its Pixel Padding Value stands inside the image too, where it is read as tissue",
    )


def test_a_range_of_padding_that_holds_tissue_leaves_the_head_alone(tmp_path):
    ct_slice = read(
        head(tmp_path, change=put(PixelPaddingValue=0, PixelPaddingRangeLimit=1024))  # -1024 to 0 HU
    )
    assert ct_slice.hu[8, 8] == 0
    assert ct_slice.hu[0, 0] == -1024  # the air around it is joined to the border
    assert len(ct_slice.remarks) == 1


@pytest.mark.parametrize(("padding", "intercept"), [(24, -1024), (-2000, 0)])
def test_padding_that_is_air_or_less_is_padding_everywhere_and_nothing_is_said(tmp_path, padding, intercept):
    hu = HEAD.copy()
    hu[8, 8] = padding + intercept
    ct_slice = read(head(tmp_path, hu=hu, intercept=intercept, change=put(PixelPaddingValue=padding)))
    assert (ct_slice.hu[8, 8], ct_slice.remarks) == (-1024, ())


def test_padding_beyond_what_ct_measures_is_padding_inside_too(tmp_path):
    stored = HEAD + 1024
    stored[8, 8] = 63536  # 62,512 HU
    path = write_dicom(tmp_path / "ID_1.dcm", stored, signed=False, change=put(PixelPaddingValue=63536))
    ct_slice = read(path)
    assert (ct_slice.hu[8, 8], ct_slice.remarks) == (-1024, ())


# Preamble and meta header


def strip(data, what):
    end = 144 + int.from_bytes(data[140:144], "little")
    return {
        "preamble": data[132:],
        "preamble, not DICM": data[128:],
        "preamble and meta header": data[end:],
        "meta header": data[:132] + data[end:],
    }[what]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    "what", ["preamble", "preamble, not DICM", "preamble and meta header", "meta header"]
)
def test_files_without_preamble_or_meta_header_are_read(tmp_path, syntax, what):
    path = head(tmp_path, syntax=syntax)
    path.write_bytes(strip(path.read_bytes(), what))
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert len(ct_slice.remarks) == 1


@pytest.mark.parametrize("what", ["preamble", "preamble and meta header", "meta header"])
def test_compressed_files_without_preamble_or_meta_header_are_read(tmp_path, what):
    path = head(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(path)
    path.write_bytes(strip(path.read_bytes(), what))
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks


def test_a_meta_header_without_length_or_transfer_syntax_is_enough(tmp_path):
    path = head(tmp_path)
    data = path.read_bytes()
    length, syntax = data[132:144], b"\x02\0\x10\0UI\x14\0" + ExplicitVRLittleEndian.encode() + b"\0"
    assert syntax in data
    for without in (
        data.replace(length, b""),
        data.replace(syntax, b""),
        data.replace(length, b"").replace(syntax, b""),
    ):
        path.write_bytes(without)
        np.testing.assert_array_equal(read(path).hu, HEAD)


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n" * 99,
        b"PK\x03\x04" * 99,
        b"\x08\0\x05\0" * 99,
        b"\x08\0\x08\0CS" + b"\xff" * 300,
        b"\x02\0" * 99,
    ],
)
def test_what_only_resembles_dicom_is_none(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert refusal(tmp_path / "a").reason in ("not_dicom", "not_ct", "truncated")
    with pytest.raises(SliceError):
        read_image_header(tmp_path / "a")


def test_gzipped_files_are_read_within_the_limits(tmp_path, monkeypatch):
    path = head(tmp_path)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed)
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks == ()
    path.write_bytes(packed[:-20])
    assert refusal(path).reason == "truncated"
    monkeypatch.setattr("ich_mlflow.dicom.part10._INFLATED_BYTES", 2**20)
    path.write_bytes(gzip.compress(bytes(2**21)))
    assert "unpacks to more than 1 MiB" in str(refusal(path))


# Transfer syntax


def renamed(path, syntax):
    """The file with another transfer syntax in its meta header, its elements as they were."""
    data = path.read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    meta = pydicom.dcmread(path).file_meta
    meta.TransferSyntaxUID = syntax
    written = DicomBytesIO()
    write_file_meta_info(written, meta)
    path.write_bytes(data[:132] + written.getvalue() + data[end:])
    return path


@pytest.mark.parametrize("written", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    "named",
    [
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless, JPEGLosslessSV1, RLELossless,
    ],
)  # fmt: skip
def test_uncompressed_pixels_are_read_whatever_the_meta_header_says(tmp_path, written, named):
    ct_slice = read(renamed(head(tmp_path, syntax=written), named))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert len(ct_slice.remarks) == (written != named)


@pytest.mark.parametrize("named", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_big_endian_and_deflated_files_are_read_whatever_they_are_called(tmp_path, named):
    path = head(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (HEAD + 1024).astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False)
    np.testing.assert_array_equal(read(renamed(path, named)).hu, HEAD)
    path = renamed(head(tmp_path, syntax=DeflatedExplicitVRLittleEndian), named)
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert len(ct_slice.remarks) == 1


@pytest.mark.parametrize("written", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize(
    "named", [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless]
)
def test_compressed_pixels_are_decoded_as_what_they_are(tmp_path, written, named):
    path = head(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.compress(written, generate_instance_uid=False)
    dataset.save_as(path)
    ct_slice = read(renamed(path, named))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    expected = "its transfer syntax contradicts its pixels, which are read as what they are"
    assert ct_slice.remarks == ((expected,) if written != named else ())


def test_a_file_is_said_to_be_cut_short_only_where_it_is(tmp_path):
    path = head(tmp_path, change=put(Rows=65))
    assert "contradict each other" in str(refusal(path))
    path = head(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in str(refusal(path))


# The sign of JPEG 2000


def compressed_as(path, *, encoded, named):
    """JPEG 2000 whose codestream is signed or not, under a PixelRepresentation that says the other."""
    dataset = pydicom.dcmread(path)
    dataset.PixelRepresentation = int(encoded)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert bool(get_frame(dataset.PixelData, 0, number_of_frames=1)[42] & 0x80) == encoded
    dataset.PixelRepresentation = int(named)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("intercept", [0, -1024])
def test_what_was_encoded_as_negative_is_air(tmp_path, bits, intercept):
    """Read unsigned, -1000 is 64,536, and air reads 32767."""
    path = compressed_as(head(tmp_path, bits_stored=bits, intercept=intercept), encoded=True, named=False)
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks == ("the sign in its JPEG 2000 codestream contradicts PixelRepresentation",)


@pytest.mark.parametrize("bits", [12, 16])
def test_negative_numbers_that_were_encoded_as_large_ones_are_air(tmp_path, bits):
    path = compressed_as(head(tmp_path, bits_stored=bits, intercept=0), encoded=False, named=True)
    np.testing.assert_array_equal(read(path).hu, HEAD)


def test_bone_in_an_unsigned_codestream_stays_bone(tmp_path):
    """3,000 of 12 bits would be -1096 if PixelRepresentation were right; there is air in both readings."""
    hu = HEAD.copy()
    hu[5, 5] = 1976
    path = compressed_as(head(tmp_path, hu=hu, bits_stored=12, signed=False), encoded=False, named=True)
    np.testing.assert_array_equal(read(path).hu, hu)


def test_padding_in_an_unsigned_codestream_stays_padding(tmp_path):
    hu = HEAD.copy()
    hu[:2, :2] = -3024  # -2000 stored: 2,096 of 12 bits, which would be 1,072 HU
    path = compressed_as(head(tmp_path, hu=hu, bits_stored=12), encoded=False, named=True)
    assert read(path).hu[0, 0] == -1024


# Bits


@pytest.mark.parametrize(("signed", "intercept"), [(True, -1024), (True, 0), (False, -1024)])
def test_a_high_bit_that_contradicts_bits_stored_is_settled_by_the_pixels(tmp_path, signed, intercept):
    path = head(tmp_path, signed=signed, intercept=intercept, change=put(HighBit=11))
    ct_slice = read(path)
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks == ("its HighBit 11 contradicts BitsStored 16",)


def test_twelve_bits_without_their_sign_in_the_others_are_still_signed(tmp_path):
    """-1000 as 0x0C18, where 16 bits would be 3,096."""
    stored = HEAD & 0xFFF
    path = write_dicom(tmp_path / "ID_1.dcm", stored, intercept=0, change=put(HighBit=11))
    np.testing.assert_array_equal(read(path).hu, HEAD)


def test_bits_that_are_all_used_are_used(tmp_path):
    """5,000 needs 13 bits: HighBit is the lie."""
    hu = HEAD.copy()
    hu[5, 5] = 5000
    np.testing.assert_array_equal(read(head(tmp_path, hu=hu, signed=False, change=put(HighBit=11))).hu, hu)


def test_values_in_the_upper_bits_are_shifted_down_and_those_that_are_not_stay(tmp_path):
    upper = write_dicom(
        tmp_path / "ID_1.dcm", (HEAD + 1024) << 4, signed=False, bits_stored=12, change=put(HighBit=15)
    )
    np.testing.assert_array_equal(read(upper).hu, HEAD)
    lower = head(
        tmp_path, hu=np.where(HEAD == 40, 41, HEAD), signed=False, bits_stored=12, change=put(HighBit=15)
    )
    assert read(lower).hu[4, 4] == 41


def test_what_can_be_read_in_two_ways_is_refused(tmp_path):
    """2,096 with HighBit 11 is 1,072 HU or, as -2000, padding: both at the border and inside."""
    stored = HEAD + 1024
    stored[0, 0] = stored[8, 8] = 2096
    path = write_dicom(tmp_path / "ID_1.dcm", stored, change=put(HighBit=11))
    error = refusal(path)
    assert "can be read in two ways" in str(error)
    assert (error.reason, error.tag) == ("unsupported_pixels", "HighBit")


# Spellings


@pytest.mark.parametrize(
    "said", ["Hounsfield", "HOUNSFIELD UNITS", "hu", "H.U.", "Hounsfield Unit", "unspecified"]
)
def test_other_words_for_hounsfield_units_are_read(tmp_path, said):
    ct_slice = read(head(tmp_path, change=put(RescaleType=said)))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks == ("its RescaleType is another word for HU",)


@pytest.mark.parametrize("said", ["MGML", "Z", "HU_MOD", "ED", "%", "IODINE"])
def test_other_units_are_refused(tmp_path, said):
    if said == "%":
        said = "PCT"
    assert refusal(head(tmp_path, change=put(RescaleType=said))).reason == "not_hounsfield"


def with_text(path, keyword, text, *, vr=None):
    """The file with an element's value, and its value representation, as given."""
    dataset = pydicom.dcmread(path)
    tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
    dataset[tag] = pydicom.dataelem.DataElement(tag, vr or "LO", text)
    dataset.save_as(path)
    if vr is None:
        data, place = path.read_bytes(), int(tag)
        start = (place >> 16).to_bytes(2, "little") + (place & 0xFFFF).to_bytes(2, "little")
        assert data.count(start + b"LO") == 1
        path.write_bytes(data.replace(start + b"LO", start + b"DS"))
    return path


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("RescaleIntercept", "-1024,0"), ("RescaleSlope", "1,0"), ("PixelSpacing", "0,5\\0,4"),
        ("ImagePositionPatient", "-125,0\\-125,0\\40,0"), ("ImageOrientationPatient", "1,0\\0,0\\0\\0\\1,0\\0"),
    ],
)  # fmt: skip
def test_decimal_commas_are_read_and_said(tmp_path, keyword, text):
    ct_slice = read(with_text(head(tmp_path), keyword, text))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert (ct_slice.position_mm, ct_slice.pixel_spacing_mm, ct_slice.tilt_degrees) == (40, (0.5, 0.4), 0)
    assert ct_slice.remarks == (f"decimal commas are read as points ({keyword})",)


def test_a_comma_that_may_stand_for_thousands_is_refused_for_that(tmp_path):
    error = refusal(with_text(head(tmp_path), "RescaleIntercept", "-1,024"))
    assert "may stand for thousands" in str(error)
    assert (error.reason, error.tag) == ("no_rescale", "RescaleIntercept")


@pytest.mark.parametrize(
    ("keyword", "text", "vr"),
    [
        ("RescaleIntercept", "-1024", "UT"), ("RescaleIntercept", "-1024", "LO"), ("RescaleSlope", "1", "ST"),
        ("ImagePositionPatient", "-125\\-125\\40", "LT"), ("Rows", "64", "IS"), ("BitsStored", 16, "SS"),
        ("Columns", 64, "UL"), ("RescaleSlope", 1.0, "FD"),
    ],
)  # fmt: skip
def test_wrong_value_representations_are_read_and_said(tmp_path, keyword, text, vr):
    ct_slice = read(with_text(head(tmp_path), keyword, text, vr=vr))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks == (f"value representations that are not DICOM's ({keyword})",)


# Modality and SOP class


@pytest.mark.parametrize("modality", ["", None, "ct"])
def test_without_a_modality_cts_sop_class_says_ct(tmp_path, modality):
    ct_slice = read(head(tmp_path, change=put(Modality=modality)))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    expected = "its Modality does not say CT: its SOP class or RescaleType does"
    assert ct_slice.remarks == (() if modality == "ct" else (expected,))


def test_without_modality_and_sop_class_it_is_no_ct(tmp_path):
    path = head(tmp_path, change=put(Modality="", SOPClassUID="1.2.840.10008.5.1.4.1.1.4"))
    assert refusal(path).reason == "not_ct"
    with pytest.raises(SliceError, match="another modality"):
        read_image_header(path)


@pytest.mark.parametrize("tags", [{"Modality": "CT"}, {"Modality": "OT", "RescaleType": "HU"}])
def test_ct_that_was_stored_as_secondary_capture_is_read(tmp_path, tags):
    ct_slice = read(head(tmp_path, change=put(SOPClassUID=CAPTURE, **tags)))
    np.testing.assert_array_equal(ct_slice.hu, HEAD)
    assert ct_slice.remarks[-1] == "a Secondary Capture with geometry and rescale, read as CT"


def test_a_picture_of_the_screen_is_no_ct(tmp_path):
    path = head(tmp_path, change=put(SOPClassUID=CAPTURE, Modality="OT"))
    assert refusal(path).reason == "not_ct"


def test_a_whole_file_has_no_remarks(tmp_path):
    assert read(head(tmp_path)).remarks == ()


def test_a_codestream_in_fragments_that_is_none_is_undecodable(tmp_path):
    path = head(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b"\0" * 512])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(path)
    renamed(path, ExplicitVRLittleEndian)
    assert refusal(path).reason == "undecodable"
