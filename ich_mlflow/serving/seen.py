"""What the server notes of an answer for the monitor: little is done before the answer goes out, the rest after it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts
from ich_mlflow.evaluation.abstention import distances_of_exams
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.record import (
    EXAM,
    FLAGGED,
    MAX_THUMBNAILS,
    NOT_FLAGGED,
    REVIEW,
    SLICES,
    UNCERTAIN,
    Record,
    Site,
    facts_fields,
    kinds_of,
    known,
    soft_tissue,
    thumbnail,
)
from ich_mlflow.monitoring.recorder import Make
from ich_mlflow.serving.rows import Row

_PROBABILITY, _DECISION = "probability_", "decision_"


@dataclass(frozen=True, slots=True)
class _Slice:
    """Of a row what is kept until it is written: no pixels."""

    study: str
    series: str
    position_mm: float
    spacing_mm: float
    facts: HeaderFacts
    warnings: tuple[str, ...]
    distance: float


def what_was_seen(
    rows: Sequence[Any],
    lines: Sequence[Mapping[str, Any]],
    *,
    is_exams: bool,
    distance: np.ndarray | None = None,
) -> Make:
    """What makes the records of an answer. rows: Row or Fault of the request. lines: the answer, of rows or exams.

    distance: of the rows that are a Row, in their order, how unlike each is what the model has learned from.
    """
    now = datetime.now(UTC)
    far = iter(() if distance is None else distance.tolist())
    slices = [
        _Slice(
            row.study,
            row.series,
            row.position_mm,
            row.spacing_mm,
            row.facts,
            row.warnings,
            next(far, math.nan),
        )
        if isinstance(row, Row)
        else None
        for row in rows
    ]
    every = max(1, math.ceil(len(rows) / MAX_THUMBNAILS))
    small = {
        place: thumbnail(rows[place].hu)
        for place in range(0, len(rows), every)
        if isinstance(rows[place], Row)
    }

    def make(site: Site) -> list[Record]:
        exams = (
            [(line["rows"], [line]) for line in lines]
            if is_exams
            else [(members, [lines[one] for one in members]) for members in _by_study(slices)]
        )
        unit = EXAM if is_exams else SLICES
        return [
            record
            for members, said in exams
            if (record := _record(now, site, unit, members, said, slices, small)) is not None
        ]

    return make


def _by_study(slices: Sequence[_Slice | None]) -> list[list[int]]:
    """Rows of each study; one that names none, or can't be used, stands alone."""
    found: dict[str, list[int]] = {}
    for place, one in enumerate(slices):
        found.setdefault((one.study if one else "") or f"\0{place}", []).append(place)
    return list(found.values())


def _record(
    now: datetime,
    site: Site,
    unit: str,
    members: Sequence[int],
    lines: Sequence[Mapping[str, Any]],
    slices: Sequence[_Slice | None],
    small: Mapping[int, np.ndarray],
) -> Record | None:
    """The record of one exam; None of rows that could not be read, which say of no exam that they are its."""
    usable = [one for place in members if (one := slices[place]) is not None]
    if not usable:
        return None
    said = [line for line in lines if line.get(f"{_PROBABILITY}{ANY}") is not None]
    first = usable[0]
    decided = [name for line in said for name, value in line.items() if name.startswith(_DECISION) and value]
    positive = tuple(dict.fromkeys(name.removeprefix(_DECISION) for name in decided))
    return Record(
        time=now,
        site=site.name,
        study=site.hashed(first.study),
        model_name=str(lines[0]["model_name"]),
        model_version=str(lines[0]["model_version"]),
        unit=unit,
        status=_status(said, positive),
        operating_point=str(lines[0]["operating_point"]),
        probabilities=_highest(said),
        positive=positive,
        slices=len(members),
        unusable=0 if said else len(members),
        **facts_fields(first.facts or NO_FACTS),
        step_mm=_step_mm(usable),
        spacing_mm=known(first.spacing_mm, 4),
        uncertain=bool(said) and said[0].get("status") == UNCERTAIN,
        distance=_distance(usable),
        soft_tissue_hu=known(soft_tissue(small[place] for place in members if place in small)),
        warnings=kinds_of(text for one in usable for text in one.warnings),
    )


def _status(said: Sequence[Mapping[str, Any]], positive: Sequence[str]) -> str:
    """As an answer of the exam has it; of slices, of which none is uncertain, by whether one is flagged."""
    if not said:
        return REVIEW
    return str(said[0].get("status") or (FLAGGED if ANY in positive else NOT_FLAGGED))


def _distance(slices: Sequence[_Slice]) -> float | None:
    """As abstention has it: the mean of the series that is farthest."""
    studies, series = np.zeros(len(slices)), np.array([one.series for one in slices])
    return known(float(distances_of_exams(np.array([one.distance for one in slices]), studies, series)[0]), 4)


def _highest(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [name for name in lines[0] if name.startswith(_PROBABILITY)] if lines else []
    return {
        name.removeprefix(_PROBABILITY): round(max(float(line[name]) for line in lines), 5) for name in names
    }


def _step_mm(slices: Sequence[_Slice]) -> float | None:
    """The usual distance from slice to slice of the first slice's series; None of a lone one."""
    first = slices[0].series
    places = np.unique([round(one.position_mm, 2) for one in slices if one.series == first])
    return known(float(np.median(np.diff(places)))) if len(places) > 1 else None
