"""What benchmarks promise that no run of minutes is needed to see."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest


@pytest.fixture
def starts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import starts

    yield starts
    for name in ("starts", "cross_validation"):
        sys.modules.pop(name, None)


def test_results_of_another_recipe_are_not_taken_for_those_that_are_asked_for(starts):
    usual = Namespace(warmup_epochs=starts.WARMUP_EPOCHS, learning_rate=starts.LEARNING_RATE)
    faster = Namespace(warmup_epochs=starts.WARMUP_EPOCHS, learning_rate=1e-3)
    shorter = Namespace(warmup_epochs=1, learning_rate=starts.LEARNING_RATE)
    assert len({starts.kept_as(one, "random") for one in (usual, faster, shorter)}) == 3
    # The probe has no such options.
    assert starts.kept_as(usual, starts.PROBE) == starts.kept_as(faster, starts.PROBE)
