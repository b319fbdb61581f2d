"""Pixels of a DICOM CT image, to Hounsfield units."""

from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from ich_mlflow.dicom import header
from ich_mlflow.dicom.codestream import Family, expect_modest, family_of, image_shape, jpeg_2000_sign
from ich_mlflow.dicom.decoders import DECODERS
from ich_mlflow.dicom.jpeg import decode_jpeg
from ich_mlflow.dicom.layout import Layout, integer, layout_of, remarks_on_header, rescale_of
from ich_mlflow.dicom.padding import without_padding
from ich_mlflow.dicom.parse import OTHER_SYNTAX, Parsed
from ich_mlflow.dicom.reading import Bits, hounsfield, reading_of, used_bits
from ich_mlflow.errors import SliceError

#: pydicom's plugins in the order they are tried. Each decodes the test files to the bit; fed with thousands of
#: broken ones they refuse, where gdcm, which decodes as well, takes the process down (docs/decisions/0006).
_PLUGINS = ("pydicom", "pyjpegls", "pylibjpeg")  # JPEG is no plugin's: dicom/jpeg.py
#: Of each family of codestreams the syntaxes that name it, and one that does where the file names another.
_SYNTAXES: dict[Family, tuple[list[UID], UID]] = {
    Family.JPEG: (JPEGTransferSyntaxes, JPEGLosslessSV1),
    Family.JPEG_LS: (JPEGLSTransferSyntaxes, JPEGLSLossless),
    Family.JPEG_2000: (JPEG2000TransferSyntaxes, JPEG2000Lossless),
    Family.RLE: ([RLELossless], RLELossless),
}


class PixelImage(NamedTuple):
    """hu: int16 [H, W], at least -1024. remarks: what the file says amiss, and was read nevertheless."""

    hu: np.ndarray
    remarks: tuple[str, ...]


def read_hounsfield(parsed: Parsed, name: str, *, guarded: bool = False) -> np.ndarray:
    """Hounsfield units int16 [H, W] of a CT image, as read_image gives them, without the remarks."""
    return read_image(parsed, name, guarded=guarded).hu


def read_image(parsed: Parsed, name: str, *, guarded: bool = False) -> PixelImage:
    """Hounsfield units int16 [H, W] of a CT image, at least -1024. `name` stands in messages.

    guarded: codestreams are decoded where memory and time are bounded (dicom/decoders.py).

    16 or 12 bits, signed or not, are read as their tags say; 12-bit unsigned files with an intercept of 0 or
    1 hold negative HU modulo 4096 and are unwrapped. Padding becomes -1024 (dicom/padding.py). What contradicts itself
    is read by the pixels where those settle it (dicom/reading.py).
    Raises SliceError for missing rescale tags, pixels that are cut short or can't be decoded, more than one
    frame or sample a pixel, or units other than HU.
    Source: DICOM PS3.3 C.7.6.3, C.7.5.1.1.2 (padding), C.8.2.1, C.11.1.
    """
    dataset = parsed.dataset
    layout = layout_of(dataset, name)
    rescale = rescale_of(dataset, name)
    values = _stored_values(parsed, name, layout, guarded=guarded)
    reading = reading_of(values.bits, layout, rescale, values.sign, name)
    stored = used_bits(values.bits, reading.bits)
    hu = hounsfield(stored, reading.bits, rescale)
    remarks = [*parsed.remarks, *remarks_on_header(dataset), values.remark, reading.remark]
    padding = _padding(dataset, stored, name, reading.bits)
    if padding is not None:
        hu, remark = without_padding(hu, padding)
        remarks.append(remark)
    return PixelImage(hu, tuple(one for one in remarks if one))


class _Stored(NamedTuple):
    """bits: uint16 [H, W] as they were stored. sign: of a JPEG 2000 codestream. remark: on the transfer syntax."""

    bits: np.ndarray
    sign: tuple[int, bool] | None = None
    remark: str = ""


def _stored_values(parsed: Parsed, name: str, layout: Layout, *, guarded: bool) -> _Stored:
    if parsed.pixels is None:
        return _decoded_values(parsed, name, layout.shape, guarded=guarded)
    return _Stored(_native_values(parsed, parsed.pixels, name, *layout.shape))


