"""The label table of a hospital's own exams: a row a study, each fault refused with its line."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.sources.listing import Subtypes

CSV = "labels.csv"
STUDY, PATIENT = "study", "patient"
_NEEDED = (STUDY, *SUBTYPES)
_COLUMNS = f"{', '.join(_NEEDED)}, and if wanted {PATIENT} and {ANY}"

_Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Exam:
    """A row. line: where it stands, from 1. patient: '' where the table has no such column."""

    line: int
    subtypes: Subtypes
    patient: str


def read_exams(path: str, data: bytes) -> dict[str, Exam]:
    """The rows of the table, by study. Raises DataError with path and line where it can't be what is meant."""
    lines = _lines(path, data)
    if not lines:
        raise DataError(f"{path} is empty, expected the columns {_COLUMNS}: write a row a study")
    columns = lines.pop(0)[1]
    _check_columns(path, columns)
    exams: dict[str, Exam] = {}
    for line, cells in lines:
        where = f"{path}, line {line}"
        if len(cells) != len(columns):
            raise DataError(
                f"{where} has {len(cells)} columns, expected the {len(columns)} of the first line: put a text with "
                "commas in quotes"
            )
        row = dict(zip(columns, cells, strict=True))
        study = row[STUDY]
        if study in exams:
            raise DataError(
                f"{where} has study {study}, which stands on line {exams[study].line} too, expected a row a study: "
                "remove one of them"
            )
        exams[study] = _exam(where, line, row)
    if not exams:
        raise DataError(f"{path} has no rows, expected one a study below its first line: write them")
    return exams


def _lines(path: str, data: bytes) -> list[tuple[int, list[str]]]:
    """The lines that hold anything, with their numbers. It may begin with a byte-order mark, as Excel writes it."""
    try:
        reader = csv.reader(
            io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True, skipinitialspace=True
        )
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} can't be read as a table ({error}), expected text in UTF-8 with commas between the columns: save "
            "it again as CSV UTF-8"
        ) from None
    return [(line, row) for line, row in rows if any(row)]


def _check_columns(path: str, columns: Sequence[str]) -> None:
    missing = [column for column in _NEEDED if column not in columns]
    if missing:
        only_any = ANY in columns and not set(SUBTYPES) & set(columns)
        why = f" ({ANY} alone is not enough: models name the subtypes)" if only_any else ""
        raise DataError(
            f"{path} has no column {', '.join(missing)}, expected {_COLUMNS}, with commas between them: add it{why}"
        )
    twice = [column for column in (*_NEEDED, PATIENT, ANY) if columns.count(column) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice, expected it once: remove one of them")


def _exam(where: str, line: int, row: _Row) -> Exam:
    for column in (STUDY, PATIENT):
        if not row.get(column, "-"):
            raise DataError(f"{where} has no {column}, expected its name in every row: fill it in")
    first, second, third, fourth, fifth = (_flag(where, row, subtype) for subtype in SUBTYPES)
    subtypes = (first, second, third, fourth, fifth)
    if ANY in row:
        _check_any(where, _flag(where, row, ANY), subtypes)
    return Exam(line=line, subtypes=subtypes, patient=row.get(PATIENT, ""))


def _flag(where: str, row: _Row, column: str) -> int:
    value = row[column]
    if value not in ("0", "1"):
        said = repr(value) if value else "empty"
        raise DataError(
            f"{where}: {column} is {said}, expected 0 or 1: write what the report says, or leave the study out"
        )
    return int(value)


def _check_any(where: str, said: int, subtypes: Subtypes) -> None:
    if said and not any(subtypes):
        raise DataError(
            f"{where}: {ANY} is 1 and every subtype 0, so its bleed has no known subtype, expected at least one: fill "
            "it in, or leave the study out"
        )
    if not said and any(subtypes):
        found = ", ".join(name for name, value in zip(SUBTYPES, subtypes, strict=True) if value)
        raise DataError(
            f"{where}: {ANY} is 0 and {found} 1, expected {ANY} 1 or no subtype: mend one of them"
        )
