"""What can be known without looking: the floor beside every figure of a model."""

import numpy as np

NUM_BINS = 20


def prevalence_floor(train_targets: np.ndarray, num_slices: int) -> np.ndarray:
    """Each label's share of the training targets [N, L], for every slice: float64 [num_slices, L]. Its AUC is 0.5."""
    return np.tile(np.asarray(train_targets, dtype=np.float64).mean(axis=0), (num_slices, 1))


def position_floor(train_targets: np.ndarray, train_position: np.ndarray, position: np.ndarray) -> np.ndarray:
    """What the position in the head alone predicts: float64 [M, L] of training targets [N, L] and positions [N], [M].

    Positions are the height in the series as a fraction, 0 at the feet to 1 at the crown. The share of positives in 20
    bins of equal width, each with one slice of the mean prevalence added, so that an empty bin says the prevalence.
    """
    targets = np.asarray(train_targets, dtype=np.float64)
    bins, wanted = _bins(train_position), _bins(position)
    counts = np.bincount(bins, minlength=NUM_BINS)
    positive = np.stack(
        [np.bincount(bins, weights=column, minlength=NUM_BINS) for column in targets.T], axis=1
    )
    shares = (positive + targets.mean(axis=0)) / (counts[:, None] + 1)
    return shares[wanted]


def _bins(position: np.ndarray) -> np.ndarray:
    return np.clip((np.asarray(position, dtype=np.float64) * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
