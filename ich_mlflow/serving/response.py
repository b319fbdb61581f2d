"""Probabilities to the rows of an answer: of slices, or of exams."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.abstention import distances_of_exams
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.labels import ANY, scheme_of_labels
from ich_mlflow.models.registry import FAMILIES
from ich_mlflow.monitoring.record import FLAGGED, NOT_FLAGGED, UNCERTAIN
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.rows import Fault, Row

#: With aggregate=exam alone, and so not in the signature, which spark_udf takes columns by: the status, and why an exam
#: is uncertain or, if flagged, unlike what was learned from.
STATUS_COLUMNS = ("status", "uncertain_because")
_LOST = "rows of the request that could not be used: {}, so an exam may be incomplete"
NEVER_UNCERTAIN = (
    "this version can't call an exam uncertain, since it was packed without abstention; train or recalibrate "
    "adds it"
)


@dataclass(frozen=True)
class ModelVersion:
    """name, version: of the registered model; of one that is not registered, '' and `run <id>`."""

    name: str
    version: str

    @classmethod
    def of(cls, model_uri: str, specification: Specification) -> "ModelVersion":
        """What models:/<name>/<version> says; of another URI the run that made it."""
        named = re.fullmatch(r"models:/([^/@]+)/(\d+)", model_uri)
        if named:
            return cls(named[1], named[2])
        name = scheme_of_labels(specification.labels).model_name
        return cls(f"{name} (not registered)", f"run {specification.run_id[:8]}")


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Puts together what a model version says. The network's outputs of the labels come in as they are."""

    specification: Specification
    version: ModelVersion

    def slices(
        self,
        rows: Sequence[Row | Fault],
        outputs: np.ndarray,
        asked: Asked,
        heat_maps: Sequence[list[str]],
        of_series: np.ndarray | None = None,
    ) -> list[dict[str, Any]]:
        """One line a row of the request, in its order. outputs [n, L], heat_maps [n][L]: of the usable rows.

        of_series [n, L]: what the model says of each row's series, where it does.
        """
        said = iter(self.said_of_slices(outputs, asked))
        exams = iter(self._of_series(of_series, len(outputs)))
        pictures = iter(heat_maps)
        caveats = self.caveats(asked, unit=SLICES)
        lines = []
        for row in rows:
            if isinstance(row, Fault):
                lines.append({**self._line(None, asked, error=row.line), **self._of_series(None, 1)[0]})
                continue
            warnings = [*row.warnings, *self._missing(row, rows)]
            line = self._line(next(said), asked, warnings=warnings, caveats=caveats)
            lines.append({**line, **next(exams), **_pictures(self.specification.labels, next(pictures, []))})
        return lines

    def exams(
        self,
        rows: Sequence[Row | Fault],
        outputs: np.ndarray,
        asked: Asked,
        of_series: np.ndarray | None = None,
        distance: np.ndarray | None = None,
    ) -> list[dict[str, Any]]:
        """One line an exam, in the order of their first rows, then one a row that can't be used.

        distance [n]: how unlike each slice is what the model has learned from, where it says.
        """
        good = [number for number, row in enumerate(rows) if isinstance(row, Row)]
        keys = np.array([_study(rows[number], number) for number in good])
        series = np.array([_series(rows[number], number) for number in good])
        caveats = (*self.caveats(asked, unit=EXAMS), *self.cannot_abstain(asked))
        lines = []
        lost = len(rows) - len(good)
        far: dict[str, float | None] = dict.fromkeys(keys.tolist())
        if distance is not None and len(keys):
            far = dict(zip(far, distances_of_exams(distance, keys, series).tolist(), strict=True))
        for study, one in self.said_of_exams(outputs, keys, series, asked, of_series).items():
            members = [number for number, key in zip(good, keys, strict=True) if key == study]
            warnings = dict.fromkeys(
                f"row {number}: {text}"
                for number in members
                for text in (*rows[number].warnings, *self._missing(rows[number], rows))  # type: ignore
            )
            reasons = self.uncertain(one, far[study], asked)
            if lost:  # whose they are is not known: any exam of the request may lack them
                warnings[_LOST.format(lost)] = None
                reasons = (*reasons, _LOST.format(lost)) if asked.abstain else ()
            line = self._line(one, asked, warnings=list(warnings), caveats=caveats)
            lines.append({"rows": members, **line, **_status(one, reasons)})
        for number, row in enumerate(rows):
            if isinstance(row, Fault):
                line = self._line(None, asked, error=row.line)
                lines.append({"rows": [number], **line, **dict.fromkeys(STATUS_COLUMNS)})
        return lines

    def uncertain(self, said: Mapping[str, Any], distance: float | None, asked: Asked) -> tuple[str, ...]:
        """Why an exam is uncertain of which that is said; () where it is not, or abstaining was not wanted.

        distance: the exam's, None where the model doesn't say.
        """
        rule = self.specification.abstention
        if rule is None or not asked.abstain:
            return ()
        return rule.reasons(said[f"score_{ANY}"], distance, is_flagged=said[f"decision_{ANY}"])

    def cannot_abstain(self, asked: Asked) -> tuple[str, ...]:
        """What keeps this version from calling an exam uncertain, in lines; () where nothing does, or none is asked."""
        rule = self.specification.abstention
        if not asked.abstain:
            return ()
        return (NEVER_UNCERTAIN,) if rule is None else rule.lacks

    def said_of_slices(self, outputs: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
        """Probability, decision and score of each finding, of the network's outputs [n, L] of slices."""
        return self._said(self.specification.slices, self.specification.scores(outputs), asked)

    def said_of_exams(
        self,
        outputs: np.ndarray,
        studies: np.ndarray,
        series: np.ndarray,
        asked: Asked,
        of_series: np.ndarray | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The same of exams by their study [n], put together from slices' outputs [n, L] series [n] by series.

        of_series [n, L]: what the model says of each slice's series itself, where it does.
        """
        specification = self.specification
        if not len(outputs):
            return {}
        scores = specification.scores(outputs)
        exams = to_exams(
            np.zeros_like(scores),
            scores,
            studies,
            studies,
            series,
            aggregation=specification.aggregation,
            of_series=None if of_series is None else specification.scores(of_series),
        )
        said = self._said(specification.exams, exams.scores, asked)
        return {str(key): one for key, one in zip(exams.study_uids, said, strict=True)}

    def caveats(self, asked: Asked, *, unit: str) -> tuple[str, ...]:
        """What to know beside every answer of this model version, whatever the image."""
        chosen = self.specification.slices if unit == SLICES else self.specification.exams
        return chosen.caveats(asked.operating_point, unit=unit)

    def _said(self, chosen: Chosen, scores: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
        """Probability, decision and score of each finding, of each of [n, F]."""
        findings = self.specification.findings
        probabilities = chosen.calibrated(scores)
        decisions = probabilities >= chosen.thresholds(asked.operating_point)
        columns = answer_columns(findings)
        table = np.concatenate([probabilities, decisions, scores], axis=1, dtype=object)
        kinds = [kind for kind in (float, bool, float) for _ in findings]
        return [
            {column: kind(value) for column, kind, value in zip(columns, kinds, row, strict=True)}
            for row in table
        ]

    def _line(
        self,
        said: dict[str, Any] | None,
        asked: Asked,
        *,
        warnings: Sequence[str] = (),
        caveats: Sequence[str] = (),
        error: str = "",
    ) -> dict[str, Any]:
        columns = answer_columns(self.specification.findings)
        return {
            **{column: None if said is None else said[column] for column in columns},
            "operating_point": asked.operating_point,
            "model_name": self.version.name,
            "model_version": self.version.version,
            "warnings": list(warnings),
            "caveats": list(caveats),
            "error": error,
        }

    def _of_series(self, of_series: np.ndarray | None, count: int) -> list[dict[str, float | None]]:
        """What is said of the series of so many rows; empty where the model says nothing of series."""
        columns = series_columns(self.specification)
        if of_series is None:
            return [dict.fromkeys(columns) for _ in range(count)]
        return [dict(zip(columns, map(float, row), strict=True)) for row in of_series]

    def _missing(self, row: Row, rows: Sequence[Row | Fault]) -> list[str]:
        """A warning where a model that reads series got a slice without any neighbour, or can't tell their order."""
        if not self.specification.reads_series:
            return []
        series = [
            one for one in rows if isinstance(one, Row) and bool(row.series) and one.series == row.series
        ]
        if len(series) < 2:
            return ["no neighbouring slice of its series was sent: it stands in for them"]
        if len({one.position_mm for one in series}) == 1:
            return ["all slices of its series are at one position: their order is not known"]
        return []


def _status(said: Mapping[str, Any], reasons: Sequence[str]) -> dict[str, Any]:
    """The columns of an exam's status."""
    status = FLAGGED if said[f"decision_{ANY}"] else UNCERTAIN if reasons else NOT_FLAGGED
    return dict(zip(STATUS_COLUMNS, (status, list(reasons)), strict=True))


def probability_columns(findings: Sequence[str]) -> list[str]:
    """Calibrated, and so of what they say."""
    return [f"probability_{finding}" for finding in findings]


def decision_columns(findings: Sequence[str]) -> list[str]:
    """Whether the probability reaches the threshold of the operating point."""
    return [f"decision_{finding}" for finding in findings]


def score_columns(findings: Sequence[str]) -> list[str]:
    """What the network says itself: for ranking, since calibration by steps ties ranks; no probability."""
    return [f"score_{finding}" for finding in findings]


def series_columns(specification: Specification) -> list[str]:
    """What a model that reads exams says of a slice's whole series itself; none of a model that doesn't."""
    if not FAMILIES[specification.family].says_exams:
        return []
    return [f"series_score_{label}" for label in specification.labels]


def answer_columns(findings: Sequence[str]) -> list[str]:
    """Of each finding its probability, decision and score."""
    return [*probability_columns(findings), *decision_columns(findings), *score_columns(findings)]


def _study(row: Row | Fault, number: int) -> str:
    """What tells exams apart; a row that knows none is an exam of its own."""
    return (row.study if isinstance(row, Row) else "") or f"\0{number}"


def _series(row: Row | Fault, number: int) -> str:
    return (row.series if isinstance(row, Row) else "") or f"\0{number}"


def _pictures(labels: Sequence[str], pngs: Sequence[str]) -> dict[str, str]:
    return {f"heat_map_{label}": png for label, png in zip(labels, pngs, strict=False)}
