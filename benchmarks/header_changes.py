"""What is wrong with headers: changes of a DICOM file's elements, as scanners, anonymisers and copies make them.

An element is changed as bytes, so that files can say what no library writes: lengths that are not so, value
representations that don't fit or don't exist, elements twice or out of order, text that is no number.
"""

import random
import struct
from dataclasses import dataclass, replace
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from ich_mlflow.dicom.image_header import KEYWORDS

#: Elements that the survey, the choice and the glance at pixels go by; the others are changed more rarely.
_READ = (
    *KEYWORDS, "TransferSyntaxUID", "MediaStorageSOPClassUID", "FileMetaInformationGroupLength", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelPaddingValue", "PixelData",
)  # fmt: skip
_SHARE_OF_READ = 0.85
IMPLICIT = b"1.2.840.10008.1.2\0"
_SYNTAX = 0x00020010
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV", b"OV")
_VRS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW", b"PN", b"SH",
    b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT", b"XX", b"\0\0", b"  ",
)  # fmt: skip
_NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"1,5", b"-5,0", b"1e308", b"-1e308", b"1e400", b"1e-320", b"-0",
    b"0", b"1", b"-1", b"0.0", b"1_000", b"0x10", b"1.2.3", b"5 mm", b"+-5", b"1e", b"2147483648", b"-2147483649",
    b"9" * 25, b"9" * 400, b"9" * 5000, "٣".encode(), b"", b" ", b"\0", b"True", b"--", b".", b"1e5", b"99999999",
    b"0.001",
)  # fmt: skip
_TEXTS = (
    b"", b" ", b"\0\0", b"\\", b"\\\\\\", b"a\\b", b"\xff\xfe\xfd", b"\x1b$B\x1b(B",
    "Schädel ohne KM".encode("latin-1"), "Schädel ohne KM".encode(), b"=cmd|'/C calc'!A0", b"a\nb", b"a\r\nb\t",
    b"<b>&amp;", b"x" * 3000, b"'\"", b"1.2.3",
    b"LOCALIZER", b"DERIVED\\PRIMARY", b"ORIGINAL", b"CT", b"MR", b"HEAD", b"CHEST", b"KM", b"C+", b"ISO_IR 192",
    b"ISO_IR 999", b"\\ISO 2022 IR 87", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2",
    b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.5.1.4.1.1.2", b"1.2.840.10008.1.3.10",
    b"1.2.840.10008.5.1.4.1.1.2.1", b"HU", b"OD", b"MONOCHROME1", b"\xe2\x80\xae",
)  # fmt: skip
_LENGTHS = (0, 1, 2, 3, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """An element as it goes into a file. length: what the file says of it; None: as it is."""

    tag: int
    vr: bytes
    value: bytes
    length: int | None = None


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag


_READ_TAGS = frozenset(map(_tag, _READ))


def elements_of(data: bytes) -> list[Element]:
    """The elements of a sound file in Explicit VR Little Endian without sequences. Source: DICOM PS3.5 7.1."""
    found, at = [], 132
    while at < len(data):
        group, number = struct.unpack_from("<HH", data, at)
        vr = data[at + 4 : at + 6]
        size, start = (
            (struct.unpack_from("<L", data, at + 8)[0], at + 12)
            if vr in _LONG_VRS
            else (struct.unpack_from("<H", data, at + 6)[0], at + 8)
        )
        found.append(Element(tag=group << 16 | number, vr=vr, value=data[start : start + size]))
        at = start + size
    return found


def written(elements: list[Element], *, implicit: bool = False) -> bytes:
    """A file of these elements, right or wrong; implicit: without the value representations, and it says so."""
    parts = [b"\0" * 128, b"DICM"]
    for one in elements:
        value = IMPLICIT if implicit and one.tag == _SYNTAX else one.value
        size = len(value) if one.length is None else one.length
        parts.append(struct.pack("<HH", one.tag >> 16, one.tag & 0xFFFF))
        if implicit and one.tag >> 16 != 2:
            parts.append(struct.pack("<L", size & 0xFFFFFFFF))
        elif one.vr in _LONG_VRS:
            parts += [one.vr, b"\0\0", struct.pack("<L", size & 0xFFFFFFFF)]
        else:
            parts += [one.vr, struct.pack("<H", size & 0xFFFF)]
        parts.append(value)
    return b"".join(parts)


def _pick(elements: list[Element], rng: random.Random) -> int:
    """The place of an element to change."""
    read = [place for place, one in enumerate(elements) if one.tag in _READ_TAGS]
    if not elements:
        return 0
    return rng.choice(read) if read and rng.random() < _SHARE_OF_READ else rng.randrange(len(elements))


def _nonsense(vr: bytes, rng: random.Random) -> bytes:
    """A value that may fit the representation, or none at all."""
    if vr in (b"US", b"SS", b"OW", b"OB", b"UL") and rng.random() < 0.8:
        return rng.choice((b"\0\0", b"\1\0", b"\xff\xff", b"\0\x80", b"\1", b"\1\0\2\0", rng.randbytes(4)))
    is_number = vr in (b"DS", b"IS") if rng.random() < 0.8 else rng.random() < 0.5
    value = (
        rng.choice(_NUMBERS if is_number else _TEXTS)
        if rng.random() < 0.95
        else rng.randbytes(rng.randrange(64))
    )
    return value + b" " if len(value) % 2 and rng.random() < 0.9 else value


def _changed(elements: list[Element], place: int, **values: Any) -> list[Element]:
    return [*elements[:place], replace(elements[place], **values), *elements[place + 1 :]] if elements else []


def _value(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    return _changed(elements, place, value=_nonsense(elements[place].vr, rng)) if elements else []


def _one_of_several(elements: list[Element], rng: random.Random) -> list[Element]:
    """One of the numbers of a value, as a coordinate of a position."""
    several = [place for place, one in enumerate(elements) if b"\\" in one.value and one.vr in (b"DS", b"CS")]
    if not several:
        return elements
    place = rng.choice(several)
    parts = elements[place].value.split(b"\\")
    parts[rng.randrange(len(parts))] = _nonsense(b"DS", rng).strip()
    return _changed(elements, place, value=b"\\".join(parts))


def _scaled(elements: list[Element], rng: random.Random) -> list[Element]:
    """The numbers of a value, so many times as large."""
    numeric = [place for place, one in enumerate(elements) if one.vr in (b"DS", b"IS") and one.value.strip()]
    if not numeric:
        return elements
    place = rng.choice(numeric)
    factor = rng.choice((-1.0, 0.0, 10.0, 0.1, 1e-9, 1e9, 1e300, 1.0001))
    try:
        numbers = [float(part) * factor for part in elements[place].value.split(b"\\")]
    except ValueError:
        return elements
    return _changed(elements, place, value=b"\\".join(b"%.6g" % one for one in numbers))


def _representation(elements: list[Element], rng: random.Random) -> list[Element]:
    return _changed(elements, _pick(elements, rng), vr=rng.choice(_VRS))


def _length(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    if not elements:
        return []
    near = len(elements[place].value) + rng.choice((-8, -2, -1, 1, 2, 8, 100))
    return _changed(elements, place, length=max(0, near) if rng.random() < 0.5 else rng.choice(_LENGTHS))


def _missing(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    return [*elements[:place], *elements[place + 1 :]]


def _emptied(elements: list[Element], rng: random.Random) -> list[Element]:
    return _changed(elements, _pick(elements, rng), value=b"")


def _doubled(elements: list[Element], rng: random.Random) -> list[Element]:
    """Twice, side by side or the second at the end, alike or with another value."""
    if not elements:
        return []
    place = _pick(elements, rng)
    again = elements[place]
    if rng.random() < 0.7:
        again = replace(again, value=_nonsense(again.vr, rng))
    at = place + 1 if rng.random() < 0.7 else len(elements)
    return [*elements[:at], again, *elements[at:]]


def _multiplicity(elements: list[Element], rng: random.Random) -> list[Element]:
    """Too many values, or too few."""
    if not elements:
        return []
    place = _pick(elements, rng)
    parts = elements[place].value.rstrip(b" \0").split(b"\\")
    parts = parts * rng.choice((2, 3, 7, 500)) if rng.random() < 0.5 else parts[: rng.randrange(len(parts))]
    value = b"\\".join(parts)
    return _changed(elements, place, value=value + b" " * (len(value) % 2))


def _put_in(elements: list[Element], rng: random.Random) -> list[Element]:
    """An element that is read and was not there, or was."""
    keyword = rng.choice(_READ)
    tag, vr = _tag(keyword), dictionary_VR(keyword)[:2].encode()
    element = Element(tag=tag, vr=vr, value=_nonsense(vr, rng))
    at = sum(one.tag < tag for one in elements)
    return [*elements[:at], element, *elements[at:]]


def _swapped(elements: list[Element], rng: random.Random) -> list[Element]:
    """The value of another element."""
    other = elements[_pick(elements, rng)].value[:4096] if elements else b""
    return _changed(elements, _pick(elements, rng), value=other)


def _moved(elements: list[Element], rng: random.Random) -> list[Element]:
    place, to = (_pick(elements, rng) for _ in range(2))
    rest = [*elements[:place], *elements[place + 1 :]]
    return [*rest[:to], *elements[place : place + 1], *rest[to:]]


def _flipped(elements: list[Element], rng: random.Random) -> list[Element]:
    place = _pick(elements, rng)
    if not elements or not elements[place].value:
        return elements
    value = bytearray(elements[place].value)
    for _ in range(rng.randrange(1, 4)):
        value[rng.randrange(min(len(value), 4096))] = rng.randrange(256)
    return _changed(elements, place, value=bytes(value))


CHANGES = (
    _value, _value, _value, _one_of_several, _scaled, _representation, _length, _missing, _emptied, _doubled,
    _multiplicity, _put_in, _put_in, _swapped, _moved, _flipped,
)  # fmt: skip
