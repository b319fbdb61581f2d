"""The first sentences of a report, by hand-worked numbers."""

from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.stages.evaluate.answer import answers

NUM = 40


def _assessed(scores, *, null=0.5, positives=20, unit=EXAMS):
    """Forty exams of forty patients, the first of which have an epidural bleed, and none a subdural one."""
    has = np.arange(NUM) < positives
    predictions = Predictions(
        labels=("epidural", "subdural", "any"),
        targets=np.column_stack([has, np.zeros(NUM, bool), has]),
        probabilities=np.column_stack([scores, scores, scores]).astype(np.float64),
        thresholds=np.full(3, 0.5),
        patients=np.arange(NUM),
        unit=unit,
    )
    said = np.full((NUM, 3), null)
    if null == "truth":
        said = predictions.targets.astype(np.float64)
    guess = replace(predictions, probabilities=said)
    return assess(predictions, null_models={"position": guess}, num_resamples=200)


def test_a_model_that_is_right_about_all_is_above_the_null_model_and_its_decisions_are_counted():
    ranked = np.where(np.arange(NUM) < 20, 0.9, 0.1)
    # one bleed is missed, and ranked below one exam without: 399 of 400 pairs
    ranked[0], ranked[39] = 0.4, 0.45
    any_bleed, subtypes, decisions = answers(None, _assessed(ranked), rule="max_f1")
    assert any_bleed.startswith(
        "Over exams, 20 with and 20 without a bleed, any bleed has an AUC of 1.00 (0."
    )
    assert any_bleed.endswith(
        "The whole interval lies above 0.50, which the position alone reaches without a look at the image."
    )
    assert subtypes == (
        "Subtypes, by their AUC of exams: told better than by chance: epidural (1.00, 20 patients); too few patients "
        "to say: subdural (0 patients)."
    )
    # the intervals that the tables below have; of a share of 1 it is exact: 0.025 ** (1 / 20) = 0.83
    assert decisions == (
        "By its operating point max_f1 the model finds 19 of 20 exams with a bleed (95 %, 68 to 99) and clears 20 of "
        "20 exams without (100 %, 83 to 100)."
    )


def test_a_model_at_chance_is_open_and_one_behind_the_null_model_is_no_better():
    alternating = np.tile([0.2, 0.6], NUM // 2)
    (said, subtypes, _) = answers(None, _assessed(alternating, null=0.5), rule="max_f1")
    assert "That is no better than 0.50, which the position alone reaches" in said
    assert "open, since the interval holds chance: epidural (0.50, 20 patients)" in subtypes
    slightly = np.where(np.arange(NUM) == 0, 0.6, alternating)
    (said, _, _) = answers(None, _assessed(slightly), rule="max_f1")
    assert "Whether that is more than 0.50, which the position alone reaches" in said
    right = np.linspace(1, 0, NUM)
    (said, _, _) = answers(None, _assessed(right, null="truth"), rule="max_f1")
    assert "That is no better than 1.00" in said


@pytest.mark.parametrize(
    ("positives", "counted"), [(0, "0 with and 40 without"), (40, "40 with and 0 without")]
)
def test_without_both_kinds_nothing_is_claimed(positives, counted):
    said, _, decisions = answers(None, _assessed(np.full(NUM, 0.2), positives=positives), rule="max_f1")
    assert said == (
        f"How well the model tells exams with a bleed from those without can't be said: there are {counted} a bleed."
    )
    assert ("finds" in decisions) == (positives == 40)
    assert ("clears" in decisions) == (positives == 0)


def test_few_patients_have_no_interval_and_slices_are_told_beside_exams():
    ranked = np.linspace(1, 0, NUM)
    exams, slices, _, decisions = answers(
        _assessed(ranked, unit="slices"), _assessed(ranked, positives=2), rule="max_f1"
    )
    assert "1.00 (no interval). That is more than 0.50" in exams
    assert exams.endswith("but there are too few patients to say how sure it is.")
    assert slices.startswith("Over slices, 20 with and 20 without")
    # 2 of 2, exact: 0.025 ** (1 / 2) = 0.158
    assert (
        "finds 2 of 2 exams with a bleed (100 %, 16 to 100) and clears 20 of 38 exams without (53 %"
        in decisions
    )
