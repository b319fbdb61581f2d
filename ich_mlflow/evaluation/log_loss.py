"""Binary cross-entropy, and the RSNA 2019 challenge's weighting of it."""

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.labels import ANY, SUBTYPES

#: Probabilities are kept this far from 0 and 1 in a log loss, as the RSNA 2019 challenge does: one sure
#: mistake costs 34.5 and not infinity.
LOG_LOSS_EPSILON = 1e-15
RSNA_LABELS = (*SUBTYPES, ANY)


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Binary cross-entropy in nats [N, L] of bool targets and float64 probabilities [N, L]."""
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    return -np.where(targets, np.log(clipped), np.log1p(-clipped))


def rsna_log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The RSNA 2019 challenge's loss: cross-entropy with `any` counted twice, divided by 7, mean over slices.

    Both arrays are [N, 6] in the order of RSNA_LABELS.
    Source: the challenge's evaluation page on Kaggle.
    """
    targets, probabilities = checked_arrays(targets, probabilities, RSNA_LABELS)
    weights = np.array([2.0 if label == ANY else 1.0 for label in RSNA_LABELS])
    return float((cross_entropy(targets, probabilities) @ weights / weights.sum()).mean())
