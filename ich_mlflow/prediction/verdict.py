"""From slices to a study's place in the worklist. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ich_mlflow.ct.plausibility import unlike_head
from ich_mlflow.intake.plan import PlannedSeries, Study
from ich_mlflow.labels import ANY
from ich_mlflow.prediction.score import SeriesScore

if TYPE_CHECKING:  # worker processes need no MLflow, which takes seconds to import
    from ich_mlflow.serving.request import Asked
    from ich_mlflow.serving.response import Answerer

#: In the order of the worklist: what nobody has looked at comes before what was found empty.
FLAGGED, REVIEW, NOT_FLAGGED = "flagged", "review", "not flagged"
STATUSES = (FLAGGED, REVIEW, NOT_FLAGGED)


@dataclass(frozen=True, kw_only=True)
class ScoredSlice:
    """A slice of a study: where it is, and what is said of it ({} where it can't be used)."""

    series: PlannedSeries
    place: int
    said: Mapping[str, Any]
    warnings: tuple[str, ...]
    error: str


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What is said of a study.

    status   flagged: any bleed is decided positive. review: not scored, or not to be relied on, for a person to see.
    said     probability and decision of each label and of any, of the exam; {} where nothing was scored
    reasons  why it is to be looked at, and other remarks
    slices   of the scored series, from the neck up
    """

    study: Study
    status: str
    said: Mapping[str, Any]
    reasons: tuple[str, ...]
    slices: tuple[ScoredSlice, ...] = field(repr=False)

    @property
    def probability(self) -> float:
        """Of the most probable label, or any; 0 where nothing was scored."""
        return max(
            (value for name, value in self.said.items() if name.startswith("probability_")), default=0.0
        )

    @property
    def positive(self) -> tuple[str, ...]:
        """The labels that are decided positive, the most probable first; `any` among them only where alone."""
        found = [
            name.removeprefix("decision_")
            for name, value in self.said.items()
            if name.startswith("decision_") and value
        ]
        found.sort(key=lambda label: -self.said[f"probability_{label}"])
        return tuple(label for label in found if label != ANY or len(found) == 1)


def judge(
    study: Study, scores: Mapping[str, SeriesScore], answerer: "Answerer", asked: "Asked"
) -> StudyResult:
    """Put a study's scored series together. scores: by the series' key, of all that the study's plan has."""
    slices = tuple(
        one for series in study.series for one in _slices(series, scores[series.key], answerer, asked)
    )
    usable = [one for one in slices if not one.error]
    if not usable:
        why = _why_nothing(study, len(slices))
        return StudyResult(study=study, status=REVIEW, said={}, reasons=(why,), slices=slices)
    said = _together(
        [_exam(scores[one.key], answerer, asked) for one in study.series if len(scores[one.key].usable)]
    )
    unlike = sum(unlike_head(list(one.warnings)) for one in usable)
    lost = len(slices) - len(usable)
    reasons = list(dict.fromkeys(remark for series in study.series for remark in series.remarks))
    if lost:
        reasons.append(f"{lost} of {len(slices)} slices can't be read")
    if 2 * unlike > len(usable):
        reasons.insert(0, f"{unlike} of {len(usable)} slices are not like a head CT")
        status = REVIEW
    elif any(value for name, value in said.items() if name.startswith("decision_")):
        status = FLAGGED
    else:
        status = REVIEW if reasons else NOT_FLAGGED
    return StudyResult(study=study, status=status, said=said, reasons=tuple(reasons), slices=slices)


def in_order(results: Sequence[StudyResult]) -> list[StudyResult]:
    """The worklist: flagged, then those for review, then the rest; each by the probability of any, highest first."""
    return sorted(results, key=lambda one: (STATUSES.index(one.status), -one.probability, one.study.number))


def _exam(score: SeriesScore, answerer: "Answerer", asked: "Asked") -> Mapping[str, Any]:
    """What is said of an exam of that series alone: what aggregation and calibration were chosen for."""
    calibrated = score.of_usable()
    return answerer.said_of_exams(calibrated, np.repeat("exam", len(calibrated)), asked)["exam"]


def _together(said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several series the highest probabilities, and what any of them decides: they show one head, not several."""
    return {name: max(one[name] for one in said) for name in said[0]}


def _slices(
    series: PlannedSeries, score: SeriesScore, answerer: "Answerer", asked: "Asked"
) -> list[ScoredSlice]:
    said = iter(answerer.said_of_slices(score.of_usable(), asked) if len(score.usable) else ())
    return [
        ScoredSlice(
            series=series,
            place=place,
            said={} if error else next(said),
            warnings=score.warnings[place],
            error=error,
        )
        for place, error in enumerate(score.errors)
    ]


def _why_nothing(study: Study, num_slices: int) -> str:
    if num_slices:
        return f"none of the {num_slices} slices of its series can be read"
    whys = dict.fromkeys(row.why for row in study.rows)
    return "no non-contrast head CT in it: " + "; ".join(whys)
