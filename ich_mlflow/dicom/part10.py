"""Bytes of a file to those of a DICOM Part 10 file: packed, without preamble or meta header, or with a wrong one.

Source: DICOM PS3.10 7.1 (preamble and meta header), PS3.5 7.1 (elements), A.5 (deflated).
"""

import zlib
from pathlib import Path
from typing import NamedTuple

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import VR

from ich_mlflow.errors import SliceError

#: Well above any CT matrix; a compressed file of a few bytes could otherwise ask for gigabytes.
MAX_SIDE = 4096
#: The header of nearly every CT image ends before this.
START_BYTES = 2**15
#: The largest matrix that is read, and a header.
_INFLATED_BYTES = MAX_SIDE * MAX_SIDE * 2 + 2**24
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()
#: The meta header's first element. A header that is not as long as it says, or longer than this, is no plain one.
_GROUP_LENGTH = b"\x02\0\0\0"
_META_BYTES = 4096
_TRANSFER_SYNTAX = b"\x02\0\x10\0UI"
_BEGIN = bytes(128) + b"DICM"
_GZIP = b"\x1f\x8b\x08"
_VRS = {one.value.encode() for one in VR if len(one.value) == 2}
#: Elements of group 8 that a data set begins with; a first value is not longer than this.
_FIRST_ELEMENTS, _FIRST_BYTES = 0x60, 1024

NO_PREAMBLE = "it has no DICOM preamble or meta header"
OTHER_ENCODING = "its transfer syntax is not the one that its elements are written in"


class Part10(NamedTuple):
    """data: the bytes of a Part 10 file, or of what is none. remarks: what had to be put right."""

    data: bytes
    remarks: tuple[str, ...] = ()


#: A file of CT is not larger: the largest matrix that is read takes half of it.
MAX_FILE_BYTES = 2**26


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises SliceError where there are more than MAX_FILE_BYTES, OSError where it can't be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise SliceError(
            f"the file is larger than {MAX_FILE_BYTES >> 20} MiB, expected one CT image: leave it out",
            reason="too_large",
        )
    return data


def is_part10(data: bytes) -> bool:
    """Whether there is a preamble."""
    return data[128:132] == _BEGIN[128:]


def part10(data: bytes, name: str = "the file", *, is_whole: bool = True) -> Part10:
    """The bytes with a preamble, and a meta header that names the encoding that the elements are in.

    Unpacked where they are gzip'd. Bytes that begin like no DICOM at all are given back as they are. is_whole: whether
    `data` is all of the file, not its beginning. Raises SliceError for a gzip'd file that is damaged, or too large.
    """
    if data.startswith(_GZIP):
        data = _gunzipped(data, name, is_whole=is_whole)
    if is_part10(data):
        return _as_encoded(data)
    body = data[4:] if data.startswith(_BEGIN[128:]) else data
    if body[:2] == b"\x02\0" and body[4:6] in _VRS:
        return _as_encoded(_BEGIN + body, (NO_PREAMBLE,))
    syntax = _encoding_of(body)
    if syntax is None or syntax == ExplicitVRBigEndian:  # of the latter a guess would be needed
        return Part10(data)
    return Part10(_BEGIN + _meta(syntax) + body, (NO_PREAMBLE,))


def meta_end(data: bytes) -> int | None:
    """Where the meta header ends; None where it is not one that says so.

    Its first element, 12 bytes, holds the length of the rest. Source: DICOM PS3.10 7.1.
    """
    end = 144 + int.from_bytes(data[140:144], "little")
    well_formed = data[128:136] == b"DICM" + _GROUP_LENGTH and end < min(_META_BYTES, len(data))
    return end if well_formed and data[end : end + 2] != _GROUP_LENGTH[:2] else None


def transfer_syntax(meta: bytes) -> str | None:
    """The transfer syntax that a meta header names; None where it names none."""
    place = _syntax_value(meta)
    return None if place is None else meta[slice(*place)].rstrip(b"\0 ").decode("ascii", "replace")


