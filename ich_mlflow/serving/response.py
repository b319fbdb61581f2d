"""Probabilities to the rows of an answer: of slices, or of exams."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.labels import ANY, scheme_of_labels
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.rows import Fault, Row


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
    """Puts together what a model version says. Its own probabilities come in uncalibrated."""

    specification: Specification
    version: ModelVersion

    def slices(
        self,
        rows: Sequence[Row | Fault],
        uncalibrated: np.ndarray,
        asked: Asked,
        heat_maps: Sequence[list[str]],
    ) -> list[dict[str, Any]]:
        """One line a row of the request, in its order. uncalibrated [n, L], heat_maps [n][L]: of the usable rows."""
        chosen = self.specification.slices
        said = iter(self._said(chosen, chosen.calibrated(uncalibrated), asked))
        pictures = iter(heat_maps)
        lines = []
        for row in rows:
            if isinstance(row, Fault):
                lines.append(self._line(None, asked, error=row.line))
                continue
            line = self._line(next(said), asked, warnings=[*row.warnings, *self._missing(row, rows)])
            lines.append({**line, **_pictures(self.specification.labels, next(pictures, []))})
        return lines

    def exams(
        self, rows: Sequence[Row | Fault], uncalibrated: np.ndarray, asked: Asked
    ) -> list[dict[str, Any]]:
        """One line an exam, in the order of their first rows, then one a row that can't be used."""
        good = [number for number, row in enumerate(rows) if isinstance(row, Row)]
        keys = np.array([_study(rows[number], number) for number in good])
        calibrated = self.specification.slices.calibrated(uncalibrated)
        lines = []
        for study, one in self.said_of_exams(calibrated, keys, asked).items():
            members = [number for number, key in zip(good, keys, strict=True) if key == study]
            warnings = dict.fromkeys(
                f"row {number}: {text}"
                for number in members
                for text in (*rows[number].warnings, *self._missing(rows[number], rows))  # type: ignore
            )
            lines.append({"rows": members, **self._line(one, asked, warnings=list(warnings))})
        for number, row in enumerate(rows):
            if isinstance(row, Fault):
                lines.append({"rows": [number], **self._line(None, asked, error=row.line)})
        return lines

    def said_of_slices(self, calibrated: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
        """Probability and decision of each label and of any, of slices' calibrated probabilities [n, L]."""
        return self._said(self.specification.slices, calibrated, asked)

    def said_of_exams(
        self, calibrated: np.ndarray, keys: np.ndarray, asked: Asked
    ) -> dict[str, dict[str, Any]]:
        """The same of exams, by their keys [n], put together from slices' calibrated probabilities [n, L]."""
        specification = self.specification
        exams = to_exams(
            np.zeros_like(calibrated), calibrated, keys, keys, aggregation=specification.aggregation
        )
        said = self._said(specification.exams, specification.exams.calibrated(exams.probabilities), asked)
        return {str(key): one for key, one in zip(exams.study_uids, said, strict=True)}

    def _said(self, chosen: Chosen, probabilities: np.ndarray, asked: Asked) -> list[dict[str, Any]]:
        """Probability and decision of each label and of any, of each of [n, L]."""
        labels = self.specification.labels
        decisions = probabilities >= chosen.thresholds(asked.operating_point)
        said = []
        for values, decided in zip(probabilities, decisions, strict=True):
            line: dict[str, Any] = {
                f"probability_{label}": float(p) for label, p in zip(labels, values, strict=True)
            }
            # Without a label of its own: any is at least as probable as the most probable subtype.
            line.setdefault(f"probability_{ANY}", float(values.max()))
            line |= {f"decision_{label}": bool(one) for label, one in zip(labels, decided, strict=True)}
            line.setdefault(f"decision_{ANY}", bool(decided.any()))
            said.append(line)
        return said

    def _line(
        self, said: dict[str, Any] | None, asked: Asked, *, warnings: Sequence[str] = (), error: str = ""
    ) -> dict[str, Any]:
        columns = probability_columns(self.specification.labels) + decision_columns(self.specification.labels)
        return {
            **{column: None if said is None else said[column] for column in columns},
            "operating_point": asked.operating_point,
            "model_name": self.version.name,
            "model_version": self.version.version,
            "warnings": list(warnings),
            "error": error,
        }

    def _missing(self, row: Row, rows: Sequence[Row | Fault]) -> list[str]:
        """A warning where a model with context got a slice without any neighbour."""
        if not self.specification.context:
            return []
        others = sum(isinstance(one, Row) and bool(row.series) and one.series == row.series for one in rows)
        return [] if others > 1 else ["no neighbouring slice of its series was sent: it stands in for them"]


def probability_columns(labels: Sequence[str]) -> list[str]:
    """Of each label, and of any."""
    return [f"probability_{label}" for label in dict.fromkeys((*labels, ANY))]


def decision_columns(labels: Sequence[str]) -> list[str]:
    """Of each label, and of any."""
    return [f"decision_{label}" for label in dict.fromkeys((*labels, ANY))]


def _study(row: Row | Fault, number: int) -> str:
    """What tells exams apart; a row that knows none is an exam of its own."""
    return (row.study if isinstance(row, Row) else "") or f"\0{number}"


def _pictures(labels: Sequence[str], pngs: Sequence[str]) -> dict[str, str]:
    return {f"heat_map_{label}": png for label, png in zip(labels, pngs, strict=False)}
