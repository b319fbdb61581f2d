"""What MLflow is given of figures: by hand, and how much of it."""

import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.evaluation.logged import aucs_said, headline, logged, of_validation
from ich_mlflow.labels import class_scheme

LABELS = ("epidural", "subdural", "any")


def predictions(unit="slices", labels=LABELS):
    """40 patients with a slice each. Every label but the first is ranked without a fault, the first in reverse."""
    targets = np.tile([[True], [False]], (20, len(labels)))
    said = np.where(targets, 0.9, 0.2)
    said[:, 0] = np.where(targets[:, 0], 0.2, 0.9)
    return Predictions(
        labels=labels,
        targets=targets,
        probabilities=said,
        thresholds=np.full(len(labels), 0.5),
        patients=np.arange(40),
        unit=unit,
    )


def test_of_slices_each_subtype_has_its_auc_and_any_and_the_mean_have_every_metric():
    flat = logged(predictions().metrics(), "test", unit="slices")
    assert (flat["test/auc/epidural"], flat["test/auc/subdural"], flat["test/auc/macro"]) == (0.0, 1.0, 0.5)
    # epidural finds none of 20, subdural all
    assert (flat["test/sensitivity/any"], flat["test/sensitivity/macro"]) == (1.0, 0.5)
    assert flat["test/brier/any"] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert flat["test/num_slices"] == 40
    assert not [name for name in flat if "subdural" in name and "auc" not in name]


def test_of_exams_there_are_any_and_the_mean_auc():
    flat = logged(predictions("exams").metrics(), "test/exam", unit="exams")
    assert flat["test/exam/auc/any"] == flat["test/exam/specificity/any"] == 1.0
    assert flat["test/exam/auc/macro"] == 0.5
    assert flat["test/exam/num_exams"] == 40
    assert not [name for name in flat if "epidural" in name or "subdural" in name]


def test_the_figures_that_decide_have_short_names_that_sort_first_and_intervals():
    found = headline(assess(predictions(), num_resamples=50), assess(predictions("exams"), num_resamples=50))
    assert found["any_auc"] == found["any_auc_high"] == found["any_exam_auc"] == 1.0
    # nothing varies over resamples: the exact bound of 20 of 20, 0.025 ** (1 / 20)
    assert found["any_auc_low"] == 0.8316
    assert (found["any_sensitivity"], found["auc_macro"], found["accuracy"]) == (1.0, 0.5, 0.5)
    # of the subtypes one is always right: F1 of 1 and of 0
    assert found["f1_macro"] == 0.5
    assert sorted(found)[:2] == ["accuracy", "any_auc"]
    assert len(found) <= 20


def test_where_only_exams_are_labelled_the_means_are_of_exams():
    found = headline(None, assess(predictions("exams"), num_resamples=50))
    assert "any_auc" not in found
    assert (found["any_exam_auc"], found["auc_macro"]) == (1.0, 0.5)


def test_figures_of_the_validation_split_say_so():
    metrics = predictions().metrics()
    assert of_validation(metrics, metrics) == {
        "any_auc_val": 1.0,
        "any_exam_auc_val": 1.0,
        "auc_macro_val": 0.5,
    }
    assert set(of_validation(None, metrics)) == {"any_exam_auc_val", "auc_macro_val"}


def test_what_cannot_be_told_is_left_out():
    none = predictions()
    none.targets[:] = False
    found = headline(assess(none, num_resamples=50), assess(none, num_resamples=50))
    assert not [name for name in found if "auc" in name]
    assert of_validation(none.metrics(), none.metrics()) == {}
    assert aucs_said(None, assess(none, num_resamples=50)) == {}


def test_aucs_in_words_have_their_intervals():
    slices = assess(predictions(), num_resamples=50)
    said = aucs_said(slices, slices)
    assert said["any_auc"].startswith("1.00 (")
    assert set(said) == {"any_auc", "any_exam_auc", "auc_macro"}


def test_a_run_has_room_for_all_of_it():
    """Of a train run beside them: the curves of an epoch, the machine, and what MLflow says of the system."""
    for scheme in (class_scheme(6), class_scheme(5)):
        both = [predictions(unit, scheme.findings).metrics() for unit in ("slices", "exams")]
        of_splits = [
            logged(one, "val", unit=unit) for one, unit in zip(both, ("slices", "exams"), strict=True)
        ]
        assert sum(map(len, of_splits)) <= 50
