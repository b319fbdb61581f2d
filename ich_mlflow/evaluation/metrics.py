"""The metrics: one record each, and all that shows a metric follows from its record: values, means, intervals, names in
MLflow, columns of the report. docs/adding/metric.md adds one.
"""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ich_mlflow.evaluation.calibration import expected_calibration_error
from ich_mlflow.evaluation.calibration_line import (
    intercept,
    intercept_addends,
    resampled_intercept,
    resampled_slope,
    slope,
    slope_addends,
)
from ich_mlflow.evaluation.counts import Counts, LabelRows, Number, ratio
from ich_mlflow.evaluation.log_loss import RSNA_LABELS, cross_entropy, rsna_log_loss
from ich_mlflow.evaluation.metric import (
    DECISION,
    NEGATIVES,
    POSITIVES,
    PROBABILITY,
    RANKING,
    AllRows,
    Group,
    JointMetric,
    Metric,
)

#: Means of the subtypes, where a label stands in names and tables; any is in neither.
MACRO, MICRO = "macro", "micro"


def _f1(counts: Counts) -> Number:
    return ratio(2 * counts.true_positive, counts.num_positive + counts.decided_positive)


def _sensitivity(counts: Counts) -> Number:
    return ratio(counts.true_positive, counts.num_positive)


def _ppv(counts: Counts) -> Number:
    return ratio(counts.true_positive, counts.decided_positive)


def _npv(counts: Counts) -> Number:
    return ratio(counts.true_negative, counts.decided_negative)


def _squared_errors(rows: LabelRows) -> np.ndarray:
    """Of each row, float64 [1, N]."""
    return (rows.probabilities - rows.targets)[None] ** 2


def _share_of_both(counts: Counts) -> Number:
    """The Brier score of the share of positives, said of every row: share times one minus share."""
    return counts.num_positive * counts.num_negative / counts.num_rows**2


#: In the order of the tables. A label without positives or without negatives flatters a Brier score and a calibration
#: error; scikit-learn warns of it and gives 0, 1 or NaN, which differs from metric to metric.
METRICS = (
    Metric(
        name="auc",
        title="AUC",
        group=RANKING,
        scalar=lambda rows: roc_auc_score(rows.targets, rows.scores),
        resampled=lambda sums: sums.ranked.auc,
        compared=True,
    ),
    Metric(
        name="average_precision",
        title="average precision",
        group=RANKING,
        scalar=lambda rows: average_precision_score(rows.targets, rows.scores),
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
        taken_over=POSITIVES,
    ),
    Metric(
        name="specificity",
        title="specificity",
        group=DECISION,
        scalar=lambda rows: 1 - ratio(rows.false_positive, rows.num_negative),
        resampled=lambda counts: ratio(counts.true_negative, counts.num_negative),
        compared=True,
        taken_over=NEGATIVES,
    ),
    Metric(name="ppv", title="PPV", group=DECISION, scalar=_ppv, resampled=_ppv),
    Metric(name="npv", title="NPV", group=DECISION, scalar=_npv, resampled=_npv),
    # Brier, Monthly Weather Review 78, 1950
    Metric(
        name="brier",
        title="Brier score",
        group=PROBABILITY,
        scalar=lambda rows: _squared_errors(rows).mean(),
        addends=_squared_errors,
        resampled=lambda sums: ratio(sums.added["brier"][0], sums.num_rows),
        lowest_is_best=True,
    ),
    # 1 less the Brier score over that of the share of positives here, said of every row: 0 is no better than that.
    # Murphy, Journal of Applied Meteorology 12, 1973
    Metric(
        name="brier_skill",
        title="Brier skill",
        group=PROBABILITY,
        scalar=lambda rows: 1 - _squared_errors(rows).mean() / _share_of_both(rows),
        addends=_squared_errors,
        resampled=lambda sums: 1 - ratio(sums.added["brier_skill"][0] / sums.num_rows, _share_of_both(sums)),
        compared=True,
        is_share=False,
    ),
    Metric(
        name="log_loss",
        title="log loss",
        group=PROBABILITY,
        scalar=lambda rows: np.mean(cross_entropy(rows.targets, rows.probabilities)),
        addends=lambda rows: cross_entropy(rows.targets, rows.probabilities)[None],
        resampled=lambda sums: ratio(sums.added["log_loss"][0], sums.num_rows),
        is_share=False,
        lowest_is_best=True,
    ),
    Metric(
        name="calibration_slope",
        title="calibration slope",
        group=PROBABILITY,
        scalar=slope,
        addends=slope_addends,
        resampled=lambda sums: resampled_slope(sums.added["calibration_slope"], sums.num_rows),
        is_share=False,
        has_macro=False,
    ),
    Metric(
        name="calibration_intercept",
        title="calibration intercept",
        group=PROBABILITY,
        scalar=intercept,
        addends=intercept_addends,
        resampled=lambda sums: resampled_intercept(sums.added["calibration_intercept"], sums.num_rows),
        is_share=False,
        has_macro=False,
    ),
    # No interval: gaps by chance add up too, so that resamples of a perfectly calibrated model never hold its 0.
    Metric(
        name="ece",
        title="calibration error",
        group=PROBABILITY,
        scalar=lambda rows: expected_calibration_error(rows.targets, rows.probabilities),
        lowest_is_best=True,
    ),
)


def _rsna(rows: AllRows) -> float:
    """The RSNA 2019 challenge's loss; NaN without all five subtypes."""
    return rsna_log_loss(rows.targets, rows.probabilities) if rows.labels == RSNA_LABELS else float("nan")


def _losses(rows: AllRows) -> np.ndarray:
    """Of each row the mean cross-entropy over subtypes, float64 [N]; NaN where there is none."""
    subtypes = rows.of_subtypes
    losses = cross_entropy(subtypes.targets, subtypes.probabilities).sum(axis=1)
    return ratio(losses, np.full(len(losses), len(subtypes.labels)))


def _all_right(rows: AllRows) -> np.ndarray:
    """Of each row whether every decision on a subtype is right, float64 [N]; NaN where there is no subtype."""
    return np.floor(_share_right(rows))


def _share_right(rows: AllRows) -> np.ndarray:
    """Of each row the share of the decisions on subtypes that are right, float64 [N]; NaN where there is none."""
    subtypes = rows.of_subtypes
    right = np.equal(subtypes.decisions, subtypes.targets).sum(axis=1)
    return ratio(right, np.full(len(right), len(subtypes.labels)))


#: Accuracy is high for any rare label: read it last.
JOINT_METRICS = (
    JointMetric(
        name="accuracy",
        kind="exact_match",
        title="accuracy",
        meaning="exact match: every subtype right",
        scalar=lambda rows: _all_right(rows).mean(),
        by_row=_all_right,
    ),
    JointMetric(
        name="accuracy",
        kind="mean",
        title="accuracy",
        meaning="share of all decisions on subtypes that are right",
        scalar=lambda rows: _share_right(rows).mean(),
        by_row=_share_right,
    ),
    JointMetric(
        name="log_loss",
        kind="mean",
        title="log loss",
        meaning="log loss, mean over subtypes (nats)",
        scalar=lambda rows: _losses(rows).mean(),
        by_row=_losses,
        is_share=False,
        digits=3,
    ),
    JointMetric(
        name="log_loss",
        kind="rsna",
        title="log loss",
        meaning="RSNA 2019 weighted log loss",
        scalar=_rsna,
        is_share=False,
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