def inflated(data: bytes, name: str) -> bytes:
    """The bytes as they are, or of a deflated file (everything after its meta header) unpacked.

    A file of a few kilobytes can unpack to gigabytes, so there is a limit. Source: DICOM PS3.5 A.5.
    """
    if _DEFLATED not in data:
        return data
    end = meta_end(data)
    meta = data[:end]
    if end is not None and transfer_syntax(meta) not in (None, DeflatedExplicitVRLittleEndian):
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
        raise _too_large(name)
    return meta.replace(_DEFLATED, ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")) + body


def _gunzipped(data: bytes, name: str, *, is_whole: bool) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(data, _INFLATED_BYTES if is_whole else START_BYTES)
    except zlib.error:
        raise SliceError(
            f"{name} is gzip'd and can't be unpacked: copy it again", reason="not_dicom"
        ) from None
    if is_whole and unpacker.unconsumed_tail:
        raise _too_large(name)
    if is_whole and not unpacker.eof:
        raise SliceError(
            f"{name} is gzip'd and ends too early: it is cut short, copy it again or leave it out",
            reason="truncated",
            tag="PixelData",
        )
    return unpacked


def _too_large(name: str) -> SliceError:
    return SliceError(
        f"{name} unpacks to more than {_INFLATED_BYTES >> 20} MiB, expected one CT image: leave it out",
        reason="undecodable",
        tag="TransferSyntaxUID",
    )


def _as_encoded(data: bytes, remarks: tuple[str, ...] = ()) -> Part10:
    """With the transfer syntax that the first element after a sound meta header is written in.

    That is looked at only where an uncompressed one is named: compressed files differ in their pixels alone.
    """
    end = meta_end(data)
    meta = data[:end]
    place = None if end is None else _syntax_value(meta)
    if end is None or place is None:
        return Part10(data, remarks)
    named, found = transfer_syntax(meta), _encoding_of(data[end : end + 16])
    if named == DeflatedExplicitVRLittleEndian and found is None:
        return Part10(data, remarks)
    compressed = named not in (
        ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    )  # fmt: skip
    if found is None and not compressed and _is_deflated(data[end:]):
        found = DeflatedExplicitVRLittleEndian
    if found is None or found == named or (compressed and found != ExplicitVRBigEndian):
        return Part10(data, remarks)
    value = found.encode()
    value += b"\0" * (len(value) % 2)
    start, stop = place
    meta = meta[: start - 2] + len(value).to_bytes(2, "little") + value + meta[stop:]
    meta = meta[:140] + (len(meta) - 144).to_bytes(4, "little") + meta[144:]
    return Part10(meta + data[end:], (*remarks, OTHER_ENCODING))


def _encoding_of(body: bytes) -> str | None:
    """The uncompressed transfer syntax that a data set is written in, by its first element; None where it is none."""
    if len(body) < 8:
        return None
    for order, explicit in (("little", ExplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        group, element = (int.from_bytes(body[k : k + 2], order) for k in (0, 2))  # type: ignore[arg-type]
        if group != 8 or element > _FIRST_ELEMENTS:
            continue
        if body[4:6] in _VRS:
            return str(explicit)
        if order == "little" and int.from_bytes(body[4:8], "little") <= _FIRST_BYTES:
            return str(ImplicitVRLittleEndian)
    return None


def _is_deflated(body: bytes) -> bool:
    try:
        return _encoding_of(zlib.decompressobj(-zlib.MAX_WBITS).decompress(body[:4096], 16)) is not None
    except zlib.error:
        return False


def _syntax_value(meta: bytes) -> tuple[int, int] | None:
    """Where the value of the transfer syntax stands in a meta header, from and to."""
    place = meta.find(_TRANSFER_SYNTAX)
    if place < 0:
        return None
    start = place + len(_TRANSFER_SYNTAX) + 2
    return start, start + int.from_bytes(meta[start - 2 : start], "little")


def _meta(syntax: str) -> bytes:
    """A meta header that names the transfer syntax and nothing else."""
    value = syntax.encode()
    value += b"\0" * (len(value) % 2)
    element = _TRANSFER_SYNTAX + len(value).to_bytes(2, "little") + value
    return _GROUP_LENGTH + b"UL\x04\0" + len(element).to_bytes(4, "little") + element
