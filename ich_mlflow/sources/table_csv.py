"""A table as hospitals save it: which encoding, which delimiter, and on which line each row stands."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import NoReturn

from ich_mlflow.errors import DataError

#: What may stand between columns, in words. Excel writes semicolons where the comma is the decimal mark.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
#: How a workbook begins: zip (.xlsx, .ods) and the compound file of before (.xls).
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: Faults that a message tells; of more their number stands at its end.
_TOLD = 3
#: Excel breaks long names of columns.
_BREAK = re.compile(r"\s*[\r\n]+\s*")
#: Lines that tell the delimiter.
_TRIED = 20
_SAVE = "save it again as CSV UTF-8"


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of text. rows: (line, cells), lines counted from 1; as many cells a row as there are columns."""

    path: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_text_table(path: str, data: bytes) -> TextTable:
    """The table in a file's bytes, cells without blanks around them or breaks within, empty lines left out.

    It is UTF-8, or UTF-16 with its mark, and has commas, semicolons or tabs between its columns. Raises DataError,
    which names path and line, where it is neither, is empty, or has rows of another length than the first line.
    """
    text = _decode(path, data)
    delimiter = _delimiter(text)
    lines = _lines(path, text, delimiter)
    if not lines:
        raise DataError(
            f"{path} is empty, expected a line with the columns' names and rows below: write them"
        )
    columns, rows = lines[0][1], lines[1:]
    unequal = [
        f"line {line} has {len(cells)} columns, expected the {len(columns)} of the first line: put a text with "
        f"{DELIMITERS[delimiter]} in quotes"
        for line, cells in rows
        if len(cells) != len(columns)
    ]
    if unequal:
        refuse(path, unequal)
    return TextTable(path=path, columns=columns, rows=tuple(rows))


def refuse(path: str, faults: Sequence[str]) -> NoReturn:
    """Raise one DataError for the faults of a table, each of which begins with its line: some, and how many more."""
    more = f"; and {len(faults) - _TOLD:,} faults more" if len(faults) > _TOLD else ""
    raise DataError(f"{path}, {'; '.join(faults[:_TOLD])}{more}")


def _decode(path: str, data: bytes) -> str:
    if data.startswith(_WORKBOOKS):
        raise DataError(f"{path} can't be read as a table (it is a workbook), expected text: {_SAVE}")
    try:
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line} can't be read ({error.reason} at byte {error.start}), expected text in UTF-8: {_SAVE}"
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path} can't be read as a table (it has zero bytes), expected text in UTF-8: {_SAVE}"
        )
    return text


def _lines(path: str, text: str, delimiter: str) -> list[tuple[int, tuple[str, ...]]]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        # A cell in quotes may run over several lines: the row is said to stand on the last of them.
        rows = [(reader.line_num, tuple(_BREAK.sub(" ", cell.strip()) for cell in row)) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num} can't be read as a row ({error}), expected quotes around whole cells: "
            "mend them, or save the table again"
        ) from None
    return [(line, row) for line, row in rows if any(row)]


def _delimiter(text: str) -> str:
    """What cuts the first lines alike and into most columns; the comma where nothing cuts them."""
    lines = list(islice((line for line in StringIO(text) if line.strip()), _TRIED))

    def fit(delimiter: str) -> tuple[bool, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        except csv.Error:  # reading it will say so
            widths = []
        widths = widths or [0]
        return 1 < min(widths) == max(widths), widths[0]

    return max(DELIMITERS, key=fit)
