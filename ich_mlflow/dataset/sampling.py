"""In which order, and how often, an epoch shows the training slices: by seed and epoch alone. Pure NumPy."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from ich_mlflow.errors import DataError

_ROUNDS = 20_000
_TOLERANCE = 1e-6


def natural_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """A permutation [num_rows]: every slice once an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(num_rows)


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """Epochs in which every label is positive in a stated share of the slices.

    Slices with the same labels make a group; a group is drawn a whole number of times, and within it every patient as
    often as any other, to one, and of a patient every slice. Made by `balanced`.

    groups  of each group its patients' slices, as indices;  counts  [K] how many slices each group gives to an epoch
    """

    groups: tuple[tuple[np.ndarray, ...], ...]
    counts: np.ndarray

    def order(self, *, seed: int, epoch: int) -> np.ndarray:
        """Indices [N] of one epoch, shuffled. The same for the same seed and epoch."""
        rng = np.random.default_rng((seed, epoch))
        drawn = [
            draw_patients(rng, group, int(count))
            for group, count in zip(self.groups, self.counts, strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def balanced(targets: np.ndarray, patients: np.ndarray, *, rate: float, size: int | None = None) -> Balanced:
    """Epochs of `size` slices (None: of as many as there are) of which each label is positive in the share `rate`.

    Slices are whole, so a rate is off by at most K / N for K groups.

    Of all ways to reach that, the one nearest to the natural mixture of label combinations (least
    Kullback-Leibler divergence) by iterative proportional fitting: Deming and Stephan, Ann. Math. Stat. 1940.
    targets: [N, L], 0 or 1; labels without a positive slice are passed over. patients: [N], whose slice each is. rate:
    above 0, below 1.
    Raises DataError where no mixture of these slices has that rate for every label, with the rates that can be.
    """
    targets = np.asarray(targets).astype(bool)
    targets = targets[:, targets.any(axis=0)]
    patterns, group_of = np.unique(targets, axis=0, return_inverse=True)
    lowest, highest = _reachable(patterns)
    if not lowest - _TOLERANCE <= rate <= highest + _TOLERANCE:
        can = "none can" if lowest > highest else f"from {lowest:.4g} to {highest:.4g} can be reached"
        raise DataError(
            f"sampling_rate is {rate:.4g}, and no mixture of the training slices shows every label at it: {can}; "
            "pass -P sampling_rate= accordingly, or -P sampling=natural"
        )
    natural = np.bincount(group_of.ravel()) / len(targets)
    shares = _fit_shares(patterns, natural, rate)
    groups = tuple(
        by_patient(np.flatnonzero(group_of.ravel() == number), patients) for number in range(len(patterns))
    )
    return Balanced(groups=groups, counts=whole_counts(shares, len(targets) if size is None else size))


def reachable_rates(targets: np.ndarray) -> tuple[float, float]:
    """The lowest and highest rate that `balanced` can reach with those targets [N, L]; 1, 0 where there is none."""
    targets = np.asarray(targets).astype(bool)
    return _reachable(np.unique(targets[:, targets.any(axis=0)], axis=0))


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


def by_patient(slices: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, ...]:
    """Those slices, indices [n], of each of their patients. patients: [N], of all slices."""
    if not len(slices):
        return ()
    _, of = np.unique(np.asarray(patients)[slices], return_inverse=True)
    order = np.argsort(of, kind="stable")
    return tuple(np.split(slices[order], np.flatnonzero(np.diff(of[order])) + 1))


def draw_patients(rng: np.random.Generator, group: tuple[np.ndarray, ...], count: int) -> np.ndarray:
    """`count` slices of a group: every patient as often as any other, to one, and of a patient every slice, to one."""
    each, rest = divmod(count, len(group))
    more = np.zeros(len(group), np.int64)
    more[rng.choice(len(group), size=rest, replace=False)] = 1
    return np.concatenate(
        [_draw(rng, mine, each + one) for mine, one in zip(group, more.tolist(), strict=True)]
    )


def _draw(rng: np.random.Generator, slices: np.ndarray, count: int) -> np.ndarray:
    whole, rest = divmod(count, len(slices))
    return np.concatenate([np.tile(slices, whole), rng.choice(slices, size=rest, replace=False)])


def _reachable(patterns: np.ndarray) -> tuple[float, float]:
    """The lowest and highest rate that some shares of the patterns [K, L] give to every label; 1, 0 for none."""
    num_patterns, num_labels = patterns.shape
    # unknown: the shares, and the rate. Each label's shares less the rate are 0; all shares sum to 1.
    equal = np.zeros((num_labels + 1, num_patterns + 1))
    equal[:num_labels, :num_patterns] = patterns.T
    equal[:num_labels, -1] = -1
    equal[-1, :num_patterns] = 1
    ends = []
    for sign in (1, -1):
        cost = np.r_[np.zeros(num_patterns), sign]
        found = linprog(cost, A_eq=equal, b_eq=np.r_[np.zeros(num_labels), 1], bounds=(0, 1))
        if not found.success:
            return 1.0, 0.0
        ends.append(max(0.0, float(found.x[-1])))
    return ends[0], ends[1]


def _fit_shares(patterns: np.ndarray, natural: np.ndarray, rate: float) -> np.ndarray:
    """Shares [K] nearest to the natural ones with each label at the rate, which some shares have.

    Where that takes a group's share to nothing the fit converges slowly: it is as near as the rounds allow.
    """
    shares = natural.copy()
    for _ in range(_ROUNDS):
        for positive in patterns.T:
            now = shares[positive].sum()
            factors = np.where(positive, rate / now, (1 - rate) / (1 - now) if now < 1 else 1.0)
            shares = shares * factors
        if np.abs(shares @ patterns - rate).max(initial=0.0) < _TOLERANCE:
            break
    return shares / shares.sum()


def whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total`, each within one of its share: the largest remainders are rounded up."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    up = np.argsort(exact - counts, kind="stable")[::-1][: total - counts.sum()]
    counts[up] += 1
    return counts
