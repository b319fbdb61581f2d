"""What every evaluation refuses. Apart from metrics.py, so that operating points need no scikit-learn."""

import numpy as np


def checked_arrays(
    targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Targets as bool [N, L] and probabilities as float64 [N, L], or ValueError that says what was wrong."""
    targets = np.asarray(targets)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    for name, array in (("targets", targets), ("probabilities", probabilities)):
        if array.ndim != 2 or array.shape[1] != len(labels) or len(array) == 0:
            raise ValueError(
                f"{name} have shape {array.shape}, expected [N, {len(labels)}] for the labels "
                f"{', '.join(labels)} and at least one slice"
            )
    if len(targets) != len(probabilities):
        raise ValueError(f"there are {len(targets)} rows of targets, {len(probabilities)} of probabilities")
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets hold {np.unique(targets)[:5]}, expected only 0 and 1")
    # Written so that NaN fails too.
    outside = ~((probabilities >= 0) & (probabilities <= 1))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{outside.sum()} of {outside.size} probabilities are NaN or outside [0, 1], first "
            f"{probabilities[row, column]} for {labels[column]} in row {row}: give probabilities, not logits"
        )
    return targets.astype(bool), probabilities
