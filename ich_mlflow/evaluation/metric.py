"""What a metric is: one record, from which all that shows it follows. The metrics themselves are in metrics.py."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ich_mlflow.evaluation.counts import Counts, LabelRows, Number
from ich_mlflow.labels import ANY


@dataclass(frozen=True, kw_only=True)
class Group:
    """What metrics of a kind have in common; each group is a table of the report.

    has_micro: whether it is also taken over all decisions of the estimable labels as one label.
    has_micro_interval: not of rankings, which would be L times as long, for figures that few read.
    digits: after the point, in tables.
    """

    name: str
    has_micro: bool
    has_micro_interval: bool
    digits: int


RANKING = Group(name="ranking", has_micro=True, has_micro_interval=False, digits=2)
DECISION = Group(name="decision", has_micro=True, has_micro_interval=True, digits=2)
#: A Brier score of a rare label has its first digit in the third place.
PROBABILITY = Group(name="probability", has_micro=False, has_micro_interval=False, digits=3)

#: Rows that a metric is taken over, by their truth.
POSITIVES, NEGATIVES, BOTH_KINDS = (True,), (False,), (True, False)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of one label.

    name, title: in MLflow and tables of data (`test/<name>/epidural`); in the report.
    scalar: LabelRows -> float, NaN where it can't be told.
    resampled: LabelSums -> float64 [b], the same in each of b resamples; in the group DECISION it is given Counts alone
        for the micro value. None: the metric has no interval.
    addends: LabelRows -> float64 [K, N], what of the rows beyond their counts the resampled form needs summed; it
        finds the sums [K, b] as `sums.added[name]`.
    compared: whether exams and models are compared by it: MLflow then has it of exams too, the model card a column.
        More would bury them in the UI; the tables have all.
    taken_over: the rows it is taken over, by their truth: BOTH_KINDS, POSITIVES as a sensitivity, or NEGATIVES. Its
        interval goes by the number of such patients. BOTH_KINDS: NaN without a positive or without a negative, whatever
        the two forms say.
    is_share: whether it lies between 0 and 1 by what it is, which its interval then does too.
    has_macro: not where errors of labels could cancel in their mean.
    lowest_is_best: as of losses.
    """

    name: str
    title: str
    group: Group
    scalar: Callable[[LabelRows], Number]
    resampled: Callable[[Any], np.ndarray] | None = None
    addends: Callable[[LabelRows], np.ndarray] | None = None
    compared: bool = False
    taken_over: tuple[bool, ...] = BOTH_KINDS
    is_share: bool = True
    has_macro: bool = True
    lowest_is_best: bool = False

    @property
    def needs_both_classes(self) -> bool:
        return self.taken_over == BOTH_KINDS

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
    """All L labels of N slices or exams: bool targets, scores, probabilities and bool decisions, [N, L] each."""

    labels: tuple[str, ...]
    targets: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray

    @classmethod
    def at(
        cls,
        thresholds: np.ndarray,
        *,
        targets: np.ndarray,
        scores: np.ndarray,
        probabilities: np.ndarray,
        labels: tuple[str, ...],
    ) -> "AllRows":
        """The rows decided by thresholds [L]: positive where probability >= threshold."""
        decisions = probabilities >= thresholds
        return cls(
            labels=labels, targets=targets, scores=scores, probabilities=probabilities, decisions=decisions
        )

    def column(self, i: int) -> LabelRows:
        """The rows of one label, by its place."""
        return self._rows(lambda values: values[:, i])

    def together(self, which: np.ndarray) -> LabelRows:
        """The rows of the labels bool [L] as if of one label."""
        return self._rows(lambda values: values[:, which].ravel())

    @property
    def of_subtypes(self) -> "AllRows":
        """Without any, which is no further label but what the others have in common."""
        kept = [i for i, label in enumerate(self.labels) if label != ANY]
        return replace(
            self,
            labels=tuple(self.labels[i] for i in kept),
            **{name: getattr(self, name)[:, kept] for name in _ARRAYS},
        )

    def _rows(self, part: Callable[[np.ndarray], np.ndarray]) -> LabelRows:
        return LabelRows.of(**{name: part(getattr(self, name)) for name in _ARRAYS})


_ARRAYS = ("targets", "scores", "probabilities", "decisions")


@dataclass(frozen=True, kw_only=True)
class JointMetric:
    """A figure of all subtypes together, such as `accuracy/exact_match`: `kind` stands where a label does.

    scalar: AllRows -> float; its author leaves any out, where it is not meant (`of_subtypes`). by_row: AllRows ->
        float64 [N], whose mean over the rows is the figure, also over those of a resample; None: it has no interval.
    is_share: as of a Metric.
    title: of the metric in the report; meaning: of the figure, in a line of its own.
    """

    name: str
    kind: str
    title: str
    meaning: str
    scalar: Callable[[AllRows], float]
    by_row: Callable[[AllRows], np.ndarray] | None = None
    is_share: bool = True
    digits: int = 2

    @property
    def full_name(self) -> str:
        """As MLflow has it, without a prefix."""
        return f"{self.name}/{self.kind}"
