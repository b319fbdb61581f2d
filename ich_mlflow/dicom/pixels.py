"""Pixels of a DICOM CT image, to Hounsfield units."""

import math

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.ct.hounsfield import to_hounsfield, unwrap_12_bit
from ich_mlflow.errors import SliceError

#: Well above any CT matrix; a compressed file of a few bytes could otherwise ask for gigabytes.
MAX_SIDE = 4096
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def read_hounsfield(dataset: FileDataset, name: str) -> np.ndarray:
    """Hounsfield units int16 [H, W] of a CT image, at least -1024. `name` stands in messages.

    The table of cases is in docs (RSNA's files): 16 or 12 bits, signed or not, are read as their tags say;
    12-bit unsigned files with an intercept of 0 or 1 hold negative HU modulo 4096 and are unwrapped.
    Raises SliceError for missing rescale tags, pixels that are cut short or can't be decoded, more than one
    frame or sample a pixel, or units other than HU. Source: DICOM PS3.3 C.7.6.3, C.8.2.1, C.11.1.
    """
    bits_stored, signed = _check_layout(dataset, name)
    slope = _number(dataset, "RescaleSlope", name)
    intercept = _number(dataset, "RescaleIntercept", name)
    if slope == 0:
        raise SliceError(f"{name} has RescaleSlope 0, expected another number (mostly 1): export it again")
    if header_text(dataset, "RescaleType") not in ("", "HU", "US"):
        raise SliceError(f"{name} has a RescaleType other than HU: pass images in Hounsfield units")
    stored = _stored_values(dataset, name, bits_stored=bits_stored, signed=signed)
    if bits_stored == 12 and not signed and slope == 1 and intercept in (0, 1):
        return to_hounsfield(unwrap_12_bit(stored), slope=1, intercept=0)
    return to_hounsfield(stored, slope=slope, intercept=intercept)


def header_text(dataset: FileDataset, keyword: str) -> str:
    """A tag's text, '' where it is missing, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        return ""
    return "" if value is None else str(value).strip()


def _check_layout(dataset: FileDataset, name: str) -> tuple[int, bool]:
    """(BitsStored, whether values are signed) of one frame of 16-bit MONOCHROME2, or SliceError."""
    if header_text(dataset, "PhotometricInterpretation") != "MONOCHROME2":
        raise SliceError(f"{name} has a PhotometricInterpretation other than MONOCHROME2: pass original CT")
    for keyword, expected, default in (("SamplesPerPixel", 1, None), ("NumberOfFrames", 1, 1)):
        found = _integer(dataset, keyword, name, default=default)
        if found != expected:
            raise SliceError(f"{name} has {keyword} {found}, expected {expected}: pass single CT images")
    for keyword in ("Rows", "Columns"):
        side = _integer(dataset, keyword, name)
        if not 1 <= side <= MAX_SIDE:
            raise SliceError(f"{name} has {keyword} {side}, expected 1 to {MAX_SIDE}: pass original CT")
    allocated = _integer(dataset, "BitsAllocated", name)
    stored = _integer(dataset, "BitsStored", name)
    high_bit = _integer(dataset, "HighBit", name, default=stored - 1)
    if allocated != 16 or not 1 <= stored <= 16 or high_bit != stored - 1:
        raise SliceError(
            f"{name} has BitsAllocated {allocated}, BitsStored {stored}, HighBit {high_bit}, "
            "expected 16, 1 to 16, BitsStored - 1: pass original CT"
        )
    representation = _integer(dataset, "PixelRepresentation", name)
    if representation not in (0, 1):
        raise SliceError(f"{name} has PixelRepresentation {representation}, expected 0 or 1: export it again")
    return stored, representation == 1


def _stored_values(dataset: FileDataset, name: str, *, bits_stored: int, signed: bool) -> np.ndarray:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax in _UNCOMPRESSED:
        values = _native_values(dataset, name, rows, columns)
    else:
        values = _decoded_values(dataset, name, rows, columns)
    return _used_bits(values.view("<u2"), bits_stored=bits_stored, signed=signed)


def _native_values(dataset: FileDataset, name: str, rows: int, columns: int) -> np.ndarray:
    """Stored values uint16 [H, W] straight from the bytes: a third faster than pydicom's pixel_array."""
    try:
        data = dataset.get("PixelData")
    except Exception:  # As in header_text.
        data = None
    expected = rows * columns * 2
    if not isinstance(data, bytes) or len(data) < expected:
        found = len(data) if isinstance(data, bytes) else 0
        raise SliceError(
            f"{name} has {found} bytes of PixelData, expected {expected} ({rows} x {columns} x 2): "
            "the file is cut short, copy it again or leave it out"
        )
    return np.frombuffer(data, dtype="<u2", count=rows * columns).reshape(rows, columns)


def _decoded_values(dataset: FileDataset, name: str, rows: int, columns: int) -> np.ndarray:
    try:
        values = dataset.pixel_array
    except Exception:  # pydicom's decoders raise anything, and without a plugin RuntimeError.
        raise SliceError(
            f"{name} holds compressed pixels that can't be decoded here: decompress it (gdcmconv --raw), or "
            "install pylibjpeg and its plugins"
        ) from None
    if values.shape != (rows, columns) or values.dtype.itemsize != 2:
        raise SliceError(
            f"{name} decodes to {values.dtype} {values.shape}, expected 16 bits ({rows}, {columns}): "
            "export it again"
        )
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))


def _used_bits(values: np.ndarray, *, bits_stored: int, signed: bool) -> np.ndarray:
    """Values with the bits above BitsStored dropped, sign extended where signed: int16 or uint16 [H, W].

    What stands in the unused bits is undefined. Source: DICOM PS3.5 8.1.1.
    """
    unused = 16 - bits_stored
    if signed:
        return (values << unused).view(np.int16) >> unused if unused else values.view(np.int16)
    return values & np.uint16(0xFFFF >> unused) if unused else values


def _integer(dataset: FileDataset, keyword: str, name: str, *, default: int | None = None) -> int:
    if default is not None and keyword not in dataset:
        return default
    return int(_number(dataset, keyword, name))


def _number(dataset: FileDataset, keyword: str, name: str) -> float:
    try:
        value = dataset.get(keyword)
        number = math.nan if value is None else float(value)
    except Exception:  # As in header_text.
        number = math.nan
    if not math.isfinite(number):
        raise SliceError(f"{name} has no usable {keyword} (one finite number expected): export it again")
    return number
