"""The label table of a hospital's own data: a row a slice or an exam, and what can't be meant told with its line."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.sources.base import NO_FILE, LabelLevel
from ich_mlflow.sources.listing import Labels, Listing, Subtypes
from ich_mlflow.sources.table_columns import FILE, PATIENT, STUDY, find_columns
from ich_mlflow.sources.table_csv import read_text_table, refuse

#: How 0 and 1 are written, in lower case; a table that was numbers to its program has 1.0.
_FLAGS = {
    **dict.fromkeys(("0", "0.0", "false", "no", "f", "n"), 0),
    **dict.fromkeys(("1", "1.0", "true", "yes", "t", "y"), 1),
}
_EXPECTED = "expected 0 or 1 (false or true, no or yes)"
#: Why a row that can be read can't be used: reason on the quarantine list, and what is wrong and how to fix it.
_Why = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A row. line: where it stands, from 1. patient, any_bleed: '' and None where the table has no such column."""

    line: int
    subtypes: Subtypes
    patient: str
    any_bleed: int | None

    def differs(self, other: "LabelRow") -> bool:
        """Whether the other row says something else of the same name."""
        mine, its = ((one.subtypes, one.patient, one.any_bleed) for one in (self, other))
        return mine != its


@dataclass(kw_only=True)
class LabelTable:
    """A table, read.

    path      for messages; name: its file's
    level     slice: names are of files, study: of studies
    rows      the first row of each name
    rejected  why rows can't be used, by name
    repeated  rows that say the same once more
    unused    names of its columns that nothing is taken from
    """

    path: str
    level: LabelLevel
    rows: dict[str, LabelRow] = field(default_factory=dict)
    rejected: dict[str, _Why] = field(default_factory=dict)
    repeated: int = 0
    num_rows: int = 0
    unused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its file."""
        return posixpath.basename(self.path.replace("\\", "/"))

    def labels(self) -> Labels:
        """What listing.match takes."""
        return Labels(
            subtypes={name: row.subtypes for name, row in self.rows.items() if name not in self.rejected},
            rejected=self.rejected,
            counts={"rows": self.num_rows, "repeated_rows": self.repeated},
        )

    def with_lines(self, listing: Listing) -> Listing:
        """The listing, which match made, with the line of each row that has no file."""
        said = (
            "is not there, expected a file with that path: mend it, or leave the row out"
            if self.level == "slice"
            else "is no folder and no StudyInstanceUID of the files: mend it, or leave the row out"
        )
        rejected = tuple(
            replace(one, detail=f"line {self.rows[one.file].line} of {self.name}: {one.file} {said}")
            if one.reason == NO_FILE
            else one
            for one in listing.rejected
        )
        return replace(listing, rejected=rejected)

    def add(self, name: str, row: LabelRow) -> None:
        """Take a row. What contradicts itself or the row before it of that name is rejected."""
        before = self.rows.setdefault(name, row)
        self.num_rows += 1
        if before is not row and not before.differs(row):
            self.repeated += 1
        elif before is not row:
            detail = (
                f"line {before.line} and line {row.line} of {self.name} label {name} differently: remove one"
            )
            self.rejected[name] = ("contradicting_rows", detail)
        elif why := _contradiction(row):
            self.rejected[name] = ("any_contradicts", f"line {row.line} of {self.name}: {why}")


def read_label_table(path: str, data: bytes, columns: Mapping[str, str], *, root: str) -> LabelTable:
    """The rows of the table. columns: as parse_columns has them. root: the folder that its paths start from.

    Raises DataError, which names path and line, where it is no table, lacks a column, holds cells that can't be read,
    or has no row that can be used.
    """
    text = read_text_table(path, data)
    places = find_columns(path, text.columns, columns)
    if not text.rows:
        raise DataError(
            f"{path} has no rows, expected some below the line with the columns' names: write them"
        )
    key = FILE if FILE in places else STUDY
    unused = tuple(
        name for place, name in enumerate(text.columns) if name.strip() and place not in places.values()
    )
    table = LabelTable(path=path, level="slice" if key == FILE else "study", unused=unused)
    faults: list[str] = []
    for line, cells in text.rows:
        row = {name: cells[place] for name, place in places.items()}
        if fault := _fault(row, key, text.columns, places):
            faults.append(f"line {line}{fault}")
        elif not faults:
            table.add(plain_path(row[key], root), _row(line, row))
    if faults:
        refuse(path, faults)
    if len(table.rejected) == len(table.rows):
        first = next(iter(table.rejected.values()))[1]
        raise DataError(f"{path} has {len(table.rows):,} rows and none can be used; the first: {first}")
    return table


def plain_path(text: str, root: str) -> str:
    """A path as it is written in a table, with '/' and from `root` where it lies below. A UID stays what it is."""
    path = posixpath.normpath(text.replace("\\", "/"))
    base = root.replace("\\", "/").rstrip("/") + "/"
    return path.removeprefix(base)


def _fault(row: Mapping[str, str], key: str, columns: tuple[str, ...], places: Mapping[str, int]) -> str:
    """What of a row can't be read, for after its line's number; '' where all can."""
    for name in (key, PATIENT):
        if not row.get(name, "-"):
            return f" has no {columns[places[name]]}, expected its name in every row: fill it in"
    for name in (*SUBTYPES, ANY):
        value = row.get(name, "0")
        if value.casefold() not in _FLAGS:
            said = repr(value) if value else "empty"
            leave = "the file" if key == FILE else "the study"
            return (
                f": {columns[places[name]]} is {said}, {_EXPECTED}: write what is known, or leave {leave} out"
            )
    return ""


def _row(line: int, row: Mapping[str, str]) -> LabelRow:
    first, second, third, fourth, fifth = (_FLAGS[row[name].casefold()] for name in SUBTYPES)
    return LabelRow(
        line=line,
        subtypes=(first, second, third, fourth, fifth),
        patient=row.get(PATIENT, ""),
        any_bleed=_FLAGS[row[ANY].casefold()] if ANY in row else None,
    )


def _contradiction(row: LabelRow) -> str:
    if row.any_bleed is None or bool(row.any_bleed) == any(row.subtypes):
        return ""
    if row.any_bleed:
        return (
            f"{ANY} is 1 and every subtype 0, so its bleed has no known subtype, expected at least one: fill it in, or "
            "leave the row out"
        )
    found = ", ".join(name for name, value in zip(SUBTYPES, row.subtypes, strict=True) if value)
    return f"{ANY} is 0 and {found} 1, expected {ANY} 1 or no subtype: mend one of them"
