"""How many elements a data set has before its pixels, counted as they come.

A CT image has some hundred. A file of 96 KB can unpack to millions of empty ones, at which a parser sits for a minute.
"""

import struct
from collections.abc import Callable
from io import BytesIO

#: More than any CT image of any vendor has, sequences and their items included.
MAX_ELEMENTS = 10_000
_PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
#: Value representations with four bytes of length after two that are not used. Source: DICOM PS3.5 7.1.2.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
#: Of undefined length they hold fragments, not elements.
_FRAGMENTS = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV"}


class TooManyElements(ValueError):
    """There are more than MAX_ELEMENTS."""


def counter(
    data: bytes, stream: BytesIO, *, implicit: bool, little: bool
) -> Callable[[object, str | None, int], bool]:
    """For pydicom's `stop_when`: never stops, raises TooManyElements. `data`: what the stream reads.

    It is asked of the elements of the top level before their values are read. Of sequences of undefined length, whose
    items are read at once, it looks into the bytes.
    """
    count = 0

    def stop_when(tag: object, vr: str | None, length: int) -> bool:
        nonlocal count
        count += 1
        holds_items = length == _UNDEFINED and (vr is None or vr.encode() not in _FRAGMENTS)
        if holds_items and int(tag) != _PIXEL_DATA:  # type: ignore[call-overload]
            most = MAX_ELEMENTS - count
            count += count_within(
                data, stream.tell(), implicit=implicit or vr == "UN", little=little, most=most
            )
        if count > MAX_ELEMENTS:
            raise TooManyElements
        return False

    return stop_when


def count_within(data: bytes, place: int, *, implicit: bool, little: bool, most: int) -> int:
    """Elements and items of a sequence of undefined length whose first item stands at `place`; at most `most` + 1.

    Source: DICOM PS3.5 7.1, 7.5.
    """
    order = "<" if little else ">"
    tag_of, long_of, short_of = (
        struct.Struct(f"{order}HH"),
        struct.Struct(f"{order}I"),
        struct.Struct(f"{order}H"),
    )
    depth, count, end = 1, 0, len(data)
    while place + 8 <= end and count <= most:
        group, element = tag_of.unpack_from(data, place)
        tag = group << 16 | element
        if tag in (_ITEM, _ITEM_END):
            count += tag == _ITEM
            place += 8
            continue
        if tag == _SEQUENCE_END:
            depth -= 1
            place += 8
            if not depth:
                break
            continue
        count += 1
        vr = b"" if implicit else data[place + 4 : place + 6]
        if implicit:
            length = long_of.unpack_from(data, place + 4)[0]
            place += 8
        elif vr in _LONG:
            if place + 12 > end:
                break
            length = long_of.unpack_from(data, place + 8)[0]
            place += 12
        else:
            length = short_of.unpack_from(data, place + 6)[0]
            place += 8
        if length != _UNDEFINED:
            place += length
        elif vr in _FRAGMENTS or tag == _PIXEL_DATA:
            place = _after_fragments(data, place, tag_of, long_of)
        else:
            depth += 1
    return count


def _after_fragments(data: bytes, place: int, tag_of: struct.Struct, long_of: struct.Struct) -> int:
    while place + 8 <= len(data):
        group, element = tag_of.unpack_from(data, place)
        length = long_of.unpack_from(data, place + 4)[0]
        place += 8
        if group << 16 | element == _SEQUENCE_END or length == _UNDEFINED:
            break
        place += length
    return place
