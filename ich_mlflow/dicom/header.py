"""Values of a DICOM header, past pydicom's conversion where that is safe.

pydicom converts a value when it is asked for, at 11 microseconds each; the twenty that a slice needs are a third
of all the work on it. Plain ASCII text and plain numbers are taken from their bytes; whatever else stands there
goes through pydicom.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

ByteOrder = Literal["little", "big"]
_TEXT_VRS = ("UI", "LO", "CS", "SH")


def text(dataset: Dataset, keyword: str) -> str:
    """A tag's text, '' where it is missing, empty or unreadable."""
    try:
        raw, _ = _raw(dataset, keyword, _TEXT_VRS)
        if raw and raw.isascii() and b"\\" not in raw:
            return raw.decode("ascii").strip(" \0\t\r\n")
        value = dataset.get(keyword)
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        return ""
    return "" if value is None else str(value).strip()


def first_text(dataset: Dataset, keyword: str) -> str:
    """The first of a tag's values as text, '' where it is missing, empty or unreadable. A kernel may be `Hr60f\\3`."""
    try:
        value = dataset.get(keyword)
        several = hasattr(value, "__iter__") and not isinstance(value, str)
        return str(next(iter(value), "") if several else "" if value is None else value).strip()
    except Exception:  # As in text.
        return ""


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """A tag's finite numbers, () where it is missing, empty or unreadable, or one is not finite.

    A comma is a decimal point, and text of another value representation (UT, LO) is read as numbers' own is.
    """
    try:
        found = _raw_numbers(dataset, keyword)
        if found is None:
            found = _numbers_of(dataset.get(keyword))
    except Exception:  # As in text.
        return ()
    return found if all(map(math.isfinite, found)) else ()


def has_value(dataset: Dataset, keyword: str) -> bool:
    """Whether a tag is there and not empty, readable or not."""
    element = dataset.get_item(_tag(keyword))
    if element is None:
        return False
    value = element.value  # of a raw element, bytes
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def _raw_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    raw, byte_order = _raw(dataset, keyword, ("DS", "US"))
    if raw and _vr(keyword) == "DS":
        try:
            return tuple(float(one.strip(b" \0")) for one in raw.split(b"\\"))
        except ValueError:
            return _numbers_of(raw)
    return (int.from_bytes(raw, byte_order),) if len(raw) == 2 else None


def has_decimal_comma(dataset: Dataset, keyword: str) -> bool:
    """Whether a tag's numbers are written with commas."""
    element = dataset.get_item(_tag(keyword))
    value = None if element is None else element.value
    return b"," in value if isinstance(value, bytes) else isinstance(value, str) and "," in value


def has_other_vr(dataset: Dataset, keyword: str) -> bool:
    """Whether a tag stands under another value representation than DICOM's, in a file that names them."""
    element = dataset.get_item(_tag(keyword))
    return element is not None and element.VR not in (None, "UN", *_vr(keyword).split(" or "))


def _numbers_of(value: object) -> tuple[float, ...]:
    """Numbers of a value of any kind: text with backslashes between them, bytes of it, a number or several."""
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("ascii")
    if isinstance(value, str):
        return tuple(float(one.strip(" \0").replace(",", ".")) for one in value.split("\\"))
    several: Iterable[Any] = value if isinstance(value, Iterable) else (value,)
    return tuple(float(one.replace(",", ".") if isinstance(one, str) else one) for one in several)


def _raw(dataset: Dataset, keyword: str, vrs: tuple[str, ...]) -> tuple[bytes, ByteOrder]:
    """The value's bytes, if it is still as it was read and of one of these value representations; else b''."""
    expected = _vr(keyword)
    if expected in vrs:
        element = dataset.get_item(_tag(keyword))
        if isinstance(element, RawDataElement) and element.VR in (None, expected):
            return element.value or b"", "little" if element.is_little_endian else "big"
    return b"", "little"


@lru_cache(maxsize=256)
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of DICOM's")
    return Tag(tag)


@lru_cache(maxsize=256)
def _vr(keyword: str) -> str:
    return dictionary_VR(_tag(keyword))
