import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def held():
    """Of 400 simulated data sets of 50 patients, the share whose interval holds the truth."""
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.coverage(50, num_data_sets=400, num_resamples=400, seed=1)


@pytest.mark.parametrize("metric", ["auc/any", "sensitivity/any", "specificity/any", "brier/any"])
def test_a_95_percent_interval_holds_the_truth_92_to_97_times_in_100(held, metric):
    assert 0.92 <= held[metric] <= 0.97
