"""Bytes of a DICOM file to its header and pixel bytes."""

from dataclasses import dataclass
from io import BytesIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import data_element_generator, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.dicom import header
from ich_mlflow.dicom.elements import MAX_ELEMENTS, TooManyElements, counter
from ich_mlflow.dicom.part10 import MAX_SIDE, inflated, meta_end, part10, transfer_syntax
from ich_mlflow.errors import SliceError

_PIXEL_DATA = BaseTag(0x7FE00010)
OTHER_SYNTAX = "its transfer syntax contradicts its pixels, which are read as what they are"
_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED = 0xFFFFFFFF
#: Values longer than this are left where they are: of a CT image, the pixels.
_DEFER_BYTES = 4096


@dataclass(frozen=True)
class Parsed:
    """A file's elements, and of pixels that are not compressed their bytes (little endian, perhaps too few).

    syntax   the transfer syntax, where it is not in the data set's own meta header
    remarks  what of preamble, meta header and transfer syntax is amiss, and was read nevertheless
    is_cut   the file ends before its pixels do
    """

    dataset: Dataset
    pixels: memoryview | None
    remarks: tuple[str, ...] = ()
    is_cut: bool = False
    syntax: str = ""


def parse_plain(data: bytes) -> Parsed | None:
    """Read an undamaged, uncompressed little endian file, as nearly all of RSNA's are; None for another.

    pydicom's own element reader without the rest of dcmread, which takes five times as long, and without a
    copy of the pixels. What this can't make sense of is for parse_any to judge.
    """
    end = meta_end(data)
    syntax = None if end is None else transfer_syntax(data[:end])
    if syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return None
    if syntax == ExplicitVRLittleEndian and not data[end or 0 :][4:6].isalpha():
        return None  # it is written in another
    stream = BytesIO(data)
    stream.seek(end or 0)
    try:
        elements = {
            element.tag: element
            for element in data_element_generator(
                stream,
                syntax == ImplicitVRLittleEndian,
                True,
                stop_when=counter(data, stream, implicit=syntax == ImplicitVRLittleEndian, little=True),
                defer_size=_DEFER_BYTES,
            )
        }
    except Exception:  # Broken bytes make pydicom raise whatever its parser stumbled over.
        return None
    pixels = elements.get(_PIXEL_DATA)
    if not isinstance(pixels, RawDataElement) or pixels.length == _UNDEFINED:
        return None
    left = [one for one in elements.values() if isinstance(one, RawDataElement) and _is_left(one)]
    if left and left != [pixels]:
        return None  # another long value, which would have to be fetched by name later
    view = memoryview(data)[pixels.value_tell : pixels.value_tell + pixels.length]
    return Parsed(Dataset(elements), view, is_cut=len(view) < pixels.length, syntax=str(syntax))


def parse_any(data: bytes, name: str) -> Parsed:
    """Read any DICOM file, gzip'd or without preamble too. `name` stands in messages.

    Raises SliceError where the bytes are none.
    """
    try:
        whole, remarks = part10(data, name)
        dataset = _read(inflated(whole, name))
        is_cut = _is_cut(dataset)
        pixels, remark = _native_pixels(dataset)
        if not len(dataset) and meta_end(whole) is None:
            raise ValueError("nothing in it, and no sound meta header")
    except SliceError:
        raise
    except TooManyElements:
        raise SliceError(
            f"{name} has more than {MAX_ELEMENTS:,} elements before its pixels, as no CT image has: leave it out",
            reason="not_dicom",
        ) from None
    except Exception:  # As in parse_plain.
        raise SliceError(
            f"{name} is not a readable DICOM file ({len(data)} bytes), expected a DICOM Part 10 file "
            "('DICM' at byte 128): check that it was copied whole",
            reason="not_dicom",
        ) from None
    if not len(dataset):  # what pydicom gives where compressed pixels end too early
        raise SliceError(
            f"{name} ends before its data set does ({len(data)} bytes): it is cut short, copy it again or leave it out",
            reason="truncated",
            tag="PixelData",
        )
    return Parsed(dataset, pixels, (*remarks, remark) if remark else remarks, is_cut)


def _read(data: bytes) -> FileDataset:
    """As pydicom.dcmread. Raises TooManyElements."""
    end, stream = meta_end(data), BytesIO(data)
    syntax = transfer_syntax(data[: end or 0]) or ""
    implicit, big = syntax == ImplicitVRLittleEndian, syntax == ExplicitVRBigEndian
    return read_partial(stream, stop_when=counter(data, stream, implicit=implicit, little=not big))


def _is_left(element: RawDataElement) -> bool:
    return element.value is None and element.length > 0


def _is_cut(dataset: Dataset) -> bool:
    """Whether there are fewer bytes of pixels than their element says."""
    element = dataset.get_item(_PIXEL_DATA)
    if not isinstance(element, RawDataElement) or element.length == _UNDEFINED:
        return False
    return len(element.value or b"") < element.length


def _native_pixels(dataset: FileDataset) -> tuple[memoryview | None, str]:
    """The bytes of pixels that are not compressed, whatever the meta header says, and a remark where that differs."""
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None and not dataset.original_encoding[1]:
        raise ValueError("no transfer syntax, and it looks big endian: a guess would be needed")
    try:
        element = dataset["PixelData"] if _PIXEL_DATA in dataset else None
        value = None if element is None else element.value
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        element = value = None
    data = value if isinstance(value, bytes) else b""
    items = data.startswith(_ITEM) and element is not None and element.is_undefined_length
    remark = ""
    if syntax is None:
        remark, syntax = "no transfer syntax is named in its meta header", ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = (
            syntax  # whatever the codestream is, if it is one: pixels.py looks
        )
    if syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return (None if items else memoryview(data)), remark
    if syntax.is_encapsulated and not items and len(data) >= _num_bytes(dataset):
        return memoryview(data), OTHER_SYNTAX
    return None, ""


def _num_bytes(dataset: Dataset) -> int:
    """What an image of the header's size takes; more than anything where it has none."""
    sides = [header.numbers(dataset, keyword) for keyword in ("Rows", "Columns")]
    return int(2 * sides[0][0] * sides[1][0]) if all(map(len, sides)) else 2 * MAX_SIDE**2 + 1
