"""Intervals of slice metrics: whole patients are drawn again, since slices of a patient are not independent.

No resample is ever built (weighted.py says how), so 2,000 of 100,000 slices take seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.evaluation.counts import Counts, ratio
from ich_mlflow.evaluation.metric import AllRows
from ich_mlflow.evaluation.metrics import JOINT_METRICS, MACRO, METRICS, MICRO
from ich_mlflow.evaluation.weighted import LabelSums, Ranking

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
    resample that can't tell. There is none of a metric without a resampled form, nor of a micro value whose group has
    none. Two models resampled with the same seed and patients are paired.
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
    rows = AllRows.at(thresholds, targets=targets, probabilities=probabilities, labels=labels)
    sums = {
        name: [np.bincount(patient_of, weights=one, minlength=len(names)) for one in block]
        for name, block in _addends(rows).items()
    }
    rankings = [Ranking(targets[:, i], probabilities[:, i], patient_of) for i in range(len(labels))]
    parts: list[dict[str, np.ndarray]] = []
    for weights in patient_weights(len(names), len(targets), num_resamples, seed):
        totals = {name: np.stack([weights @ one for one in block]) for name, block in sums.items()}
        each = [_label_sums(totals, i, weights, ranking) for i, ranking in enumerate(rankings)]
        parts.append(_samples(totals, labels, each))
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


def _addends(rows: AllRows) -> dict[str, np.ndarray]:
    """What adds up over the N rows, [K, N] each: of all labels by name, of the label in place i by `<name>/<i>`."""
    found = {"rows": np.ones((1, len(rows.targets)))}
    found |= {joint.full_name: joint.by_row(rows)[None] for joint in JOINT_METRICS if joint.by_row}
    for i in range(len(rows.labels)):
        label = rows.column(i)
        found[f"num_positive/{i}"] = label.targets[None]
        found[f"true_positive/{i}"] = (label.targets & label.decisions)[None]
        found[f"false_positive/{i}"] = (~label.targets & label.decisions)[None]
        found |= {f"{metric.name}/{i}": metric.addends(label) for metric in METRICS if metric.addends}
    return found


def _label_sums(totals: Mapping[str, np.ndarray], i: int, weights: np.ndarray, ranking: Ranking) -> LabelSums:
    """What the metrics of the label in place i are computed from in each of b resamples; totals [K, b]."""
    positive = totals[f"num_positive/{i}"][0]
    return LabelSums(
        num_positive=positive,
        num_negative=totals["rows"][0] - positive,
        true_positive=totals[f"true_positive/{i}"][0],
        false_positive=totals[f"false_positive/{i}"][0],
        added={metric.name: totals[f"{metric.name}/{i}"] for metric in METRICS if metric.addends},
        weights=weights,
        ranking=ranking,
    )


def _samples(
    totals: Mapping[str, np.ndarray], labels: tuple[str, ...], each: list[LabelSums]
) -> dict[str, np.ndarray]:
    """Every metric [b] by its name in MLflow without prefix."""
    found = {
        joint.full_name: totals[joint.full_name][0] / totals["rows"][0]
        for joint in JOINT_METRICS
        if joint.by_row
    }
    estimable = np.stack([sums.has_both_classes for sums in each])
    together = _together(each)
    for metric in METRICS:
        if metric.resampled is None:
            continue
        values = np.stack([metric.samples(sums) for sums in each])
        found |= {f"{metric.name}/{label}": one for label, one in zip(labels, values, strict=True)}
        counted = estimable & ~np.isnan(values)
        total = np.where(counted, values, 0).sum(axis=0)
        found[f"{metric.name}/{MACRO}"] = ratio(total, counted.sum(axis=0))
        if metric.group.has_micro_interval:
            found[f"{metric.name}/{MICRO}"] = metric.samples(together)
    return found


def _together(each: list[LabelSums]) -> Counts:
    """The decisions of the labels that a resample can tell, as if of one label."""
    names = ("num_positive", "num_negative", "true_positive", "false_positive")
    sums = {
        name: np.sum([np.where(one.has_both_classes, getattr(one, name), 0) for one in each], axis=0)
        for name in names
    }
    return Counts(**sums)
