"""ROC and precision-recall curves with bands by resampling patients."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from ich_mlflow.evaluation.intervals import LEVEL, patient_weights

GRID = np.linspace(0, 1, 101)
#: A band is looked at, not read off: fewer resamples than an interval's.
NUM_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Band:
    """The middle 95 % of a curve's height, over GRID: float64 [101] each."""

    low: np.ndarray
    high: np.ndarray


def roc(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False positive rate and sensitivity of one label, ascending; targets bool [N] of both kinds."""
    false_positive_rate, sensitivity, _ = roc_curve(targets, probabilities)
    return false_positive_rate, sensitivity


def precision_recall(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of one label, recall ascending; targets bool [N] of both kinds."""
    precision, recall, _ = precision_recall_curve(targets, probabilities)
    return recall[::-1], precision[::-1]


def bands(
    targets: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[Band, Band]:
    """The bands of one label's ROC and precision-recall curve: targets, probabilities, patients [N].

    Resamples without a positive or without a negative are left out; where more than half are, bands are NaN.
    """
    order = np.argsort(-np.asarray(probabilities, dtype=np.float64), kind="stable")
    ranked = np.asarray(probabilities)[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    positive = np.asarray(targets, dtype=bool)[order]
    names, patient_of = np.unique(patients, return_inverse=True)
    rocs, recalls = [], []
    for weights in patient_weights(len(names), len(ranked), num_resamples, seed):
        for drawn in weights:
            slices = drawn[patient_of[order]].astype(np.float64)
            true_positives = np.cumsum(slices * positive)[ends]
            false_positives = np.cumsum(slices * ~positive)[ends]
            if true_positives[-1] == 0 or false_positives[-1] == 0:
                continue
            rocs.append(
                np.interp(
                    GRID,
                    np.r_[0, false_positives / false_positives[-1]],
                    np.r_[0, true_positives / true_positives[-1]],
                )
            )
            precision = true_positives / np.maximum(true_positives + false_positives, 1)
            recalls.append(
                precision[
                    np.searchsorted(true_positives / true_positives[-1], np.maximum(GRID, 1e-9) - 1e-12)
                ]
            )
    enough = len(rocs) >= num_resamples / 2
    return _middle(rocs if enough else []), _middle(recalls if enough else [])


def _middle(curves: list[np.ndarray]) -> Band:
    if not curves:
        unknown = np.full(len(GRID), np.nan)
        return Band(low=unknown, high=unknown)
    low, high = np.quantile(np.stack(curves), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Band(low=low, high=high)
