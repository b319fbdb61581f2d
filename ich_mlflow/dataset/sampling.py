"""In which order, and how often, an epoch shows the training slices: by seed and epoch alone. Pure NumPy."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.errors import DataError

_ROUNDS = 2000
_TOLERANCE = 1e-6


def natural_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """A permutation [num_rows]: every slice once an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(num_rows)


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Epochs in which every label is positive in a stated share of the slices.

    Slices with the same labels make a group; a group is drawn a whole number of times, and within it every slice
    as often as any other, to one. Made by `balanced`.

    groups  indices of the slices of each group;  counts  [K] how many slices each group gives to an epoch
    """

    groups: tuple[np.ndarray, ...]
    counts: np.ndarray

    def order(self, *, seed: int, epoch: int) -> np.ndarray:
        """Indices [N] of one epoch, shuffled. The same for the same seed and epoch."""
        rng = np.random.default_rng((seed, epoch))
        drawn = [_draw(rng, group, int(count)) for group, count in zip(self.groups, self.counts, strict=True)]
        return rng.permutation(np.concatenate(drawn))


def balanced(targets: np.ndarray, *, rate: float) -> Balanced:
    """Epochs of N slices of which each label is positive in the share `rate`, to within K / N of rounding.

    Of all ways to reach that, the one nearest to the natural mixture of label combinations (least
    Kullback-Leibler divergence) by iterative proportional fitting: Deming and Stephan, Ann. Math. Stat. 1940.
    targets: [N, L], 0 or 1; labels without a positive slice are passed over. rate: above 0, below 1.
    Raises DataError where no mixture of these slices has that rate for every label.
    """
    targets = np.asarray(targets).astype(bool)
    targets = targets[:, targets.any(axis=0)]
    patterns, group_of = np.unique(targets, axis=0, return_inverse=True)
    natural = np.bincount(group_of.ravel()) / len(targets)
    shares = _fit_shares(patterns, natural, rate)
    groups = tuple(np.flatnonzero(group_of.ravel() == number) for number in range(len(patterns)))
    return Balanced(groups=groups, counts=_whole_counts(shares, len(targets)))


def seen(
    targets: np.ndarray, order: np.ndarray, patients: np.ndarray, labels: tuple[str, ...]
) -> dict[str, float]:
    """What an epoch in that order shows: the share positive of each label, of slices and patients seen at all."""
    shares = targets[order].mean(axis=0)
    distinct = np.unique(order)
    return {
        **{label: float(share) for label, share in zip(labels, shares, strict=True)},
        "distinct_slices": len(distinct) / len(targets),
        "patients": float(len(np.unique(patients[distinct]))),
    }


def _draw(rng: np.random.Generator, group: np.ndarray, count: int) -> np.ndarray:
    whole, rest = divmod(count, len(group))
    return np.concatenate([np.tile(group, whole), rng.choice(group, size=rest, replace=False)])


def _fit_shares(patterns: np.ndarray, natural: np.ndarray, rate: float) -> np.ndarray:
    shares = natural.copy()
    for _ in range(_ROUNDS):
        for positive in patterns.T:
            now = shares[positive].sum()
            if not 0 < now < 1:
                break  # a label that every slice has, or one whose slices have all lost their share
            shares = shares * np.where(positive, rate / now, (1 - rate) / (1 - now))
        reached = shares @ patterns
        if np.abs(reached - rate).max() < _TOLERANCE:
            return shares
    raise DataError(
        f"sampling_rate is {rate:g}, and no mixture of the training slices shows every label at that rate (the "
        f"nearest: {', '.join(f'{value:.3f}' for value in reached)}): pass a lower -P sampling_rate=, or "
        "-P sampling=natural"
    )


def _whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total`, each within one of its share: the largest remainders are rounded up."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    up = np.argsort(exact - counts, kind="stable")[::-1][: total - counts.sum()]
    counts[up] += 1
    return counts
