import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def held(benchmark):
    """Of 100 simulated data sets of slices and of exams, four of ten patients positive: shares that hold the truth."""
    designs = {
        "slices": benchmark.Design(rows=8, patients=2.5, auc=0.85),
        "exams": benchmark.Design(rows=1, patients=2.5, auc=0.85),
    }
    return {
        unit: benchmark.coverage(design, 4, num_data_sets=100, num_resamples=200, num_true=8000)
        for unit, design in designs.items()
    }


@pytest.mark.parametrize("unit", ["slices", "exams"])
def test_with_four_positive_patients_an_interval_of_every_metric_holds_the_truth_9_times_in_10(
    benchmark, held, unit
):
    names = [*benchmark.METRICS, *(benchmark.DIFFERENCE + name for name in benchmark.DIFFERENCES)]
    assert list(held[unit]) == names
    for name in names:
        assert held[unit][name].t >= 0.91, name


def test_the_middle_of_the_resamples_does_not(held):
    # what the bound above would have caught: the rule before 0.2
    assert held["slices"]["auc/epidural"].percentile < 0.88
    assert held["slices"]["sensitivity/epidural"].percentile < 0.88
    assert held["exams"]["auc/epidural"].percentile < 0.8
    assert held["exams"]["difference of sensitivity/epidural"].percentile < 0.7
