"""Several models beside each other: AUCs, differences and their intervals worked by hand."""

import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess, difference, paired
from ich_mlflow.evaluation.comparison import (
    BASELINE,
    BETTER,
    COLUMNS,
    NO_INTERVAL,
    NOT_ESTIMABLE,
    OPEN,
    WORSE,
    comparison_table,
    lead,
    shared_labels,
    verdict,
)
from ich_mlflow.evaluation.metrics import COMPARED
from ich_mlflow.labels import ANY

NAN = float("nan")
LABELS = ("subarachnoid", "subdural", ANY)
#: 40 patients: every second one has subarachnoid blood, every fourth subdural, so every second any.
TARGETS = np.column_stack([np.arange(40) % 2 == 0, np.arange(40) % 4 == 0, np.arange(40) % 2 == 0])


def assessed(scores, *, targets=TARGETS, labels=LABELS):
    """Of as many patients as there are rows."""
    scores = np.asarray(scores, dtype=float)
    predictions = Predictions(
        labels=labels,
        targets=targets,
        probabilities=scores,
        thresholds=np.full(len(labels), 0.5),
        patients=np.arange(len(targets)),
    )
    return assess(predictions, num_resamples=200)


PERFECT = assessed(np.where(TARGETS, 0.9, 0.1))
CONSTANT = assessed(np.full(TARGETS.shape, 0.3))
#: Wrong about every patient.
INVERSE = assessed(np.where(TARGETS, 0.1, 0.9))
MODELS = {"constant": CONSTANT, "perfect": PERFECT, "inverse": INVERSE}


def rows(table, metric, label):
    return table[(table["metric"] == metric) & (table["label"] == label)].set_index("model")


def test_each_model_stands_beside_its_difference_from_the_baseline():
    table = comparison_table(MODELS, baseline="constant")
    assert tuple(table.columns) == COLUMNS
    auc = rows(table, "auc", ANY)
    assert list(auc.index) == list(MODELS)
    # who says the same of all has an AUC of one half, who separates them 1, who is always wrong 0
    assert auc["value"].tolist() == [0.5, 1.0, 0.0]
    assert auc["difference"].tolist() == [0.0, 0.5, -0.5]
    assert auc["said"].tolist() == [BASELINE, BETTER, WORSE]
    assert auc.loc["constant", ["difference_low", "difference_high"]].isna().all()
    # resamples that never differ say no more than what none of 20 patients showed: 1 - .025^(1/20)
    assert auc.loc["perfect", "difference_low"] == pytest.approx(0.5 - 0.1684, abs=1e-4)
    assert auc.loc["inverse", "difference_high"] == pytest.approx(-0.5 + 0.1684, abs=1e-4)
    # the mean of the two subtypes, of which subdural has ten patients: 1 - .025^(1/10)
    macro = rows(table, "auc", "macro")
    assert macro.loc["perfect", "difference_low"] == pytest.approx(0.5 - 0.3085, abs=1e-4)
    sensitivity = rows(table, "sensitivity", ANY)
    assert sensitivity["value"].tolist() == [0.0, 1.0, 0.0]
    assert sensitivity.loc["inverse", "said"] == OPEN


def test_the_baseline_may_be_any_of_them_and_signs_turn():
    auc = rows(comparison_table(MODELS, baseline="perfect"), "auc", "subdural")
    assert auc["difference"].tolist() == [-0.5, 0.0, -1.0]
    assert auc["said"].tolist() == [WORSE, BASELINE, WORSE]


def test_the_table_has_what_runs_are_compared_by_and_models_side_by_side():
    table = comparison_table(MODELS, baseline="constant")
    assert list(dict.fromkeys(table["metric"])) == list(COMPARED)
    assert list(dict.fromkeys(table["label"])) == [*LABELS, "macro"]
    assert table["model"].tolist() == [*MODELS] * (len(table) // 3)
    assert set(table["unit"]) == {"slices"}


def test_what_was_assessed_is_compared_without_another_resample_and_to_the_same_numbers():
    rng = np.random.default_rng(0)
    good, bad = (assessed(np.clip(TARGETS + rng.normal(0, spread, TARGETS.shape), 0, 1)) for spread in (1, 2))
    again = difference(good.predictions, bad.predictions, num_resamples=200)
    assert again.equals(paired(good, bad))


def test_other_labels_or_rows_can_not_be_compared():
    others = assessed(np.full((40, 1), 0.3), targets=TARGETS[:, :1], labels=LABELS[:1])
    fewer = assessed(np.full((39, 3), 0.3), targets=TARGETS[:39])
    for other in (others, fewer):
        with pytest.raises(ValueError, match="not scored on the same rows"):
            paired(PERFECT, other)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.1, 0.05, 0.15), BETTER),
        ((-0.1, -0.15, -0.05), WORSE),
        ((0.1, -0.05, 0.25), OPEN),
        ((0.1, 0.0, 0.2), OPEN),
        ((0.1, NAN, NAN), NO_INTERVAL),
        ((NAN, NAN, NAN), NOT_ESTIMABLE),
    ],
)
def test_whether_an_interval_excludes_zero_in_words(ends, expected):
    assert verdict(*ends) == expected


def test_of_a_loss_less_is_better():
    assert verdict(-0.1, -0.15, -0.05, lowest_is_best=True) == BETTER
    assert verdict(0.1, 0.05, 0.15, lowest_is_best=True) == WORSE


def test_who_is_ahead_over_whom_comes_next():
    found = lead(MODELS)
    assert (found.best, found.value, found.next, found.next_value) == ("perfect", 1.0, "constant", 0.5)
    assert found.difference == 0.5
    assert found.low == pytest.approx(0.5 - 0.1684, abs=1e-4)
    assert found.is_sure


def test_equal_models_are_told_apart_by_nothing():
    found = lead({"first": PERFECT, "second": PERFECT})
    assert (found.best, found.next, found.difference, found.is_sure) == ("first", "second", 0.0, False)


def test_nobody_is_ahead_in_a_label_that_nobody_has():
    targets = np.zeros_like(TARGETS)
    nobody = assessed(np.full(targets.shape, 0.3), targets=targets)
    assert lead({"a": nobody, "b": nobody}) is None
    found = comparison_table({"a": nobody, "b": nobody}, baseline="a")
    assert rows(found, "auc", ANY).loc["b", "said"] == NOT_ESTIMABLE


def test_labels_that_all_have():
    assert shared_labels([LABELS, ("subdural", ANY), (ANY, "subdural", "epidural")]) == ("subdural", ANY)
    assert shared_labels([("subdural",), ("epidural",)]) == ()
