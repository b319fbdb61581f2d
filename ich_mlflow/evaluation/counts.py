"""What the metrics of one label are computed from: its rows, and how the decisions on them came out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

#: What rows are of.
SLICES, EXAMS = "slices", "exams"
#: A number, or float64 [b]: one in each of b resamples.
Number = Any


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How the decisions on one label came out: a number each, or one a resample."""

    num_positive: Number
    num_negative: Number
    true_positive: Number
    false_positive: Number

    @property
    def num_rows(self) -> Number:
        return self.num_positive + self.num_negative

    @property
    def true_negative(self) -> Number:
        return self.num_negative - self.false_positive

    @property
    def false_negative(self) -> Number:
        return self.num_positive - self.true_positive

    @property
    def decided_positive(self) -> Number:
        return self.true_positive + self.false_positive

    @property
    def decided_negative(self) -> Number:
        return self.num_positive + self.num_negative - self.decided_positive

    @property
    def has_both_classes(self) -> Any:
        """Whether there are positives and negatives: bool, or bool [b]."""
        return (self.num_positive > 0) & (self.num_negative > 0)


@dataclass(frozen=True, kw_only=True)
class LabelRows(Counts):
    """One label of N slices or exams: bool targets, float64 scores and probabilities, bool decisions, [N] each.

    scores: what the network says, for rankings. Calibration by steps ties ranks, so probabilities are for what they
    mean and for decisions.
    """

    targets: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray

    @classmethod
    def of(
        cls, *, targets: np.ndarray, scores: np.ndarray, probabilities: np.ndarray, decisions: np.ndarray
    ) -> "LabelRows":
        """The rows with their counts, as floats: a product of four counts of a large set is no integer of NumPy's."""
        return cls(
            targets=targets,
            scores=scores,
            probabilities=probabilities,
            decisions=decisions,
            num_positive=float(targets.sum()),
            num_negative=float((~targets).sum()),
            true_positive=float((targets & decisions).sum()),
            false_positive=float((~targets & decisions).sum()),
        )


def ratio(part: Number, whole: Number) -> Number:
    """part / whole, NaN where whole is 0; of two numbers, or of two arrays [b]."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
