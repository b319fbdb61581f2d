"""Pixels of a DICOM CT image, to Hounsfield units."""

from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from ich_mlflow.ct.hounsfield import MIN_HU, to_hounsfield, unwrap_12_bit
from ich_mlflow.dicom import header
from ich_mlflow.dicom.codestream import image_shape
from ich_mlflow.dicom.jpeg import decode_jpeg
from ich_mlflow.dicom.parse import MAX_SIDE, Parsed
from ich_mlflow.dicom.probe import PROBE
from ich_mlflow.errors import SliceError

#: pydicom's plugins in the order they are tried. Each decodes the test files to the bit; fed with thousands of
#: broken ones they refuse, where gdcm, which decodes as well, takes the process down (docs/decisions/0006).
_PLUGINS = ("pydicom", "pyjpegls", "pylibjpeg")  # JPEG is no plugin's: dicom/jpeg.py


def read_hounsfield(parsed: Parsed, name: str, *, guarded: bool = False) -> np.ndarray:
    """Hounsfield units int16 [H, W] of a CT image, at least -1024. `name` stands in messages.

    guarded: codestreams that could keep the decoder busy for seconds are tried elsewhere first (dicom/probe.py).

    16 or 12 bits, signed or not, are read as their tags say; 12-bit unsigned files with an intercept of 0 or
    1 hold negative HU modulo 4096 and are unwrapped. Pixels of the Pixel Padding Value become -1024.
    Raises SliceError for missing rescale tags, pixels that are cut short or can't be decoded, more than one
    frame or sample a pixel, or units other than HU.
    Source: DICOM PS3.3 C.7.6.3, C.7.5.1.1.2 (padding), C.8.2.1, C.11.1.
    """
    dataset = parsed.dataset
    layout = _check_layout(dataset, name)
    slope = _number(dataset, "RescaleSlope", name, reason="no_rescale")
    intercept = _number(dataset, "RescaleIntercept", name, reason="no_rescale")
    if slope == 0:
        raise SliceError(
            f"{name} has RescaleSlope 0, expected another number (mostly 1): export it again",
            reason="no_rescale",
            tag="RescaleSlope",
        )
    if header.text(dataset, "RescaleType") not in ("", "HU", "US"):
        raise SliceError(
            f"{name} has a RescaleType other than HU: pass images in Hounsfield units",
            reason="not_hounsfield",
            tag="RescaleType",
        )
    stored = _stored_values(parsed, name, layout, guarded=guarded)
    if layout.bits_stored == 12 and not layout.signed and slope == 1 and intercept in (0, 1):
        hu = to_hounsfield(unwrap_12_bit(stored), slope=1, intercept=0)
    else:
        hu = to_hounsfield(stored, slope=slope, intercept=intercept)
    padding = _padding(dataset, stored, name, layout)
    if padding is not None:
        hu[padding] = MIN_HU
    return hu


class _Layout(NamedTuple):
    """Rows and Columns, BitsStored, and whether values are signed."""

    shape: tuple[int, int]
    bits_stored: int
    signed: bool


def _check_layout(dataset: Dataset, name: str) -> _Layout:
    """The layout of one frame of 16-bit MONOCHROME2, or SliceError."""

    def refuse(keyword: str, text: str, *, reason: str = "unsupported_pixels") -> None:
        raise SliceError(f"{name} has {text}", reason=reason, tag=keyword)

    if header.text(dataset, "PhotometricInterpretation") != "MONOCHROME2":
        keyword = "PhotometricInterpretation"
        refuse(keyword, f"a {keyword} other than MONOCHROME2: pass original CT")
    frames = _integer(dataset, "NumberOfFrames", name, default=1)
    if frames != 1:
        text = f"NumberOfFrames {frames}, expected 1: convert it to single CT images (dcm4che's emf2sf does)"
        refuse("NumberOfFrames", text, reason="multi_frame")
    samples = _integer(dataset, "SamplesPerPixel", name)
    if samples != 1:
        refuse("SamplesPerPixel", f"SamplesPerPixel {samples}, expected 1: pass original CT")
    rows, columns = (_integer(dataset, keyword, name) for keyword in ("Rows", "Columns"))
    for keyword, side in (("Rows", rows), ("Columns", columns)):
        if not 1 <= side <= MAX_SIDE:
            refuse(keyword, f"{keyword} {side}, expected 1 to {MAX_SIDE}: pass original CT")
    allocated = _integer(dataset, "BitsAllocated", name)
    stored = _integer(dataset, "BitsStored", name)
    high_bit = _integer(dataset, "HighBit", name, default=stored - 1)
    if allocated != 16 or not 1 <= stored <= 16 or high_bit != stored - 1:
        keyword = "BitsAllocated" if allocated != 16 else "BitsStored"
        refuse(
            keyword,
            f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high_bit}, "
            "expected 16, 1 to 16, BitsStored - 1: pass original CT",
        )
    representation = _integer(dataset, "PixelRepresentation", name)
    if representation not in (0, 1):
        keyword = "PixelRepresentation"
        refuse(keyword, f"{keyword} {representation}, expected 0 or 1: export it again")
    return _Layout((rows, columns), stored, representation == 1)


