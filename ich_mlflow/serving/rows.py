"""Rows of a request to slices of the stored size, or to what is wrong with them."""

import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pybase64

from ich_mlflow.ct.hounsfield import MAX_HU, MIN_HU
from ich_mlflow.ct.plausibility import READ_WITH_CARE, content_warnings, geometry_warnings
from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts
from ich_mlflow.dicom.part10 import MAX_FILE_BYTES, MAX_SIDE
from ich_mlflow.dicom.slice import Slice, slice_from_bytes
from ich_mlflow.errors import SliceError
from ich_mlflow.models.slice_cnn.reader import in_context
from ich_mlflow.serving.refusal import Refusal

DICOM, PIXELS, SPACING, SERIES, POSITION = "dicom", "pixels", "spacing_mm", "series", "position_mm"
COLUMNS = (DICOM, PIXELS, SPACING, SERIES, POSITION)
#: The largest matrix that is read takes half of this.
MAX_DICOM_BYTES = MAX_FILE_BYTES
_MIN_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Row:
    """A slice to be scored.

    hu: int16 [256, 256]. series, study: '' where it is not known; position_mm: along the series, towards the head.
    pixel_mm2: area of each of its pixels, NaN where it is not known. facts, spacing_mm: of its header, for the monitor.
    """

    hu: np.ndarray
    series: str
    study: str
    position_mm: float
    warnings: tuple[str, ...]
    pixel_mm2: float = math.nan
    facts: HeaderFacts = NO_FACTS
    spacing_mm: float = math.nan


@dataclass(frozen=True)
class Fault:
    """Why a row can't be scored, in one line that names it and repeats none of its values."""

    line: str


def unpacked(frame: pd.DataFrame) -> pd.DataFrame:
    """A row each of what `predict({"dicom": [...]})` was given: MLflow makes one row of it, with lists in its cells.

    `pixels` may be a list of slices too. What stands there once is said of every row. Any other frame is returned as it
    is. Raises Refusal where two lists differ in length.
    """
    cells = frame.iloc[0].to_dict() if len(frame) == 1 else {}
    lists = {name: list(cells[name]) for name in COLUMNS if _is_list_of_rows(name, cells.get(name))}
    if not lists:
        return frame
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise Refusal(f"the lists differ in length ({said}), expected one value a slice in each")
    (length,) = set(lengths.values())
    return pd.DataFrame({name: lists.get(name, [value] * length) for name, value in cells.items()})


def _is_list_of_rows(name: str, value: Any) -> bool:
    """Whether a cell lists the column's values: a slice's spacing is a list itself, its pixels two lists deep."""
    deep = {PIXELS: 2, SPACING: 1}.get(name, 0)
    for _ in range(deep):
        if not isinstance(value, list | tuple | np.ndarray) or not len(value):
            return False
        value = value[0]
    return isinstance(value, list | tuple | np.ndarray)


def read_rows(frame: pd.DataFrame) -> list[Row | Fault]:
    """Each row of a request in its order. Columns that the frame lacks are as if empty."""
    columns = {name: frame[name].tolist() if name in frame.columns else None for name in COLUMNS}
    return [
        _read(
            f"row {number}", {name: column[number] for name, column in columns.items() if column is not None}
        )
        for number in range(len(frame))
    ]


def with_context(rows: Sequence[Row], context: int) -> np.ndarray:
    """HU int16 [n, 256, 256, 1 + 2 * context]: each row amid the neighbours that its series has among the rows.

    In the order of positions; where the series ends, its last slice is repeated, as in training. A row without a series
    is alone.
    """
    wanted = np.tile(np.arange(len(rows))[:, None], (1, 1 + 2 * context))
    if context:
        for members in series_of(rows):
            wanted[members] = in_context(members, context)
    return np.stack([np.stack([rows[one].hu for one in line], axis=-1) for line in wanted])


def series_of(rows: Sequence[Row]) -> list[np.ndarray]:
    """Numbers of the rows of each series, in the order of their positions."""
    keys = [row.series or f"\0{number}" for number, row in enumerate(rows)]
    positions = np.array([row.position_mm for row in rows])
    found: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return [np.array(members)[np.argsort(positions[members], kind="stable")] for members in found.values()]


def expect_series(rows: Sequence[Row | Fault]) -> None:
    """Raise Refusal where several rows are to be put together as exams, and nothing says which belong to one."""
    unknown = [
        number for number, row in enumerate(rows) if isinstance(row, Row) and not (row.series or row.study)
    ]
    if unknown and len(rows) > 1:
        raise Refusal(
            f"row {unknown[0]}: has no series, which aggregate=exam puts slices together by; expected a column series, "
            "the same text for all slices of a series"
        )


def _read(name: str, values: dict[str, Any]) -> Row | Fault:
    given = {column: value for column, value in values.items() if _is_given(value)}
    if (DICOM in given) == (PIXELS in given):
        what = "both dicom and pixels" if DICOM in given else "neither dicom nor pixels"
        return Fault(f"{name}: has {what}, expected one of them")
    try:
        return _of_dicom(name, given[DICOM]) if DICOM in given else _of_pixels(given)
    except SliceError as error:
        return Fault(str(error))
    except _Wrong as wrong:
        return Fault(f"{name}: {wrong}")


class _Wrong(Exception):
    """What is wrong with a value, without the row."""


