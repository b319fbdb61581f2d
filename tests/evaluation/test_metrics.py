from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.evaluation import assess, intervals, metrics, scores
from ich_mlflow.evaluation.assess import Predictions, difference
from ich_mlflow.evaluation.counts import Counts, ratio
from ich_mlflow.evaluation.metric import DECISION, NEGATIVES, PROBABILITY, RANKING, Metric
from ich_mlflow.evaluation.metrics import JOINT_METRICS, METRICS, metric_named, of_group


def test_every_metric_has_a_name_of_its_own_and_is_in_one_table_of_the_report():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    grouped = [metric.name for group in (RANKING, DECISION, PROBABILITY) for metric in of_group(group)]
    assert sorted(grouped) == sorted(names)
    assert len({metric.full_name for metric in JOINT_METRICS}) == len(JOINT_METRICS)


def test_a_record_is_found_by_its_name():
    assert metric_named("ppv").title == "PPV"
    assert metric_named("log_loss").digits == 3
    with pytest.raises(ValueError, match=r"metric is 'mcc', expected one of .*auc"):
        metric_named("mcc")


def test_counts_by_hand():
    # of 5 positives 4 were found, of 10 negatives 3 were taken for one
    counts = Counts(num_positive=5, num_negative=10, true_positive=4, false_positive=3)
    assert (counts.true_negative, counts.false_negative) == (7, 1)
    assert (counts.decided_positive, counts.decided_negative) == (7, 8)
    assert counts.has_both_classes


def test_a_ratio_of_nothing_is_unknown():
    np.testing.assert_array_equal(ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])), [0.25, np.nan])


def test_a_metric_without_a_resampled_form_has_a_value_and_no_interval(monkeypatch):
    told = Metric(name="told", title="told", group=DECISION, scalar=lambda rows: 0.5, compared=True)
    for module in (intervals, metrics, scores):
        monkeypatch.setattr(module, "METRICS", (*METRICS, told))
    model = Predictions(
        labels=("subdural",),
        targets=np.tile([True, False], 10)[:, None],
        probabilities=np.tile([0.9, 0.1], 10)[:, None],
        thresholds=np.array([0.5]),
        patients=np.repeat(np.arange(10), 2),
    )
    found = assess.assess(model, num_resamples=20)
    assert found.values["told/subdural"] == found.values["told/macro"] == found.values["told/micro"] == 0.5
    assert found.has_interval("f1/subdural")
    assert not found.has_interval("told/subdural")
    table = difference(model, model, num_resamples=20).set_index(["metric", "label"])
    assert table.loc[("told", "subdural"), "difference"] == 0
    assert np.isnan(table.loc[("told", "subdural"), "low"])
    with pytest.raises(ValueError, match="told has no resampled form"):
        told.samples(Counts(num_positive=1, num_negative=1, true_positive=1, false_positive=0))


def test_a_metric_that_needs_both_classes_is_not_asked_without_one():
    def refuse(rows):
        raise AssertionError("asked")

    metric = Metric(name="x", title="x", group=PROBABILITY, scalar=refuse)
    rows = scores.LabelRows.of(
        targets=np.zeros(3, bool), scores=np.zeros(3), probabilities=np.zeros(3), decisions=np.zeros(3, bool)
    )
    assert np.isnan(metric.value(rows))
    with pytest.raises(AssertionError, match="asked"):
        replace(metric, taken_over=NEGATIVES).value(rows)
