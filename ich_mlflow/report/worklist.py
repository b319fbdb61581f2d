"""What the page of a prediction says, ready to be set: strings, tables, pictures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ich_mlflow.report.contents import Table


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture with what stands under it. jpeg: its bytes."""

    caption: str
    jpeg: bytes

    @property
    def data_uri(self) -> str:
        """The picture inside the page itself."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


@dataclass(frozen=True, kw_only=True)
class WorklistRow:
    """A study in the list. status: flagged, uncertain, review or not flagged. anchor: of its section, '' without one.

    blood: how much of it there is, on a page that says it.
    """

    rank: int
    status: str
    study: str
    probability: str
    findings: str
    remarks: str
    anchor: str
    blood: str = ""


@dataclass(frozen=True, kw_only=True)
class StudySection:
    """A study that is shown: facts as (name, value), its labels, and pictures."""

    anchor: str
    title: str
    facts: Sequence[tuple[str, str]]
    labels: Table
    pictures: Sequence[Shown]


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """The whole page. headline: the few figures to read first, as (name, value, remark).

    caveats: what to know beside every number and decision of this model version. says_blood: whether the rows say how
        much blood there is.
    """

    title: str
    subtitle: str
    notice: str
    headline: Sequence[tuple[str, str, str]]
    rows: Sequence[WorklistRow]
    note: str
    caveats: Sequence[str]
    sections: Sequence[StudySection]
    tables: Sequence[Table]
    limits: Sequence[str]
    made_by: str
    says_blood: bool = False
