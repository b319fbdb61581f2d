"""What can be known without looking: the null model beside every figure of a model.

The prevalence predictor says of every slice how often the label was in training. The position predictor says how often
it was at that height of the head. Both come from training labels alone, and travel with the model, so that data from
elsewhere meet the same null models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.operating_point import (
    OperatingPoint,
    choose_by_each_rule,
    points_from_dict,
    points_to_dict,
    thresholds_by,
)

NUM_BINS = 20
PREVALENCE, POSITION = "prevalence", "position"


@dataclass(frozen=True, kw_only=True)
class NullModel:
    """A predictor that doesn't look at the image, with its operating points chosen on validation.

    shares  [B, L]: what it says of the B bins of height, of equal width; one bin says the same everywhere
    """

    shares: np.ndarray
    operating_points: Mapping[str, tuple[OperatingPoint, ...]]

    def probabilities(self, position: np.ndarray) -> np.ndarray:
        """Probabilities float64 [N, L] at positions [N], 0 at the lowest slice of a series to 1 at the highest."""
        return np.asarray(self.shares)[_bins(position, len(self.shares))]

    def thresholds(self, rule: str) -> np.ndarray:
        """Thresholds float64 [L] by one of RULES."""
        return thresholds_by(self.operating_points, rule)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        points = points_to_dict(self.operating_points)
        return {"shares": np.asarray(self.shares).tolist(), "operating_points": points}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NullModel":
        """The reverse of to_dict."""
        return cls(
            shares=np.array(values["shares"], dtype=np.float64),
            operating_points=points_from_dict(values["operating_points"]),
        )


def fit_null_model(
    train_targets: np.ndarray,
    train_position: np.ndarray,
    targets: np.ndarray,
    position: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    num_bins: int = NUM_BINS,
) -> NullModel:
    """The position predictor of training targets [N, L] and positions [N]; with num_bins=1 the prevalence predictor.

    targets [M, L], position, patients [M]: of validation, where its operating points are chosen.
    """
    shares = position_shares(train_targets, train_position, num_bins=num_bins)
    unset = NullModel(shares=shares, operating_points={})
    probabilities = unset.probabilities(position)
    points = choose_by_each_rule(targets, probabilities, patients, labels)
    return NullModel(shares=shares, operating_points=points)


def position_shares(targets: np.ndarray, position: np.ndarray, *, num_bins: int = NUM_BINS) -> np.ndarray:
    """Share of positives in each bin of height, float64 [B, L].

    Each bin has one slice of the mean prevalence added, so that an empty bin says the prevalence.
    """
    targets = np.asarray(targets, dtype=np.float64)
    bins = _bins(position, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    positive = np.stack(
        [np.bincount(bins, weights=column, minlength=num_bins) for column in targets.T], axis=1
    )
    return (positive + targets.mean(axis=0)) / (counts[:, None] + 1)


def _bins(position: np.ndarray, num_bins: int) -> np.ndarray:
    return np.clip((np.asarray(position, dtype=np.float64) * num_bins).astype(np.int64), 0, num_bins - 1)
