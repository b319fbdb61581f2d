"""ROC and precision-recall curves with bands by resampling patients."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from ich_mlflow.evaluation.intervals import patient_weights
from ich_mlflow.evaluation.t_interval import t_interval

GRID = np.linspace(0, 1, 101)
#: A band is looked at, not read off: fewer resamples than an interval's.
NUM_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Band:
    """The 95 % interval of a curve's height at each place of GRID by itself: float64 [101] each."""

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

    A height is a share and has a share's interval (t_interval.py), by the number of patients with a positive or that
    with a negative, whichever is the lower. Bands are NaN where there are too few.
    """
    order = np.argsort(-np.asarray(probabilities, dtype=np.float64), kind="stable")
    ranked = np.asarray(probabilities)[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    positive = np.asarray(targets, dtype=bool)[order]
    names, patient_of = np.unique(np.asarray(patients)[order], return_inverse=True)
    num_patients = min(len(np.unique(patient_of[kind])) for kind in (positive, ~positive))
    curves = _heights(positive, ends, np.ones(len(ranked)))
    resampled = [
        _heights(positive, ends, drawn[patient_of].astype(np.float64))
        for weights in patient_weights(len(names), len(ranked), num_resamples, seed)
        for drawn in weights
    ]
    rocs, recalls = np.stack(resampled, axis=1)
    roc_band, recall_band = (
        _band(curve, heights, num_patients) for curve, heights in zip(curves, (rocs, recalls), strict=True)
    )
    # a sensitivity of 1 where every negative is called positive is no finding
    roc_band.low[-1] = curves[0, -1]
    return roc_band, recall_band


def _heights(positive: np.ndarray, ends: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Heights of the ROC and the precision-recall curve over GRID, [2, 101], where each row [N] is drawn so many times.

    Rows descend by probability; ends: the places of the last of each probability. NaN without one of either kind.
    """
    true_positives = np.cumsum(times * positive)[ends]
    false_positives = np.cumsum(times * ~positive)[ends]
    if true_positives[-1] == 0 or false_positives[-1] == 0:
        return np.full((2, len(GRID)), np.nan)
    sensitivity = true_positives / true_positives[-1]
    roc = np.interp(GRID, np.r_[0, false_positives / false_positives[-1]], np.r_[0, sensitivity])
    precision = true_positives / np.maximum(true_positives + false_positives, 1)
    return np.stack([roc, precision[np.searchsorted(sensitivity, np.maximum(GRID, 1e-9) - 1e-12)]])


def _band(curve: np.ndarray, resampled: np.ndarray, num_patients: int) -> Band:
    """Of the heights [101] of a curve, and of its resamples [b, 101]."""
    found = [
        t_interval(float(height), samples, num_patients=num_patients, is_share=True)
        for height, samples in zip(curve, resampled.T, strict=True)
    ]
    return Band(low=np.array([one.low for one in found]), high=np.array([one.high for one in found]))
