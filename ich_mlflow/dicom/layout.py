"""What a CT image's header says of its pixels: their layout, and the way from stored values to Hounsfield units."""

from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from ich_mlflow.dicom import header
from ich_mlflow.dicom.part10 import MAX_SIDE
from ich_mlflow.errors import SliceError

#: RescaleType's words for Hounsfield units, by their letters; US is unspecified. Source: DICOM PS3.3 C.11.1.1.2.
_HOUNSFIELD = ("", "HU", "US")
_HOUNSFIELD_TOO = ("HUS", "HOUNSFIELD", "HOUNSFIELDS", "HOUNSFIELDUNIT", "HOUNSFIELDUNITS", "UNSPECIFIED")
KEYWORDS = [
    "PhotometricInterpretation", "NumberOfFrames", "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "RescaleType",
]  # fmt: skip
_DECODED = (
    *JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless,
    DeflatedExplicitVRLittleEndian,
)  # fmt: skip
#: Numbers of the header that a CT image is read and placed by.
_NUMBERS = (
    "RescaleIntercept", "RescaleSlope", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
)  # fmt: skip


class Layout(NamedTuple):
    """Rows and Columns, BitsStored, whether values are signed, and HighBit, which may contradict BitsStored."""

    shape: tuple[int, int]
    bits_stored: int
    signed: bool
    high_bit: int


class Rescale(NamedTuple):
    """HU = stored value * slope + intercept."""

    slope: float
    intercept: float


def layout_of(dataset: Dataset, name: str) -> Layout:
    """The layout of one frame of 16-bit MONOCHROME2. `name` stands in messages. Raises SliceError for another."""

    def refuse(keyword: str, text: str, *, reason: str = "unsupported_pixels") -> None:
        raise SliceError(f"{name} has {text}", reason=reason, tag=keyword)

    if header.text(dataset, "PhotometricInterpretation") != "MONOCHROME2":
        keyword = "PhotometricInterpretation"
        refuse(keyword, f"a {keyword} other than MONOCHROME2: pass original CT")
    frames = integer(dataset, "NumberOfFrames", name, default=1)
    if frames != 1:
        text = f"NumberOfFrames {frames}, expected 1: convert it to single CT images (dcm4che's emf2sf does)"
        refuse("NumberOfFrames", text, reason="multi_frame")
    samples = integer(dataset, "SamplesPerPixel", name)
    if samples != 1:
        refuse("SamplesPerPixel", f"SamplesPerPixel {samples}, expected 1: pass original CT")
    rows, columns = (integer(dataset, keyword, name) for keyword in ("Rows", "Columns"))
    for keyword, side in (("Rows", rows), ("Columns", columns)):
        if not 1 <= side <= MAX_SIDE:
            refuse(keyword, f"{keyword} {side}, expected 1 to {MAX_SIDE}: pass original CT")
    allocated = integer(dataset, "BitsAllocated", name)
    stored = integer(dataset, "BitsStored", name)
    high_bit = integer(dataset, "HighBit", name, default=stored - 1)
    # A HighBit that contradicts BitsStored is for the pixels to judge (dicom/reading.py).
    if allocated != 16 or not 1 <= stored <= 16 or not 0 <= high_bit <= 15:
        keyword = "BitsAllocated" if allocated != 16 else "BitsStored"
        refuse(
            keyword,
            f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high_bit}, "
            "expected 16, 1 to 16, BitsStored - 1: pass original CT",
        )
    representation = integer(dataset, "PixelRepresentation", name)
    if representation not in (0, 1):
        keyword = "PixelRepresentation"
        refuse(keyword, f"{keyword} {representation}, expected 0 or 1: export it again")
    return Layout((rows, columns), stored, representation == 1, high_bit)


def rescale_of(dataset: Dataset, name: str) -> Rescale:
    """The way to Hounsfield units. Raises SliceError where it is missing, makes no sense, or leads elsewhere."""
    slope, intercept = (
        _number(dataset, keyword, name, reason="no_rescale")
        for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    if slope == 0:
        raise SliceError(
            f"{name} has RescaleSlope 0, expected another number (mostly 1): export it again",
            reason="no_rescale",
            tag="RescaleSlope",
        )
    if header.has_decimal_comma(dataset, "RescaleIntercept") and not intercept.is_integer():
        raise SliceError(
            f"{name} has a RescaleIntercept with a comma that may stand for thousands or for a decimal point, expected "
            "a point: export it again",
            reason="no_rescale",
            tag="RescaleIntercept",
        )
    if _letters(dataset) not in (*_HOUNSFIELD, *_HOUNSFIELD_TOO):
        raise SliceError(
            f"{name} has a RescaleType other than HU: pass images in Hounsfield units",
            reason="not_hounsfield",
            tag="RescaleType",
        )
    return Rescale(slope, intercept)


def says_hounsfield(dataset: Dataset) -> bool:
    """Whether RescaleType names Hounsfield units, in whatever spelling."""
    return _letters(dataset) in ("HU", *_HOUNSFIELD_TOO[:-1])


def why_unreadable(dataset: Dataset) -> str:
    """Why the pixels can't be read, by header and transfer syntax alone; '' where nothing says so.

    For choosing among series: whether they can, reading them says.
    """
    try:
        layout_of(dataset, "the file")
        rescale_of(dataset, "the file")
    except SliceError as error:
        return str(error)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is not None and syntax.is_encapsulated and syntax not in _DECODED:
        return "the file is compressed in a way that is not decoded here: decompress it (gdcmconv --raw)"
    return ""


def remarks_on_header(dataset: Dataset) -> tuple[str, ...]:
    """What the header of an image that can be read spells otherwise than DICOM does."""
    found = []
    if header.text(dataset, "RescaleType") not in _HOUNSFIELD:
        found.append("its RescaleType is another word for HU")
    commas = [keyword for keyword in _NUMBERS if header.has_decimal_comma(dataset, keyword)]
    if commas:
        found.append(f"decimal commas are read as points ({', '.join(commas)})")
    others = [keyword for keyword in _NUMBERS if header.has_other_vr(dataset, keyword)]
    if others:
        found.append(f"value representations that are not DICOM's ({', '.join(others)})")
    return tuple(found)


def integer(dataset: Dataset, keyword: str, name: str, *, default: int | None = None) -> int:
    """A whole number of the header; the default where it is missing or empty. Raises SliceError where it is none."""
    if default is not None and not header.has_value(dataset, keyword):
        return default
    return int(_number(dataset, keyword, name, reason="unsupported_pixels"))


def _letters(dataset: Dataset) -> str:
    return "".join(one for one in header.text(dataset, "RescaleType").upper() if one.isalpha())


def _number(dataset: Dataset, keyword: str, name: str, *, reason: str) -> float:
    found = header.numbers(dataset, keyword)
    if len(found) != 1:
        raise SliceError(
            f"{name} has no usable {keyword} (one finite number expected): export it again",
            reason=reason,
            tag=keyword,
        )
    return found[0]
