"""What a metric is: one record, from which all that shows it follows. The metrics themselves are in metrics.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.counts import Counts, LabelRows, Number


@dataclass(frozen=True, kw_only=True)
class Group:
    """What metrics of a kind have in common; each group is a table of the report.

    has_micro: whether it is also taken over all decisions of the estimable labels as one label.
    has_micro_interval: not of rankings, which would be L times as long, for figures that few read.
    logs_null_model: whether MLflow has the null model of slice position beside it.
    digits: after the point, in tables.
    """

    name: str
    has_micro: bool
    has_micro_interval: bool
    logs_null_model: bool
    digits: int


RANKING = Group(name="ranking", has_micro=True, has_micro_interval=False, logs_null_model=True, digits=2)
DECISION = Group(name="decision", has_micro=True, has_micro_interval=True, logs_null_model=False, digits=2)
#: A Brier score of a rare label has its first digit in the third place.
PROBABILITY = Group(
    name="probability", has_micro=False, has_micro_interval=False, logs_null_model=False, digits=3
)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of one label.

    name, title: in MLflow and tables of data (`test/<name>/epidural`); in the report.
    scalar: LabelRows -> float, NaN where it can't be told.
    resampled: LabelSums -> float64 [b], the same in each of b resamples; in the group DECISION it is given Counts alone
        for the micro value. None: the metric has no interval.
    addends: LabelRows -> float64 [K, N], what of the rows beyond their counts the resampled form needs summed; it
        finds the sums [K, b] as `sums.added[name]`.
    compared: whether runs are compared by it: MLflow then has the ends of its interval, and its difference from the
        baseline's. More would bury them in the UI; the tables have all.
    needs_both_classes: NaN without a positive or without a negative, whatever the two forms say.
    """

    name: str
    title: str
    group: Group
    scalar: Callable[[LabelRows], Number]
    resampled: Callable[[Any], np.ndarray] | None = None
    addends: Callable[[LabelRows], np.ndarray] | None = None
    compared: bool = False
    needs_both_classes: bool = True

    @property
    def digits(self) -> int:
        return self.group.digits

    def value(self, rows: LabelRows) -> float:
        """The figure of those rows."""
        known = rows.has_both_classes or not self.needs_both_classes
        return float(self.scalar(rows)) if known else float("nan")

    def samples(self, counts: Counts) -> np.ndarray:
        """The figure in each resample, float64 [b]. Raises ValueError where it has no resampled form."""
        if self.resampled is None:
            raise ValueError(f"metric {self.name} has no resampled form, expected one: give its record one")
        values = self.resampled(counts)
        return np.where(counts.has_both_classes, values, np.nan) if self.needs_both_classes else values


@dataclass(frozen=True, kw_only=True)
class AllRows:
    """All L labels of N slices or exams: bool targets, float64 probabilities and bool decisions, [N, L] each."""

    labels: tuple[str, ...]
    targets: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray

    @classmethod
    def at(
        cls,
        thresholds: np.ndarray,
        *,
        targets: np.ndarray,
        probabilities: np.ndarray,
        labels: tuple[str, ...],
    ) -> "AllRows":
        """The rows decided by thresholds [L]: positive where probability >= threshold."""
        decisions = probabilities >= thresholds
        return cls(labels=labels, targets=targets, probabilities=probabilities, decisions=decisions)

    def column(self, i: int) -> LabelRows:
        """The rows of one label, by its place."""
        return LabelRows.of(self.targets[:, i], self.probabilities[:, i], self.decisions[:, i])


@dataclass(frozen=True, kw_only=True)
class JointMetric:
    """A figure of all labels together, such as `accuracy/exact_match`: `kind` stands where a label does.

    scalar: AllRows -> float. by_row: AllRows -> float64 [N], whose mean over the rows is the figure, also over those of
    a resample; None: it has no interval.
    title: of the metric in the report; meaning: of the figure, in a line of its own.
    """

    name: str
    kind: str
    title: str
    meaning: str
    scalar: Callable[[AllRows], float]
    by_row: Callable[[AllRows], np.ndarray] | None = None
    digits: int = 2

    @property
    def full_name(self) -> str:
        """As MLflow has it, without a prefix."""
        return f"{self.name}/{self.kind}"
