"""Bytes of a DICOM file to its header and pixel bytes."""

import zlib
from dataclasses import dataclass
from io import BytesIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ich_mlflow.errors import SliceError

#: Well above any CT matrix; a compressed file of a few bytes could otherwise ask for gigabytes.
MAX_SIDE = 4096
#: The largest matrix that is read, and a header.
_INFLATED_BYTES = MAX_SIDE * MAX_SIDE * 2 + 2**24
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
#: The meta header's first element. A header that is not as long as it says, or longer than this, is no plain one.
_GROUP_LENGTH = b"\x02\0\0\0"
_META_BYTES = 4096
_PIXEL_DATA = BaseTag(0x7FE00010)
_TRANSFER_SYNTAX = b"\x02\0\x10\0UI"
#: Values longer than this are left where they are: of a CT image, the pixels.
_DEFER_BYTES = 4096


@dataclass(frozen=True)
class Parsed:
    """A file's elements, and of pixels that are not compressed their bytes (little endian, perhaps too few)."""

    dataset: Dataset
    pixels: memoryview | None


def parse_plain(data: bytes) -> Parsed | None:
    """Read an undamaged, uncompressed little endian file, as nearly all of RSNA's are; None for another.

    pydicom's own element reader without the rest of dcmread, which takes five times as long, and without a
    copy of the pixels. What this can't make sense of is for parse_any to judge.
    """
    end = _meta_end(data)
    syntax = None if end is None else _transfer_syntax(data[:end])
    if syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return None
    stream = BytesIO(data)
    stream.seek(end or 0)
    try:
        elements = {
            element.tag: element
            for element in data_element_generator(
                stream, syntax == ImplicitVRLittleEndian, True, defer_size=_DEFER_BYTES
            )
        }
    except Exception:  # Broken bytes make pydicom raise whatever its parser stumbled over.
        return None
    pixels = elements.get(_PIXEL_DATA)
    if not isinstance(pixels, RawDataElement) or pixels.length == 0xFFFFFFFF:
        return None
    left = [one for one in elements.values() if isinstance(one, RawDataElement) and _is_left(one)]
    if left and left != [pixels]:
        return None  # another long value, which would have to be fetched by name later
    view = memoryview(data)[pixels.value_tell : pixels.value_tell + pixels.length]
    return Parsed(Dataset(elements), view)


def parse_any(data: bytes, name: str) -> Parsed:
    """Read any DICOM file. `name` stands in messages. Raises SliceError where the bytes are none."""
    try:
        dataset = pydicom.dcmread(BytesIO(_inflated(data, name)))
        pixels = _native_pixels(dataset)
        if not len(dataset) and _meta_end(data) is None:
            raise ValueError("nothing in it, and no sound meta header")
    except SliceError:
        raise
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
    return Parsed(dataset, pixels)


def _is_left(element: RawDataElement) -> bool:
    return element.value is None and element.length > 0


def _native_pixels(dataset: FileDataset) -> memoryview | None:
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None and not dataset.original_encoding[1]:
        raise ValueError("no transfer syntax, and it looks big endian: a guess would be needed")
    if syntax not in (None, ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        return None
    try:
        value = dataset.get("PixelData")
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        value = None
    return memoryview(value if isinstance(value, bytes) else b"")


def _meta_end(data: bytes) -> int | None:
    """Where the meta header ends; None where it is not one that says so.

    Its first element, 12 bytes, holds the length of the rest. Source: DICOM PS3.10 7.1.
    """
    end = 144 + int.from_bytes(data[140:144], "little")
    well_formed = data[128:136] == b"DICM" + _GROUP_LENGTH and end < min(_META_BYTES, len(data))
    return end if well_formed and data[end : end + 2] != _GROUP_LENGTH[:2] else None


def _transfer_syntax(meta: bytes) -> str | None:
    place = meta.find(_TRANSFER_SYNTAX)
    if place < 0:
        return None
    start = place + len(_TRANSFER_SYNTAX) + 2
    length = int.from_bytes(meta[start - 2 : start], "little")
    return meta[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")


def _inflated(data: bytes, name: str) -> bytes:
    """The bytes as they are, or of a deflated file (everything after its meta header) unpacked.

    A file of a few kilobytes can unpack to gigabytes, so there is a limit. Source: DICOM PS3.5 A.5.
    """
    if _DEFLATED not in data:
        return data
    end = _meta_end(data)
    meta = data[:end]
    if end is not None and _transfer_syntax(meta) not in (None, DeflatedExplicitVRLittleEndian):
        return data  # it is only mentioned
    if end is None or _DEFLATED not in meta:
        raise SliceError(
            f"{name} names the deflated transfer syntax outside a sound meta header: export it again",
            reason="not_dicom",
            tag="FileMetaInformationGroupLength",
        )
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    body = unpacker.decompress(data[end:], _INFLATED_BYTES)
    if unpacker.unconsumed_tail:
        raise SliceError(
            f"{name} unpacks to more than {_INFLATED_BYTES >> 20} MiB, expected one CT image: leave it out",
            reason="undecodable",
            tag="TransferSyntaxUID",
        )
    return meta.replace(_DEFLATED, ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")) + body
