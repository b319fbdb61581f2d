"""Binary cross-entropy, and the RSNA 2019 challenge's weighting of it."""

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.labels import ANY, SCHEMES, SUBTYPES

#: Probabilities are kept this far from 0 and 1 in a log loss, as the RSNA 2019 challenge does: one sure
#: mistake costs 34.5 and not infinity.
LOG_LOSS_EPSILON = 1e-15


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Binary cross-entropy in nats [N, L] of bool targets and float64 probabilities [N, L]."""
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    return -np.where(targets, np.log(clipped), np.log1p(-clipped))


def rsna_log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The RSNA 2019 challenge's loss: cross-entropy with `any` counted twice, divided by 7, mean over slices.

    Both arrays are [N, 6] in the order of the 6-class scheme (the subtypes, then any).
    Source: the challenge's evaluation page on Kaggle.
    """
    labels = SCHEMES[6].labels
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    weights = np.array([2.0 if label == ANY else 1.0 for label in labels])
    return float((cross_entropy(targets, probabilities) @ weights / weights.sum()).mean())


def with_any(probabilities: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities [N, 6] of the subtypes and `any`, from those of 5 or 6 labels [N, L].

    Five labels have no `any`: it gets their highest, which it can't be below. Raises ValueError for other labels.
    """
    if not has_all_subtypes(labels):
        raise ValueError(f"labels are {', '.join(labels)}, expected the five subtypes, with or without {ANY}")
    if labels == SUBTYPES:
        return np.column_stack([probabilities, np.max(probabilities, axis=1)])
    return np.asarray(probabilities)


def has_all_subtypes(labels: tuple[str, ...]) -> bool:
    """Whether the labels are the five subtypes, with or without `any`."""
    return labels in (SUBTYPES, SCHEMES[6].labels)