def _of_dicom(name: str, text: Any) -> Row:
    if not isinstance(text, str):
        raise _Wrong("dicom is not text, expected a DICOM file in base64")
    # A twentieth more than base64 takes, for line breaks.
    if len(text) > MAX_DICOM_BYTES * 7 // 5:
        raise _Wrong(f"dicom is longer than {MAX_DICOM_BYTES >> 20} MiB, expected one CT image")
    data = _decoded(text)
    if data is None:  # `base64` ends what it writes with a line break, and breaks it every 76 characters
        data = _decoded("".join(text.split()))
    if data is None:
        raise _Wrong("dicom is not base64, expected a DICOM file in base64")
    return row_of_dicom(data, name)


def _decoded(text: str) -> bytes | None:
    """The bytes of base64; None where it is none."""
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def row_of_dicom(data: bytes, name: str) -> Row:
    """The slice in a DICOM file's bytes. `name` stands in messages. Raises SliceError where it can't be used."""
    return row_of_slice(slice_from_bytes(data, name))


def row_of_slice(ct: Slice) -> Row:
    """The row of a slice that was read."""
    stored = to_stored_size(ct.hu)
    warnings = [
        *(["a localiser, not an axial slice"] if ct.is_localizer else []),
        *(["with contrast agent by its header, which looks like blood"] if ct.has_contrast else []),
        *(f"{READ_WITH_CARE}: {remark}" for remark in ct.remarks),
        *geometry_warnings(ct.hu.shape, ct.pixel_spacing_mm, ct.tilt_degrees),
        *content_warnings(ct.hu, stored),
    ]
    return Row(
        hu=stored,
        series=ct.series_uid,
        study=ct.study_uid or ct.series_uid,
        position_mm=ct.position_mm,
        warnings=tuple(warnings),
        pixel_mm2=_pixel_mm2(ct.hu.shape, ct.pixel_spacing_mm),
        facts=ct.facts,
        spacing_mm=ct.pixel_spacing_mm[0] if ct.pixel_spacing_mm else math.nan,
    )


def _pixel_mm2(shape: tuple[int, ...], spacing_mm: tuple[float, float] | None) -> float:
    """Area of a pixel of the stored size: a slice is padded to a square, of which the longer side is resampled."""
    if spacing_mm is None:
        return math.nan
    return spacing_mm[0] * spacing_mm[1] * (max(shape) / STORED_SIZE) ** 2


def _of_pixels(given: dict[str, Any]) -> Row:
    hu = _hu(given[PIXELS])
    spacing = _spacing(given[SPACING]) if SPACING in given else None
    series = given.get(SERIES, "")
    if not isinstance(series, str):
        raise _Wrong("series is not text")
    position = _number(given.get(POSITION, 0.0), POSITION)
    stored = to_stored_size(hu)
    return Row(
        hu=stored,
        series=series,
        study=series,
        position_mm=position,
        warnings=(*geometry_warnings(hu.shape, spacing), *content_warnings(hu, stored)),
        pixel_mm2=_pixel_mm2(hu.shape, spacing),
        spacing_mm=spacing[0] if spacing else math.nan,
    )


def _hu(value: Any) -> np.ndarray:
    """HU int16 [H, W], at least -1024."""
    try:
        values = np.array(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        values = None
    # Text and true are no numbers, though NumPy takes them for such.
    if values is None or values.ndim != 2 or values.dtype.kind not in "iuf" or _holds_booleans(value):
        raise _Wrong("pixels is not a list of equally long lists of numbers")
    if not _MIN_SIDE <= min(values.shape) <= max(values.shape) <= MAX_SIDE:
        raise _Wrong(f"pixels has a side that is not of {_MIN_SIDE} to {MAX_SIDE} pixels")
    if not np.isfinite(values).all():
        raise _Wrong("pixels holds NaN or infinity, expected Hounsfield units")
    if np.abs(values).max() > MAX_HU:
        raise _Wrong(f"pixels holds numbers beyond {MAX_HU}, expected Hounsfield units")
    return np.clip(np.rint(values), MIN_HU, MAX_HU).astype(np.int16)


def _holds_booleans(value: Any) -> bool:
    """Whether one of a list's rows has true or false among its numbers."""
    return isinstance(value, list | tuple) and any(bool in set(map(type, row)) for row in value)


def _spacing(value: Any) -> tuple[float, float]:
    try:
        if isinstance(value, str | dict):
            raise TypeError("no list")
        between_rows, between_columns = (_number(one, SPACING) for one in value)
    except (ValueError, TypeError, _Wrong):
        raise _Wrong("spacing_mm is not two numbers: between rows, between columns") from None
    if not (0 < between_rows < math.inf and 0 < between_columns < math.inf):
        raise _Wrong("spacing_mm is not two numbers above 0")
    return between_rows, between_columns


def _number(value: Any, column: str) -> float:
    try:
        number = float(value) if _is_number(value) else math.nan
    except OverflowError:  # an integer of hundreds of digits
        number = math.nan
    if not math.isfinite(number):
        raise _Wrong(f"{column} is not a number")
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_given(value: Any) -> bool:
    """Whether a cell is filled: rows of other columns leave null, NaN or '' in it."""
    if isinstance(value, float):
        return not math.isnan(value)
    return value is not None and value is not pd.NA and not (isinstance(value, str) and value == "")
