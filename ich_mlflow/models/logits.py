"""Probabilities and their log odds, and the mean of what several networks say."""

import numpy as np

_EPSILON = 1e-7


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Logits of probabilities, which are kept 1e-7 from 0 and 1."""
    p = np.clip(probabilities, _EPSILON, 1 - _EPSILON)
    return np.log(p) - np.log1p(-p)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-x))


def mean_of_logits(*outputs: np.ndarray) -> np.ndarray:
    """What several networks, or one of several views, say [n, L], averaged in logits; the type of the first."""
    mean = np.mean([logit(np.asarray(one, dtype=np.float64)) for one in outputs], axis=0)
    return sigmoid(mean).astype(outputs[0].dtype)
