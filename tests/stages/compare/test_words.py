"""A comparison in words: who is ahead and how sure that is, by intervals worked by hand; and its few metrics."""

import numpy as np
import pytest

from ich_mlflow.evaluation.comparison import Lead, comparison_table, lead
from ich_mlflow.labels import ANY
from ich_mlflow.stages.compare.metrics import MAX_METRICS, metrics_of
from ich_mlflow.stages.compare.words import (
    answer,
    glance_table,
    in_order,
    metric_table,
    not_corrected,
    terminal_table,
)
from tests.evaluation.test_comparison import CONSTANT, MODELS, PERFECT, TARGETS, assessed

NAN = float("nan")


def said(*, value=0.95, next_value=0.93, low, high):
    return answer(
        Lead(
            label=ANY,
            unit="slices",
            best="b",
            value=value,
            next="a",
            next_value=next_value,
            low=low,
            high=high,
        )
    )


def test_who_is_ahead_by_how_much_and_how_sure():
    assert said(low=0.01, high=0.03) == (
        "b is ahead in any bleed: AUC of slices 0.950 against 0.930 of a, a difference of 0.020 (0.010 to 0.030). The "
        "interval, 95 % and paired by patient, excludes zero."
    )
    assert said(low=-0.01, high=0.05).endswith("includes zero, so which of the two is better is open.")
    assert said(low=0.0, high=0.04).endswith("includes zero, so which of the two is better is open.")
    assert "too few patients for an interval" in said(low=NAN, high=NAN)
    assert said(next_value=0.95, low=-0.1, high=0.1) == "b and a are equal in any bleed: AUC of slices 0.95."
    assert answer(None).startswith("Any bleed is not estimable")


def test_the_answer_of_three_models():
    assert answer(lead(MODELS)).startswith(
        "perfect is ahead in any bleed: AUC of slices 1.000 against 0.500 of constant, a difference of 0.500 (0.332 to "
    )


def test_it_is_said_how_many_are_compared_without_a_correction():
    assert not_corrected(2, "a") == "Intervals are not corrected for the number of labels and metrics."
    assert not_corrected(4, "a").startswith(
        "3 models are compared with a. Intervals are not corrected for that"
    )
    assert "the highest of 4" in not_corrected(4, "a")


def test_tables_begin_with_any_bleed_and_say_what_the_interval_says():
    table = comparison_table(MODELS, baseline="constant")
    assert in_order(table, "auc")["label"].tolist()[::3] == [ANY, "macro", "subarachnoid", "subdural"]
    rows = metric_table(table, "auc", unit="slices", baseline="constant").rows
    assert [*rows[0][:2], *rows[0][3:]] == ["any bleed", "constant", "", "baseline"]
    assert rows[1][0::4] == ["any bleed", "better: excludes 0"]
    assert rows[2][3:] == ["-0.500 (-0.668 to -0.332)", "worse: excludes 0"]
    glance = glance_table(table, [*MODELS], unit="slices", baseline="constant").rows
    assert [row[0] for row in glance] == [*MODELS]
    assert glance[1][-2:] == ["0.500 (0.332 to 0.668)", "better: excludes 0"]


def test_the_terminals_table_is_a_line_a_model_and_survives_what_is_not_estimable():
    nobody = assessed(np.full(TARGETS.shape, 0.3), targets=np.zeros_like(TARGETS))
    models = {"a": nobody, "b": nobody}
    table = comparison_table(models, baseline="a")
    head, *lines = terminal_table({"slices": table, "exams": table}, [*models]).splitlines()
    assert "AUC any, slices" in head
    assert "AUC any, exams" in head
    assert len(lines) == 2
    assert lines[1].count("not estimable") >= 3


def test_metrics_are_few_and_any_bleed_comes_first():
    found = metrics_of({"slices": {"m v1": PERFECT, "n (2)": CONSTANT}}, baseline="m v1")
    assert found["any_auc/m v1"] == 1.0
    assert found["any_auc_difference/n _2_"] == pytest.approx(-0.5)
    assert found["any_specificity/n _2_"] == 1.0
    assert next(iter(found)) == "any_auc/m v1"
    ten = {f"m v{i}": PERFECT for i in range(10)}
    found = metrics_of({"slices": ten, "exams": ten}, baseline="m v0")
    assert len(found) == 19 <= MAX_METRICS
    assert {name.split("/")[0] for name in found} == {"any_auc", "any_auc_difference"}


def test_of_exams_alone_they_are_called_so():
    found = metrics_of({"exams": {"a": PERFECT, "b": CONSTANT}}, baseline="a")
    assert {name.split("/")[0] for name in found} >= {
        "exam_any_auc",
        "exam_any_auc_difference",
        "exam_macro_auc",
    }
    assert all(name.startswith("exam_") for name in found)
