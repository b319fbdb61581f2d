"""The metrics: one record each, and all that shows a metric follows from its record: values, means, intervals, names in
MLflow, columns of the report. docs/adding/metric.md adds one.
"""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ich_mlflow.evaluation.calibration import NUM_BINS, bin_of, expected_calibration_error
from ich_mlflow.evaluation.counts import Counts, LabelRows, Number, ratio
from ich_mlflow.evaluation.log_loss import cross_entropy, has_all_subtypes, rsna_log_loss, with_any
from ich_mlflow.evaluation.metric import (
    DECISION,
    PROBABILITY,
    RANKING,
    AllRows,
    Group,
    JointMetric,
    Metric,
)

#: Means of all labels, where a label stands in names and tables.
MACRO, MICRO = "macro", "micro"


def _f1(counts: Counts) -> Number:
    return ratio(2 * counts.true_positive, counts.num_positive + counts.decided_positive)


def _sensitivity(counts: Counts) -> Number:
    return ratio(counts.true_positive, counts.num_positive)


def _ppv(counts: Counts) -> Number:
    return ratio(counts.true_positive, counts.decided_positive)


def _npv(counts: Counts) -> Number:
    return ratio(counts.true_negative, counts.decided_negative)


def _gaps(rows: LabelRows) -> np.ndarray:
    """Probability minus target [15, N], each in the row of its bin: of a calibrated model each row sums to 0."""
    bins = np.arange(NUM_BINS)[:, None]
    return np.where(bin_of(rows.probabilities) == bins, rows.probabilities - rows.targets, 0.0)


#: In the order of the tables. A label without positives or without negatives flatters a Brier score and a calibration
#: error; scikit-learn warns of it and gives 0, 1 or NaN, which differs from metric to metric.
METRICS = (
    Metric(
        name="auc",
        title="AUC",
        group=RANKING,
        scalar=lambda rows: roc_auc_score(rows.targets, rows.probabilities),
        resampled=lambda sums: sums.ranked.auc,
        compared=True,
    ),
    Metric(
        name="average_precision",
        title="average precision",
        group=RANKING,
        scalar=lambda rows: average_precision_score(rows.targets, rows.probabilities),
        resampled=lambda sums: sums.ranked.average_precision,
        compared=True,
    ),
    Metric(name="f1", title="F1", group=DECISION, scalar=_f1, resampled=_f1, compared=True),
    Metric(
        name="sensitivity",
        title="sensitivity",
        group=DECISION,
        scalar=_sensitivity,
        resampled=_sensitivity,
        compared=True,
        needs_both_classes=False,
    ),
    Metric(
        name="specificity",
        title="specificity",
        group=DECISION,
        scalar=lambda rows: 1 - ratio(rows.false_positive, rows.num_negative),
        resampled=lambda counts: ratio(counts.true_negative, counts.num_negative),
        compared=True,
        needs_both_classes=False,
    ),
    Metric(name="ppv", title="PPV", group=DECISION, scalar=_ppv, resampled=_ppv),
    Metric(name="npv", title="NPV", group=DECISION, scalar=_npv, resampled=_npv),
    # Brier, Monthly Weather Review 78, 1950
    Metric(
        name="brier",
        title="Brier score",
        group=PROBABILITY,
        scalar=lambda rows: np.mean((rows.probabilities - rows.targets) ** 2),
        addends=lambda rows: (rows.probabilities - rows.targets)[None] ** 2,
        resampled=lambda sums: ratio(sums.added["brier"][0], sums.num_positive + sums.num_negative),
    ),
    Metric(
        name="ece",
        title="calibration error",
        group=PROBABILITY,
        scalar=lambda rows: expected_calibration_error(rows.targets, rows.probabilities),
        addends=_gaps,
        resampled=lambda sums: ratio(
            np.abs(sums.added["ece"]).sum(axis=0), sums.num_positive + sums.num_negative
        ),
    ),
)


def _rsna(rows: AllRows) -> float:
    """The RSNA 2019 challenge's loss; with five labels the probability of `any` is their highest; NaN for four."""
    if not has_all_subtypes(rows.labels):
        return float("nan")
    return rsna_log_loss(with_any(rows.targets, rows.labels), with_any(rows.probabilities, rows.labels))


#: Accuracy is high for any rare label: read it last.
JOINT_METRICS = (
    JointMetric(
        name="accuracy",
        kind="exact_match",
        title="accuracy",
        meaning="exact match: every label right",
        scalar=lambda rows: (rows.decisions == rows.targets).all(axis=1).mean(),
        by_row=lambda rows: (rows.decisions == rows.targets).all(axis=1),
    ),
    JointMetric(
        name="accuracy",
        kind="mean",
        title="accuracy",
        meaning="share of all decisions that are right",
        scalar=lambda rows: (rows.decisions == rows.targets).mean(),
        by_row=lambda rows: (rows.decisions == rows.targets).mean(axis=1),
    ),
    JointMetric(
        name="log_loss",
        kind="mean",
        title="log loss",
        meaning="log loss, mean over labels (nats)",
        scalar=lambda rows: cross_entropy(rows.targets, rows.probabilities).mean(),
        by_row=lambda rows: cross_entropy(rows.targets, rows.probabilities).mean(axis=1),
        digits=3,
    ),
    JointMetric(
        name="log_loss",
        kind="rsna",
        title="log loss",
        meaning="RSNA 2019 weighted log loss",
        scalar=_rsna,
        digits=3,
    ),
)


#: Names of the metrics that runs are compared by.
COMPARED = tuple(metric.name for metric in METRICS if metric.compared)


def of_group(group: Group) -> tuple[Metric, ...]:
    """The metrics of a group, in the order of the table."""
    return tuple(metric for metric in METRICS if metric.group == group)


def metric_named(name: str) -> Metric | JointMetric:
    """The record of a name such as `auc` or `log_loss`. Raises ValueError for another."""
    found = {metric.name: metric for metric in (*JOINT_METRICS, *METRICS)}
    if name not in found:
        raise ValueError(f"metric is {name!r}, expected one of {', '.join(found)}")
    return found[name]


def rows_of(labels: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every (metric, label) that tables have a row for, with the means and what is of all labels together."""
    each = [(metric.name, label) for metric in METRICS for label in (*labels, MACRO, MICRO)]
    return each + [(metric.name, metric.kind) for metric in JOINT_METRICS]
