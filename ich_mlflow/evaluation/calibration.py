"""Calibration: what probabilities mean. Measured by bins, mended per label; applying needs no scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.models.logits import logit, sigmoid

NUM_BINS = 15
NONE, TEMPERATURE, SHRUNK, PLATT, ISOTONIC = "none", "temperature", "shrunk", "platt", "isotonic"
METHODS = (NONE, TEMPERATURE, SHRUNK, PLATT, ISOTONIC)
#: Isotonic regression has as many parameters as steps: with fewer slices of either kind it learns noise.
MIN_ISOTONIC = 1000
#: Below this many positive or negative slices two parameters can't be told from chance.
MIN_PLATT = 20


def bin_of(probabilities: np.ndarray) -> np.ndarray:
    """Which of 15 bins of equal width each probability falls into, 0 to 14."""
    return np.minimum((np.asarray(probabilities) * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over slices of the distance between a bin's mean probability and its share of positives, in [0, 1].

    targets, probabilities [N] of one label; 15 bins of equal width. Source: Naeini et al., AAAI 2015.
    """
    gaps = np.bincount(bin_of(probabilities), weights=probabilities - targets, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(targets))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How one label's probabilities are mended; the order of slices stays, but for ties by isotonic steps.

    method      none; temperature: sigmoid(scale * logit); platt, shrunk: sigmoid(scale * logit + shift); isotonic:
                linear between the points (x, y)
    scale       above 0, so that the order stays
    """

    label: str
    method: str = NONE
    scale: float = 1.0
    shift: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"method of {self.label} is {self.method!r}, expected one of {', '.join(METHODS)}"
            )
        if not self.scale > 0:
            raise ValueError(f"scale of {self.label} is {self.scale}, expected above 0")
        if self.method == ISOTONIC and (len(self.x) < 1 or len(self.x) != len(self.y)):
            raise ValueError(f"isotonic calibration of {self.label} has {len(self.x)} x and {len(self.y)} y")

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Mended probabilities float64 of probabilities in [0, 1], any shape."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.method == NONE:
            return p
        if self.method == ISOTONIC:
            return np.interp(p, self.x, self.y)
        return sigmoid(self.scale * logit(p) + self.shift)


def calibrate(
    probabilities: np.ndarray, calibrations: Sequence[Mapping[str, Any] | Calibration]
) -> np.ndarray:
    """Mended probabilities float64 [N, L] of probabilities [N, L], one calibration a label."""
    each = [one if isinstance(one, Calibration) else Calibration(**one) for one in calibrations]
    return np.stack([one.apply(probabilities[:, i]) for i, one in enumerate(each)], axis=1)
