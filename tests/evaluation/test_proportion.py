import subprocess
import sys

import numpy as np
import pytest

from ich_mlflow.evaluation.proportion import clopper_pearson


# of none, 1 - low ** (1 / 10) with low = 0.025; the middle one is in every table of the method
@pytest.mark.parametrize(
    ("share", "low", "high"), [(0.0, 0.0, 1 - 0.025**0.1), (1.0, 0.025**0.1, 1.0), (0.5, 0.1871, 0.8129)]
)
def test_none_half_and_all_of_ten(share, low, high):
    interval = clopper_pearson(share, 10)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert (round(1 - 0.025**0.1, 4), round(0.025**0.1, 4)) == (0.3085, 0.6915)


def test_one_of_one_says_next_to_nothing():
    interval = clopper_pearson(1.0, 1)
    assert (interval.low, interval.high) == pytest.approx((0.025, 1.0))


def test_a_count_between_two_whole_ones_has_an_interval_between_theirs():
    two, between, three = (clopper_pearson(count / 10, 10) for count in (2, 2.5, 3))
    assert two.low < between.low < three.low
    assert two.high < between.high < three.high


@pytest.mark.parametrize(("share", "number"), [(float("nan"), 10), (1.0, 0), (float("nan"), 0)])
def test_what_is_not_known_has_no_interval(share, number):
    interval = clopper_pearson(share, number)
    assert np.isnan([interval.low, interval.high]).all()


@pytest.mark.parametrize("share", [0.0, 1e-300, 0.1, 1 / 3, 0.7, 1 - 1e-16, 1.0])
@pytest.mark.parametrize("number", [1, 3, 49, 100_000])
def test_an_interval_holds_its_share(share, number):
    interval = clopper_pearson(share, number)
    assert 0 <= interval.low <= share <= interval.high <= 1


@pytest.mark.parametrize(("share", "number"), [(-0.1, 10), (1.1, 10), (0.5, -1)])
def test_what_is_no_proportion_is_refused(share, number):
    with pytest.raises(ValueError, match="expected"):
        clopper_pearson(share, number)


def test_scipy_is_imported_only_where_an_interval_is_asked_for():
    command = "import sys, ich_mlflow.evaluation.proportion; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
