"""What benchmarks promise that no run of minutes is needed to see."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.errors import DataError


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
    # How many of the negatives 0.95, 0.75, 0.9, 0.1, 0.1, 0.1 each positive is above, a tie as half.
    assert found.auc == pytest.approx((4.5 + 4 + 3 + 3) / 24)
    with pytest.raises(DataError, match="expected some of both"):
        false_alarms(outputs[:5], labels, subtypes[:5], patients[:5], sensitivity=0.75)
