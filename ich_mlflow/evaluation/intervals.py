"""Intervals of slice metrics: whole patients are drawn again, since slices of a patient are not independent.

A resample gives every patient a weight, how often it was drawn. What is a mean over slices then is a product of
weights and per-patient sums; AUC and average precision are sums along the slices in the order of their probability.
No resample is ever built, so 2,000 of 100,000 slices take seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ich_mlflow.evaluation.calibration import NUM_BINS, bin_of
from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.evaluation.metrics import LOG_LOSS_EPSILON, PER_LABEL_METRICS

NUM_RESAMPLES = 2000
LEVEL = 0.95
#: Weights held at a time: resamples x slices.
_CHUNK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The middle 95 % of a metric's resampled values. NaN where fewer than half of the resamples have a value."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Metrics over resamples of the patients.

    samples: metric name, as SliceMetrics.as_metrics names it without prefix -> float64 [num_resamples]; NaN in a
    resample that can't tell. There is none of micro AUC, micro average precision and the RSNA log loss. Two models
    resampled with the same seed and patients are paired.
    """

    samples: Mapping[str, np.ndarray]

    def interval(self, name: str) -> Interval:
        """The percentile interval of a metric (Efron 1979)."""
        return percentile_interval(self.samples[name])

    def difference(self, other: "Resampled", name: str) -> Interval:
        """The interval of self minus other, resample by resample."""
        return percentile_interval(self.samples[name] - other.samples[name])


def percentile_interval(samples: np.ndarray) -> Interval:
    """The middle 95 % of the samples that are numbers; NaN where fewer than half of them are."""
    known = samples[~np.isnan(samples)]
    if len(known) < max(1, len(samples) / 2):
        return Interval(low=float("nan"), high=float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high))


