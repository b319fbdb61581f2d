"""From slices to a study's place in the worklist. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ich_mlflow.ct.plausibility import READ_WITH_CARE, unlike_head
from ich_mlflow.intake.plan import PlannedSeries, Study
from ich_mlflow.labels import ANY
from ich_mlflow.models.lesion_maps import VOLUMES
from ich_mlflow.models.series import NO_PROBABILITY
from ich_mlflow.monitoring.record import FLAGGED, NOT_FLAGGED, REVIEW, STATUSES, UNCERTAIN
from ich_mlflow.prediction.score import SeriesScore
from ich_mlflow.system.counting import counted

if TYPE_CHECKING:  # worker processes need no MLflow, which takes seconds to import
    from ich_mlflow.serving.request import Asked
    from ich_mlflow.serving.response import Answerer


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

    status   flagged: any is decided positive, by its own threshold. uncertain: the model rather says nothing of it.
             review: not scored, or not to be relied on, for a person to see.
    said     probability, decision and score of each finding, of the exam; {} where nothing was scored
    reasons  why it is to be looked at, and other remarks
    slices   of the scored series, from the neck up
    soft_tissue_hu  of the first series, for the monitor; None where not known
    uncertain whether the model rather says nothing of it, be it for review too
    distance how unlike the exam is what the model has learned from; None where the model doesn't say
    blood_ml millilitres of blood of each of VOLUMES, as a lesion map has it: of the series in which it has most; {}
             where it is not measured
    """

    study: Study
    status: str
    said: Mapping[str, Any]
    reasons: tuple[str, ...]
    slices: tuple[ScoredSlice, ...] = field(repr=False)
    blood_ml: Mapping[str, float] = field(default_factory=dict)
    soft_tissue_hu: float | None = None
    distance: float | None = None
    uncertain: bool = False

    @property
    def probability(self) -> float:
        """Of any bleed; 0 where nothing was scored."""
        return float(self.said.get(f"probability_{ANY}", 0.0))

    @property
    def positive(self) -> tuple[str, ...]:
        """The subtypes that are decided positive, the most probable first; any alone where none of them is.

        Each by its own threshold, so that there may be some in a study that any does not flag.
        """
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
        why = _why_nothing(study, len(slices), _done(slices))
        return StudyResult(study=study, status=REVIEW, said={}, reasons=(why,), slices=slices)
    said = _exam({series.key: scores[series.key] for series in study.series}, answerer, asked)
    unlike = sum(unlike_head(list(one.warnings)) for one in usable)
    lost = len(slices) - len(usable)
    reasons = list(dict.fromkeys(remark for series in study.series for remark in series.remarks))
    if lost:
        reasons.append(f"{lost} of {counted(len(slices), 'slice')} can't be {_done(slices)}")
    distance = _distance(study, scores)
    uncertain = answerer.uncertain(said, distance, asked)
    if 2 * unlike > len(usable):
        reasons.insert(0, f"{unlike} of {counted(len(usable), 'slice')} not like a head CT")
        status = REVIEW
    elif said[f"decision_{ANY}"]:
        status = FLAGGED
    elif reasons:
        status = REVIEW
    else:
        status = UNCERTAIN if uncertain else NOT_FLAGGED
    reasons += uncertain
    reasons += _read_with_care(usable)  # unambiguous, so that it doubts no result
    return StudyResult(
        study=study,
        status=status,
        said=said,
        reasons=tuple(reasons),
        slices=slices,
        blood_ml=_blood_ml(study, scores),
        soft_tissue_hu=scores[study.series[0].key].soft_tissue_hu,
        distance=distance,
        uncertain=bool(uncertain) and not said[f"decision_{ANY}"],
    )


def _distance(study: Study, scores: Mapping[str, SeriesScore]) -> float | None:
    """Of the series that is farthest, as the exam's scores are the highest of its series."""
    each = (scores[series.key].distance for series in study.series)
    return max((one for one in each if one is not None), default=None)


def _blood_ml(study: Study, scores: Mapping[str, SeriesScore]) -> dict[str, float]:
    """Of the series with most blood, as the exam's scores are the highest of its series."""
    each = [scores[series.key].blood_ml(series.positions_mm) for series in study.series]
    most = max((one for one in each if one is not None), key=lambda one: one[0], default=())
    return dict(zip(VOLUMES, most, strict=False))


def _read_with_care(usable: Sequence[ScoredSlice]) -> list[str]:
    """What the files of the slices say amiss, and of how many where it is not all."""
    found = Counter(text for one in usable for text in one.warnings if text.startswith(READ_WITH_CARE))
    total = counted(len(usable), "slice")
    return [text if count == len(usable) else f"{text} ({count} of {total})" for text, count in found.items()]


def in_order(results: Sequence[StudyResult]) -> list[StudyResult]:
    """The worklist: flagged, uncertain, for review, then the rest; each by the probability of any, highest first."""
    return sorted(results, key=lambda one: (STATUSES.index(one.status), -one.probability, one.study.number))


def _exam(scores: Mapping[str, SeriesScore], answerer: "Answerer", asked: "Asked") -> Mapping[str, Any]:
    """What is said of the exam that those series are, by the rule that the server has too."""
    scored = {key: score for key, score in scores.items() if len(score.usable)}
    together = np.concatenate([score.of_usable() for score in scored.values()])
    series = np.concatenate([np.repeat(key, len(score.usable)) for key, score in scored.items()])
    said = [exam for score in scored.values() if (exam := score.of_series()) is not None]
    of_series = np.concatenate(said) if said else None
    studies = np.repeat("exam", len(together))
    return answerer.said_of_exams(together, studies, series, asked, of_series)["exam"]


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


def _done(slices: Sequence[ScoredSlice]) -> str:
    """What couldn't be done with those that have an error."""
    faulty = any(NO_PROBABILITY in one.error for one in slices)
    return f"scored ({NO_PROBABILITY})" if faulty else "read"


def _why_nothing(study: Study, num_slices: int, done: str) -> str:
    if num_slices:
        of_them = "its only slice" if num_slices == 1 else f"none of the {num_slices} slices of its series"
        return f"{of_them} can{'not' if num_slices == 1 else ''} be {done}"
    whys = dict.fromkeys(row.why for row in study.rows)
    return "no non-contrast head CT in it: " + "; ".join(whys)