def _stored_values(parsed: Parsed, name: str, layout: _Layout, *, guarded: bool) -> np.ndarray:
    if parsed.pixels is not None:
        values = _native_values(parsed.pixels, name, *layout.shape)
    else:
        values = _decoded_values(parsed.dataset, name, layout.shape, guarded=guarded)
    return _used_bits(values.view("<u2"), layout)


def _native_values(pixels: memoryview, name: str, rows: int, columns: int) -> np.ndarray:
    """Stored values uint16 [H, W] straight from the bytes: a third faster than pydicom's pixel_array."""
    expected = rows * columns * 2
    if len(pixels) < expected:
        raise SliceError(
            f"{name} has {len(pixels)} bytes of PixelData, expected {expected} ({rows} x {columns} x 2): "
            "the file is cut short, copy it again or leave it out",
            reason="truncated",
            tag="PixelData",
        )
    return np.frombuffer(pixels, dtype="<u2", count=rows * columns).reshape(rows, columns)


def _decoded_values(dataset: Dataset, name: str, shape: tuple[int, int], *, guarded: bool) -> np.ndarray:
    try:
        values = _decode(dataset, shape, guarded=guarded)
    except Exception:  # pydicom's decoders raise anything; without a plugin, StopIteration.
        raise SliceError(
            f"{name} holds compressed pixels that can't be decoded here: copy it again, or decompress it "
            "(gdcmconv --raw)",
            reason="undecodable",
            tag="TransferSyntaxUID",
        ) from None
    if values.shape != shape or values.dtype.itemsize != 2:
        raise SliceError(
            f"{name} decodes to {values.dtype} {values.shape}, expected 16 bits {shape}: export it again",
            reason="undecodable",
            tag="PixelData",
        )
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))


def _decode(dataset: Dataset, shape: tuple[int, int], *, guarded: bool) -> np.ndarray:
    """Raises ValueError for a codestream of another size than the header says, StopIteration without a plugin."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return dataset.pixel_array  # big endian
    if syntax in JPEGTransferSyntaxes + JPEGLSTransferSyntaxes + JPEG2000TransferSyntaxes:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        if image_shape(frame) != (*shape, 1):
            raise ValueError("the codestream is of another size than the header says, or of none")
        if syntax in JPEGTransferSyntaxes:
            return decode_jpeg(frame)
        if guarded and syntax in JPEGLSTransferSyntaxes and not PROBE.decodes(frame):
            raise ValueError("the codestream is damaged")
    usable = get_decoder(syntax).available_plugins
    dataset.pixel_array_options(decoding_plugin=next(name for name in _PLUGINS if name in usable))
    return dataset.pixel_array


def _used_bits(values: np.ndarray, layout: _Layout) -> np.ndarray:
    """Values with the bits above BitsStored dropped, sign extended where signed.

    int16 [H, W] where that holds them, uint16 [H, W] for 16 bits unsigned. What stands in the unused bits is
    undefined. Source: DICOM PS3.5 8.1.1.
    """
    unused = 16 - layout.bits_stored
    if layout.signed:
        return (values << unused).view(np.int16) >> unused if unused else values.view(np.int16)
    return (values & np.uint16(0xFFFF >> unused)).view(np.int16) if unused else values


def _padding(dataset: Dataset, stored: np.ndarray, name: str, layout: _Layout) -> np.ndarray | None:
    """Mask [H, W] of the pixels that are padding; None where the file names no padding value."""
    low, high = (
        _padding_value(dataset, keyword, name, layout)
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if low is None:
        return None
    if high is None:
        return stored == low
    return (stored >= min(low, high)) & (stored <= max(low, high))


def _padding_value(dataset: Dataset, keyword: str, name: str, layout: _Layout) -> int | None:
    """The value as it stands in pixels: in BitsStored bits, with their sign. None where there is none."""
    if not header.has_value(dataset, keyword):
        return None
    # Its VR is US or SS by PixelRepresentation, and writers mix the two up.
    value = np.array([_integer(dataset, keyword, name) % 2**16], dtype="<u2")
    return int(_used_bits(value, layout)[0])


def _integer(dataset: Dataset, keyword: str, name: str, *, default: int | None = None) -> int:
    if default is not None and not header.has_value(dataset, keyword):
        return default
    return int(_number(dataset, keyword, name, reason="unsupported_pixels"))


def _number(dataset: Dataset, keyword: str, name: str, *, reason: str) -> float:
    found = header.numbers(dataset, keyword)
    if len(found) != 1:
        raise SliceError(
            f"{name} has no usable {keyword} (one finite number expected): export it again",
            reason=reason,
            tag=keyword,
        )
    return found[0]