def resample_patients(
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Every metric of evaluate_slices over resamples of the patients, with replacement, as many as there are.

    targets, probabilities [N, L], thresholds [L], patients [N]. Raises ValueError as evaluate_slices does.
    """
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    names, patient_of = np.unique(patients, return_inverse=True)
    if len(patient_of) != len(targets):
        raise ValueError(
            f"there are {len(patient_of)} patients for {len(targets)} slices, expected one a slice"
        )
    columns, sums = _sums_by_patient(targets, probabilities, thresholds, patient_of, len(names))
    rankings = [_Ranking(targets[:, i], probabilities[:, i], patient_of) for i in range(len(labels))]
    parts: list[dict[str, np.ndarray]] = []
    for weights in patient_weights(len(names), len(targets), num_resamples, seed):
        totals = {name: weights @ sums[:, number] for number, name in enumerate(columns)}
        parts.append(_metrics(totals, labels, [ranking.auc_and_precision(weights) for ranking in rankings]))
    return Resampled(samples={name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def patient_weights(
    num_patients: int, num_slices: int, num_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """How often each patient is drawn, float32 [b, P], some resamples at a time: as many as fit the memory.

    The same seed gives the same draws, whatever num_slices.
    """
    rng = np.random.default_rng(seed)
    chance = np.full(num_patients, 1 / num_patients)
    at_a_time = max(1, _CHUNK // max(num_slices, 1))
    for start in range(0, num_resamples, at_a_time):
        size = min(at_a_time, num_resamples - start)
        yield rng.multinomial(num_patients, chance, size=size).astype(np.float32)


def _sums_by_patient(
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    patient_of: np.ndarray,
    num_patients: int,
) -> tuple[list[str], np.ndarray]:
    """What adds up over slices, summed within each patient: names, and float64 [P, K]."""
    decisions = probabilities >= thresholds
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    entropy = -np.where(targets, np.log(clipped), np.log1p(-clipped))
    right = decisions == targets
    columns = {
        "slices": np.ones(len(targets)),
        "exact": right.all(axis=1).astype(float),
        "right": right.mean(axis=1),
        "entropy": entropy.mean(axis=1),
    }
    for i in range(targets.shape[1]):
        columns |= {
            f"positive/{i}": targets[:, i],
            f"hit/{i}": targets[:, i] & decisions[:, i],
            f"alarm/{i}": ~targets[:, i] & decisions[:, i],
            f"squared/{i}": (probabilities[:, i] - targets[:, i]) ** 2,
        }
        bins = bin_of(probabilities[:, i])
        for number in range(NUM_BINS):
            # of a calibrated model the two sums of a bin are equal
            columns[f"gap/{i}/{number}"] = np.where(bins == number, probabilities[:, i] - targets[:, i], 0.0)
    sums = [np.bincount(patient_of, weights=values, minlength=num_patients) for values in columns.values()]
    return list(columns), np.stack(sums, axis=1)


def _metrics(
    totals: Mapping[str, np.ndarray], labels: tuple[str, ...], ranked: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Metrics [b] from sums over slices [b]: the same definitions as metrics.evaluate_slices."""
    slices = totals["slices"]
    found: dict[str, np.ndarray] = {
        "accuracy/exact_match": totals["exact"] / slices,
        "accuracy/mean": totals["right"] / slices,
        "log_loss/mean": totals["entropy"] / slices,
    }
    known = np.zeros((len(labels), len(slices)), dtype=bool)
    for i, label in enumerate(labels):
        positive, hit, alarm = (totals[f"{name}/{i}"] for name in ("positive", "hit", "alarm"))
        negative = slices - positive
        known[i] = estimable = (positive > 0) & (negative > 0)
        found[f"auc/{label}"], found[f"average_precision/{label}"] = ranked[i]
        found[f"f1/{label}"] = _ratio(2 * hit, positive + hit + alarm, estimable)
        found[f"sensitivity/{label}"] = _ratio(hit, positive, positive > 0)
        found[f"specificity/{label}"] = _ratio(negative - alarm, negative, negative > 0)
        found[f"ppv/{label}"] = _ratio(hit, hit + alarm, estimable & (hit + alarm > 0))
        passed = slices - hit - alarm
        found[f"npv/{label}"] = _ratio(negative - alarm, passed, estimable & (passed > 0))
        found[f"brier/{label}"] = _ratio(totals[f"squared/{i}"], slices, estimable)
        gaps = [np.abs(totals[f"gap/{i}/{number}"]) for number in range(NUM_BINS)]
        found[f"ece/{label}"] = _ratio(np.sum(gaps, axis=0), slices, estimable)
    found |= _micro(totals, len(labels))
    for metric in PER_LABEL_METRICS:
        each = np.stack([found[f"{metric}/{label}"] for label in labels])
        counted = known & ~np.isnan(each)
        total = np.where(counted, each, 0).sum(axis=0)
        found[f"{metric}/macro"] = _ratio(total, counted.sum(axis=0), counted.any(axis=0))
    return found


def _micro(totals: Mapping[str, np.ndarray], num_labels: int) -> dict[str, np.ndarray]:
    """Rates over the decisions of the labels that a resample can tell, together.

    AUC and average precision are left out: their ranking would be L times as long, for figures that few read.
    """
    slices = totals["slices"]
    sums = dict.fromkeys(("positive", "negative", "hit", "alarm"), np.zeros(len(slices)))
    for i in range(num_labels):
        positive, hit, alarm = (totals[f"{name}/{i}"] for name in ("positive", "hit", "alarm"))
        known = (positive > 0) & (positive < slices)
        for name, value in (
            ("positive", positive), ("negative", slices - positive), ("hit", hit), ("alarm", alarm),
        ):  # fmt: skip
            sums[name] = sums[name] + np.where(known, value, 0)
    positive, negative, hit, alarm = sums.values()
    estimable = positive > 0
    decided, passed = hit + alarm, positive + negative - hit - alarm
    return {
        "f1/micro": _ratio(2 * hit, positive + decided, estimable),
        "sensitivity/micro": _ratio(hit, positive, estimable),
        "specificity/micro": _ratio(negative - alarm, negative, estimable),
        "ppv/micro": _ratio(hit, decided, estimable & (decided > 0)),
        "npv/micro": _ratio(negative - alarm, passed, estimable & (passed > 0)),
    }


def _ratio(part: np.ndarray, whole: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid, part / np.where(valid, whole, 1), np.nan)


class _Ranking:
    """The slices of one label in the order of their probability, to be weighted again and again."""

    def __init__(self, targets: np.ndarray, probabilities: np.ndarray, patient_of: np.ndarray) -> None:
        order = np.argsort(probabilities, kind="stable")
        self._patient_of = patient_of[order]
        self._positive = targets[order].astype(np.float32)
        ranked = probabilities[order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self._has_ties = len(self._starts) < len(ranked)

    def auc_and_precision(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUC (ties count one half) and average precision, each [b], of patient weights [b, P]."""
        slices = weights[:, self._patient_of]
        positive = slices * self._positive
        negative = slices - positive
        if self._has_ties:
            positive = np.add.reduceat(positive, self._starts, axis=1)
            negative = np.add.reduceat(negative, self._starts, axis=1)
        # float32 holds whole numbers to 16 million exactly; products are summed in float64
        below = np.cumsum(negative, axis=1)
        positives, negatives = positive.sum(axis=1, dtype=np.float64), below[:, -1].astype(np.float64)
        estimable = (positives > 0) & (negatives > 0)
        won = np.einsum("bn,bn->b", positive, below - negative / 2, dtype=np.float64, casting="same_kind")
        auc = _ratio(won, positives * negatives, estimable)
        false_alarms = negatives[:, None] - below + negative
        hits = positives[:, None] - np.cumsum(positive, axis=1) + positive
        decided = hits + false_alarms
        precision = np.where(decided > 0, hits / np.where(decided > 0, decided, 1), 0)
        gained = np.einsum("bn,bn->b", positive, precision, dtype=np.float64, casting="same_kind")
        return auc, _ratio(gained, positives, estimable)
