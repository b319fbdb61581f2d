import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.labels import ANY
from ich_mlflow.stages.promote.measured import (
    aucs_without_intervals,
    compare,
    not_estimable,
    over_null_models,
)

LABELS = ("subarachnoid", "subdural", ANY)


def predictions(scores, targets, *, labels=LABELS, unit="slices"):
    """Of as many patients as there are rows."""
    scores, targets = np.asarray(scores, dtype=float), np.asarray(targets, dtype=bool)
    return Predictions(
        labels=labels,
        targets=targets,
        probabilities=scores,
        thresholds=np.full(len(labels), 0.5),
        patients=np.arange(len(targets)),
        unit=unit,
    )


#: 40 patients: every second one has subarachnoid blood, every fourth subdural, so every second any.
TARGETS = np.column_stack([np.arange(40) % 2 == 0, np.arange(40) % 4 == 0, np.arange(40) % 2 == 0])
PERFECT = predictions(np.where(TARGETS, 0.9, 0.1), TARGETS)
CONSTANT = predictions(np.full(TARGETS.shape, 0.3), TARGETS)


def test_auc_of_each_subtype_of_any_and_the_mean_beside_the_champions():
    found = compare(PERFECT, CONSTANT, num_resamples=100)
    assert found.unit == "slices"
    # who says the same of all has an AUC of one half, who separates them of 1, in every resample
    assert {label: (one.candidate, one.other) for label, one in found.subtypes.items()} == {
        "subarachnoid": (1.0, 0.5), "subdural": (1.0, 0.5),
    }  # fmt: skip
    # resamples that never differ say no more than what none of 20, or of 10, patients showed: 1 - .025^(1/n)
    assert (found.auc(ANY).low, found.mean.low) == pytest.approx((0.5 - 0.1684, 0.5 - 0.3085), abs=1e-4)
    assert found.mean.without == ()


def test_brier_skill_is_of_any_and_the_mean():
    # errors of 0.1: 0.01; the share of positives said of all: 1/2 * 1/2, and 1/4 * 3/4
    found = compare(PERFECT, CONSTANT, num_resamples=100).skill
    assert list(found) == ["any of slices", "mean of slices"]
    assert found["any of slices"].candidate == pytest.approx(1 - 0.01 / 0.25)
    assert found["mean of slices"].candidate == pytest.approx(1 - (0.01 / 0.25 + 0.01 / 0.1875) / 2)


def test_the_mean_is_without_a_label_that_has_no_interval_and_says_so():
    """One patient of 40 with subdural blood is too few."""
    targets = TARGETS.copy()
    targets[1:, 1] = False
    few = predictions(np.where(targets, 0.9, 0.1), targets)
    found = compare(few, predictions(np.full(targets.shape, 0.3), targets), num_resamples=100)
    assert np.isnan(found.subtypes["subdural"].low)
    assert (found.mean.candidate, found.mean.other) == (1.0, 0.5)
    assert found.mean.low == pytest.approx(0.5 - 0.1684, abs=1e-4)
    assert found.mean.without == ("subdural",)


def test_null_models_are_compared_one_by_one_and_what_has_no_figure_is_none():
    targets = np.column_stack([TARGETS[:, 0], np.zeros(40, bool), TARGETS[:, 0]])
    mine = predictions(np.where(targets, 0.9, 0.1), targets, unit=EXAMS)
    nulls = {"prevalence": predictions(np.full(targets.shape, 0.3), targets, unit=EXAMS)}
    found = over_null_models(mine, nulls, num_resamples=100)
    assert [(one.of, one.null_model) for one in found] == [
        ("any of exams", "prevalence"), ("mean of exams", "prevalence"),
    ]  # fmt: skip
    assert [one.compared.low for one in found] == pytest.approx([0.5 - 0.1684] * 2, abs=1e-4)
    assert not_estimable([assess(mine, num_resamples=100)]) == ["subdural of exams"]
    none = predictions(mine.probabilities, np.zeros_like(targets), unit=EXAMS)
    assert [one.compared for one in over_null_models(none, {"prevalence": none}, num_resamples=100)] == [
        None, None,
    ]  # fmt: skip


def test_at_home_aucs_are_compared_without_intervals():
    found = aucs_without_intervals(CONSTANT, PERFECT)
    assert {name: one.difference for name, one in found.items()} == {"any": -0.5, "mean": -0.5}
    bleeding = predictions(np.full((40, 3), 0.3), np.ones((40, 3)))
    assert aucs_without_intervals(bleeding, bleeding) == {}
