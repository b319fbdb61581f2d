"""What benchmarks promise that no run of minutes is needed to see."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import abstention, factorial, robustness
from ich_mlflow.errors import DataError
from ich_mlflow.stages.common.scoring import load_model


@pytest.fixture
def starts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import starts

    yield starts
    for name in ("starts", "cross_validation"):
        sys.modules.pop(name, None)


def test_results_of_another_recipe_are_not_taken_for_those_that_are_asked_for(starts):
    usual = Namespace(frozen_epochs=starts.WARMUP_EPOCHS, learning_rate=starts.LEARNING_RATE)
    faster = Namespace(frozen_epochs=starts.WARMUP_EPOCHS, learning_rate=1e-3)
    shorter = Namespace(frozen_epochs=1, learning_rate=starts.LEARNING_RATE)
    assert len({starts.kept_as(one, "random") for one in (usual, faster, shorter)}) == 3
    # The probe has no such options.
    assert starts.kept_as(usual, starts.PROBE) == starts.kept_as(faster, starts.PROBE)


def test_a_value_counts_as_reached_by_the_first_complete_trial_that_has_it(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import tune

    trials = pd.DataFrame(
        {
            "state": ["complete", "pruned", "complete", "complete"],
            "value": [0.7, 0.9, 0.85, 0.95],
            "steps": [4, 1, 4, 4],
            "started": [0.0, 10.0, 12.0, 30.0],
            "ended": [10.0, 12.0, 30.0, 50.0],
        }
    )
    # the pruned one was at 0.9 for a moment, which is no result
    assert tune.reached(trials, 0.8) == tune.Reached(3, 9, 30.0)
    assert tune.reached(trials, 0.99) == tune.Reached(None, None, None)
    assert tune.median([3, None, 5]) == 5
    sys.modules.pop("tune")


def test_changes_of_a_slice_by_hand():
    hu = np.full((1, 9, 9), -1000, np.int16)
    hu[0, 4, 1:8] = 40
    rng = np.random.default_rng(0)
    changed = {name: change(hu, rng) for name, change in robustness.CHANGES.items()}
    assert all(one.dtype == np.int16 and one.shape == hu.shape for one in changed.values())
    assert changed["+5 HU"][0, 4].tolist() == [-1000, *[45] * 7, -1000]
    assert changed["-5 HU"][0, 4, 4] == 35
    # 1 / sqrt(2 pi) of the bar lies in its own row: -1000 + 0.399 * 1040
    assert changed["blur of 1 pixel"][0, 4, 4] == pytest.approx(-585, abs=3)
    assert changed["noise of 5 HU"].min() >= -1024
    # three pixels to the right of the middle, 15 degrees are 0.78 pixels up, and down the other way
    up, down = changed["roll of 15 degrees"][0, :, 7], changed["roll of -15 degrees"][0, :, 7]
    assert (up.argmax(), down.argmax()) == (3, 5)


def test_the_row_counts_flips_of_any_and_of_all_findings():
    before = np.array([[0.1, 0.2], [0.1, 0.6], [0.9, 0.9], [0.1, 0.4]])
    after = np.array([[0.1, 0.7], [0.1, 0.4], [0.4, 0.9], [0.1, 0.4]])
    row = robustness.row_of("x", before, after, np.array([0.5, 0.5]), any_at=1)
    # any flips in the first two of four, another finding in the third; moves of 0.5, 0.2, 0 and 0
    assert row.startswith("| x | 0.50 (0.07 to 0.93) | 1, 1 | 0.75 | 0.100 |")


def test_robustness_is_told_of_any_stored_set_without_labels(trained, stored_set):
    rows = stored_set.rows("test")
    lines = robustness.report(load_model(trained.serving_uri).classifier, stored_set, rows)
    exams = stored_set.table.iloc[rows]["study_uid"].nunique()
    assert lines[0].startswith(f"{exams} exams, ")
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {name}" for name in robustness.CHANGES]


def test_false_alarms_are_counted_on_patients_without_a_bleed_by_the_subtype_that_stands_out():
    from benchmarks.phantom_false_alarms import false_alarms

    labels = ("epidural", "subdural")
    # Patient a bleeds on four of five slices, b never.
    patients = np.array(["a"] * 5 + ["b"] * 5)
    subtypes = np.zeros((10, 5), np.uint8)
    subtypes[:4, 4] = 1
    subdural = [0.9, 0.8, 0.7, 0.2, 0.95, 0.75, 0.6, 0.1, 0.1, 0.1]
    epidural = [0.0, 0.0, 0.0, 0.0, 0.00, 0.01, 0.9, 0.01, 0.01, 0.01]
    outputs = np.column_stack([epidural, subdural])
    found = false_alarms(outputs, labels, subtypes, patients, sensitivity=0.75)
    # Three of four are found at 0.7. Of b's slices 0.75 and 0.9 reach it; a's own 0.95 is of a patient who bleeds.
    assert found.alarms == {"any": 2, "epidural": 1, "subdural": 1}
    assert (found.slices, found.patients) == (5, 1)
    # Above how many of 0.95, 0.75, 0.9, 0.1, 0.1, 0.1, the negatives, 0.9, 0.8, 0.7 and 0.2 are; a tie is half.
    assert found.auc == pytest.approx((4.5 + 4 + 3 + 3) / 24)
    with pytest.raises(DataError, match="expected some of both"):
        false_alarms(outputs[:5], labels, subtypes[:5], patients[:5], sensitivity=0.75)


def test_each_part_of_the_factorial_is_on_in_half_of_the_first_eight_and_even_in_every_other():
    first = np.array([[2 * one.on[part] - 1 for part in factorial.PARTS] for one in factorial.design(0)])
    assert (first.T @ first == 8 * np.eye(7)).all()
    assert (first.sum(axis=0) == 0).all()
    both = [*factorial.design(0), *factorial.design(1)]
    assert len({tuple(one.on.values()) for one in both}) == 16
    for one in both:
        assert not one.on["lesion"] or one.on["drawn"] or one.on["phantoms"], one
    rest = [part for part in factorial.PARTS if part != "lesion"]
    second = np.array([[2 * one.on[part] - 1 for part in rest] for one in factorial.design(1)])
    turned = np.array([[1 - 2 * one.on[part] for part in rest] for one in factorial.design(0)])
    assert (second == turned).all()


def test_parts_of_abstention_have_as_many_bleeds_each():
    bleeds = np.arange(50) < 22
    for seed in range(20):
        parts = abstention._parts(bleeds, seed)
        counts = np.bincount(parts[bleeds], minlength=abstention.PARTS)
        assert counts.max() - counts.min() <= 1
        assert 22 - counts.max() >= 19
