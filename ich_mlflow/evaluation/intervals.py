"""Intervals of slice metrics: whole patients are drawn again, since slices of a patient are not independent.

No resample is ever built (weighted.py says how), so 2,000 of 100,000 slices take seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.evaluation.counts import Counts, ratio
from ich_mlflow.evaluation.interval import Interval
from ich_mlflow.evaluation.metric import AllRows
from ich_mlflow.evaluation.metrics import JOINT_METRICS, MACRO, METRICS, MICRO, metric_named
from ich_mlflow.evaluation.t_interval import t_difference, t_interval
from ich_mlflow.evaluation.weighted import LabelSums, Ranking
from ich_mlflow.labels import ANY

NUM_RESAMPLES = 2000
#: Weights held at a time: resamples x slices.
_CHUNK = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Metrics over resamples of the patients, by metric name, as SliceMetrics.as_metrics names it without prefix.

    There is none of a metric without a resampled form, nor of a micro value whose group has none. Two models resampled
    with the same seed and patients are paired.

    samples: float64 [num_resamples]; NaN in a resample that can't tell.
    values: of the patients as they are, each once.
    num_patients: how many patients stand behind it: of those with a positive and those with a negative the fewer, or of
        the kind that the metric is taken over; behind a mean, behind the label that has the fewest; all of them behind
        what is of all labels together.
    """

    samples: Mapping[str, np.ndarray]
    values: Mapping[str, float]
    num_patients: Mapping[str, int]

    def interval(self, name: str) -> Interval:
        """The 95 % interval of a metric; UNKNOWN where there is none (t_interval.py)."""
        return t_interval(
            self.values[name],
            self.samples[name],
            num_patients=self.num_patients[name],
            is_share=_is_share(name),
        )

    def difference(self, other: "Resampled", name: str) -> Interval:
        """The interval of self minus other, resample by resample."""
        return t_difference(
            self.values[name] - other.values[name],
            self.samples[name] - other.samples[name],
            num_patients=min(self.num_patients[name], other.num_patients[name]),
            is_share=_is_share(name),
        )


def resample_patients(
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    scores: np.ndarray | None = None,
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
    scores = probabilities if scores is None else checked_arrays(targets, scores, labels)[1]
    rows = AllRows.at(thresholds, targets=targets, scores=scores, probabilities=probabilities, labels=labels)
    sums = {
        name: [np.bincount(patient_of, weights=one, minlength=len(names)) for one in block]
        for name, block in _addends(rows).items()
    }
    rankings = [Ranking(targets[:, i], scores[:, i], patient_of) for i in range(len(labels))]
    once = _drawn(sums, rankings, np.ones((1, len(names)), dtype=np.float32))
    means = _means(labels, once)
    parts = [
        _samples(labels, _drawn(sums, rankings, weights), means)
        for weights in patient_weights(len(names), len(targets), num_resamples, seed)
    ]
    return Resampled(
        samples={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        values={name: value.item() for name, value in _samples(labels, once, means).items()},
        num_patients=_num_patients(labels, targets, patient_of, means),
    )


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


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What was drawn in each of b resamples: sums over the rows by name, float64 [K, b], and those of each label."""

    totals: Mapping[str, np.ndarray]
    each: list[LabelSums]


def _drawn(sums: Mapping[str, list[np.ndarray]], rankings: list[Ranking], weights: np.ndarray) -> _Drawn:
    """Add up the patients' sums [P] with weights [b, P]."""
    totals = {name: np.stack([weights @ one for one in block]) for name, block in sums.items()}
    each = [_label_sums(totals, i, weights, ranking) for i, ranking in enumerate(rankings)]
    return _Drawn(totals=totals, each=each)


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


@dataclass(frozen=True, kw_only=True)
class _Means:
    """Which labels the means are over, bool [L] each: the same ones in every resample.

    Were it those that a resample can tell, a mean would now and then be one of other labels.
    micro: those that the whole set can tell, without any. macro: of each metric that has one, those of which it is a
        number too.
    """

    micro: np.ndarray
    macro: Mapping[str, np.ndarray]


def _means(labels: tuple[str, ...], whole: _Drawn) -> _Means:
    """Of the whole set, as drawn once."""
    estimable = np.array([sums.has_both_classes.item() for sums in whole.each]) & (np.array(labels) != ANY)
    known = {
        metric.name: np.array([not np.isnan(metric.samples(sums)).any() for sums in whole.each])
        for metric in METRICS
        if metric.resampled and metric.has_macro
    }
    return _Means(micro=estimable, macro={name: estimable & each for name, each in known.items()})


def _num_patients(
    labels: tuple[str, ...], targets: np.ndarray, patient_of: np.ndarray, means: _Means
) -> dict[str, int]:
    """How many patients stand behind each metric, by name."""
    by_kind = [{kind: len(np.unique(patient_of[one == kind])) for kind in (True, False)} for one in targets.T]
    everyone = len(np.unique(patient_of))
    found = {joint.full_name: everyone for joint in JOINT_METRICS}
    for metric in METRICS:
        behind = np.array([min(by[kind] for kind in metric.taken_over) for by in by_kind])
        averaged = means.macro.get(metric.name, means.micro)
        found |= {f"{metric.name}/{label}": int(one) for label, one in zip(labels, behind, strict=True)}
        found[f"{metric.name}/{MACRO}"] = int(behind[averaged].min(initial=everyone))
        found[f"{metric.name}/{MICRO}"] = int(behind[means.micro].min(initial=everyone))
    return found


def _is_share(name: str) -> bool:
    joint = {metric.full_name: metric for metric in JOINT_METRICS}
    return (joint.get(name) or metric_named(name.split("/")[0])).is_share


def _samples(labels: tuple[str, ...], drawn: _Drawn, means: _Means) -> dict[str, np.ndarray]:
    """Every metric [b] by its name in MLflow without prefix; a macro mean is NaN where one of its labels is."""
    found = {
        joint.full_name: drawn.totals[joint.full_name][0] / drawn.totals["rows"][0]
        for joint in JOINT_METRICS
        if joint.by_row
    }
    together = _together(drawn.each, means.micro)
    for metric in METRICS:
        if metric.resampled is None:
            continue
        values = np.stack([metric.samples(sums) for sums in drawn.each])
        found |= {f"{metric.name}/{label}": one for label, one in zip(labels, values, strict=True)}
        if metric.has_macro:
            averaged = means.macro[metric.name]
            found[f"{metric.name}/{MACRO}"] = ratio(values[averaged].sum(axis=0), averaged.sum())
        if metric.group.has_micro_interval:
            found[f"{metric.name}/{MICRO}"] = metric.samples(together)
    return found


def _together(each: list[LabelSums], which: np.ndarray) -> Counts:
    """The decisions on the labels bool [L] as if on one."""
    names = ("num_positive", "num_negative", "true_positive", "false_positive")
    return Counts(**{name: which @ np.stack([getattr(one, name) for one in each]) for name in names})
