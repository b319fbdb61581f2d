"""Tests of two samples by hand-worked numbers, and the drill."""

import numpy as np
import pytest

from benchmarks.drawn_exams import drawn
from benchmarks.monitoring import power
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.monitoring.drift import NO_TEST, categories, corrected, difference, larger, numbers, share
from ich_mlflow.monitoring.signals import compare
from tests.monitoring.logs import drill

ALARMS = 0.01


def test_the_effect_of_numbers_is_how_often_the_window_has_the_larger_one():
    # of 9 pairs the window has the larger one in 5 and there is 1 tie
    value, interval = larger(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 1.5]))
    assert value == pytest.approx(5.5 / 9)
    assert interval.low < value < interval.high
    assert larger(np.arange(10.0), np.arange(10.0))[0] == 0.5
    assert larger(np.arange(10.0), np.arange(10.0) + 20)[0] == 1


def test_the_interval_of_that_effect_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.7602  # of normal numbers one apart: Phi(1 / sqrt 2)
    hits = 0
    for _ in range(400):
        _, ends = larger(rng.normal(0, 1, 60), rng.normal(1, 1, 40))
        hits += ends.low <= truth <= ends.high
    assert 0.92 <= hits / 400 <= 0.98


def test_the_interval_of_a_difference_is_newcombe_s():
    # Newcombe 1998, table II (a), method 10: 56/70 and 48/80 differ by 0.2, 0.0524 to 0.3339
    change, ends = difference(48, 80, 56, 70)
    assert (change, ends.low, ends.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_a_few_exams_of_a_new_kernel_are_tested_by_drawn_tables_as_fisher_would():
    two = categories("kernel", ["a"] * 40, ["a"] * 17 + ["b"] * 3)
    assert two.test == "Fisher"
    three = categories("kernel", ["a"] * 38 + ["c"] * 2, ["a"] * 15 + ["c"] * 2 + ["b"] * 3)
    assert three.test == "chi-squared by drawn tables"
    assert 0.005 < three.p < 0.1
    assert three.effect_of == "a"
    again = categories("kernel", ["a"] * 38 + ["c"] * 2, ["a"] * 15 + ["c"] * 2 + ["b"] * 3)
    assert again.p == three.p


def test_what_is_alike_in_all_exams_is_not_counted_as_looked_for():
    alike = [
        categories("syntax", ["x"] * 30, ["x"] * 30),
        share("review", [False] * 30, [False] * 30),
        numbers("step", [5.0] * 30, [5.0] * 30),
    ]
    assert {one.test for one in alike} == {NO_TEST}
    rates = share("flags", [True] * 5 + [False] * 25, [True] * 16 + [False] * 14)
    (first, *_) = corrected([*alike, rates], alarms=ALARMS)
    assert first.p_corrected == first.p


def test_holm_by_hand():
    signals = [share(str(n), [False] * 30, [True] * n + [False] * (30 - n)) for n in (12, 8, 1)]
    found = corrected(signals, alarms=0.05)
    assert [one.name for one in found] == ["12", "8", "1"]
    p = [one.p for one in found]
    assert [one.p_corrected for one in found] == pytest.approx([3 * p[0], 2 * p[1], p[2]])
    assert [one.is_drift for one in found] == [True, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_the_drill_names_kernel_and_gain_and_400_exams_without_a_change_are_silent(seed):
    rng = np.random.default_rng(seed)
    records = drill(rng)
    found = compare(records[:200], records[200:], alarms=ALARMS)
    drifted = {one.name: one for one in found if one.is_drift}
    assert {"kernel", "soft tissue HU"} <= set(drifted)
    assert drifted["kernel"].effect_of == "FC26"
    assert found[0].name in ("kernel", "soft tissue HU")
    assert "manufacturer" not in drifted
    quiet = drawn(400, rng)
    assert not any(one.is_drift for one in compare(quiet[:200], quiet[200:], alarms=ALARMS))


def test_windows_without_a_change_are_called_drift_as_often_as_is_said():
    alarms = 0.05  # rarer ones would need thousands of windows: benchmarks/monitoring.py has them
    rng = np.random.default_rng(1)
    hits = sum(
        any(one.is_drift for one in compare(drawn(100, rng), drawn(50, rng), alarms=alarms))
        for _ in range(200)
    )
    assert clopper_pearson(hits / 200, 200).low <= alarms
    assert hits >= 1


def test_a_kernel_that_all_exams_have_is_seen_in_25():
    from benchmarks.monitoring import CHANGES

    (change,) = [change for name, _, change in CHANGES if name == "a new kernel, all exams"]
    assert power(change, "kernel", 200, 10, ALARMS, np.random.default_rng(0))[25] == 1
