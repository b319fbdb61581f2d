"""What a report says, ready to be set: strings, tables, pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of strings: title, columns, and rows of as many cells as there are columns. folded: shown on demand."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of {self.title!r} has {len(row)} cells, expected {len(self.columns)}"
                )


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG with the text for those who can't see it."""

    title: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture inside the page itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report: paragraphs, then tables, then pictures. anchor: its name in links."""

    anchor: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report. answer: sentences to read first. headline: then the few figures, as (name, value, remark)."""

    title: str
    subtitle: str
    notice: str
    headline: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    command: str
    made_by: str
    limits: Sequence[str] = field(default_factory=tuple)
    answer: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model card says of one evaluation of a model version. answer: sentences to read first.

    more: tables after all else.
    """

    name: str
    notice: str
    summary: str
    answer: Sequence[str]
    details: Sequence[tuple[str, str]]
    data: Sequence[str]
    metrics: Table
    operating_points: Table
    subgroups: Sequence[str]
    caveats: Sequence[str]
    run_id: str
    more: Sequence[Table] = ()