def _native_values(parsed: Parsed, pixels: memoryview, name: str, rows: int, columns: int) -> np.ndarray:
    """Stored values uint16 [H, W] straight from the bytes: a third faster than pydicom's pixel_array."""
    expected = rows * columns * 2
    if len(pixels) < expected:
        said = f"{name} has {len(pixels)} bytes of PixelData, expected {expected} ({rows} x {columns} x 2): "
        why = (
            "the file is cut short, copy it again or leave it out"
            if parsed.is_cut
            else "Rows, Columns and PixelData contradict each other, export it again"
        )
        raise SliceError(f"{said}{why}", reason="truncated", tag="PixelData")
    return np.frombuffer(pixels, dtype="<u2", count=rows * columns).reshape(rows, columns)


def _decoded_values(parsed: Parsed, name: str, shape: tuple[int, int], *, guarded: bool) -> _Stored:
    try:
        decoded = _decode(parsed.dataset, shape, guarded=guarded)
    except Exception:  # pydicom's decoders raise anything; without a plugin, StopIteration.
        raise SliceError(
            f"{name} holds compressed pixels that can't be decoded here: copy it again, or decompress it "
            "(gdcmconv --raw)",
            reason="undecodable",
            tag="TransferSyntaxUID",
        ) from None
    values = decoded.bits
    if values.shape != shape or values.dtype.itemsize != 2:
        raise SliceError(
            f"{name} decodes to {values.dtype} {values.shape}, expected 16 bits {shape}: export it again",
            reason="undecodable",
            tag="PixelData",
        )
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return decoded._replace(bits=little.view("<u2"))


def _decode(dataset: Dataset, shape: tuple[int, int], *, guarded: bool) -> _Stored:
    """Raises ValueError for a codestream of another size than the header says, StopIteration without a plugin."""
    named = dataset.file_meta.TransferSyntaxUID
    if not named.is_encapsulated and not dataset["PixelData"].is_undefined_length:
        return _Stored(dataset.pixel_array)  # big endian
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    family, remark = family_of(frame), ""
    if family is not None and named not in _SYNTAXES[family][0]:
        dataset.file_meta.TransferSyntaxUID, remark = _SYNTAXES[family][1], OTHER_SYNTAX
    sign = None
    if family in (Family.JPEG, Family.JPEG_LS, Family.JPEG_2000):
        if image_shape(frame) != (*shape, 1):
            raise ValueError("the codestream is of another size than the header says, or of none")
        expect_modest(frame)
        sign = jpeg_2000_sign(frame)
        if guarded:
            return _Stored(DECODERS.decode(frame, _tags(dataset)), sign, remark)
    return _Stored(decode(dataset, frame), sign, remark)


def decode(dataset: Dataset, frame: bytes) -> np.ndarray:
    """Stored values [H, W] of an image's only frame, as its decoder gives them: raises anything, or StopIteration."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in JPEGTransferSyntaxes:
        return decode_jpeg(frame)
    usable = get_decoder(syntax).available_plugins
    dataset.pixel_array_options(decoding_plugin=next(name for name in _PLUGINS if name in usable))
    return np.asarray(dataset.pixel_array)


def _tags(dataset: Dataset) -> dict[str, Any]:
    """What a decoder needs of the header, as JSON can hold it."""
    numbers = {
        keyword: int(header.numbers(dataset, keyword)[0])
        for keyword in (
            "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        )
        if header.numbers(dataset, keyword)
    }  # fmt: skip
    return {
        **numbers,
        "PhotometricInterpretation": header.text(dataset, "PhotometricInterpretation"),
        "TransferSyntaxUID": str(dataset.file_meta.TransferSyntaxUID),
    }


def _padding(dataset: Dataset, stored: np.ndarray, name: str, bits: Bits) -> np.ndarray | None:
    """Mask [H, W] of the pixels of the padding value or range; None where the file names none."""
    low, high = (
        _padding_value(dataset, keyword, name, bits)
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if low is None:
        return None
    if high is None:
        return stored == low
    return (stored >= min(low, high)) & (stored <= max(low, high))


def _padding_value(dataset: Dataset, keyword: str, name: str, bits: Bits) -> int | None:
    """The value as it stands in pixels: in BitsStored bits, with their sign. None where there is none."""
    if not header.has_value(dataset, keyword):
        return None
    # Its VR is US or SS by PixelRepresentation, and writers mix the two up.
    value = np.array([integer(dataset, keyword, name) % 2**16], dtype="<u2")
    return int(used_bits(value, bits._replace(unused=0))[0])
