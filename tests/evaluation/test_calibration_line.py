import numpy as np
import pytest

from ich_mlflow.evaluation.calibration_line import (
    intercept,
    intercept_addends,
    resampled_intercept,
    resampled_slope,
    slope,
    slope_addends,
)
from ich_mlflow.evaluation.counts import LabelRows


def rows_of(targets, probabilities):
    targets, probabilities = np.asarray(targets, bool), np.asarray(probabilities, float)
    return LabelRows.of(
        targets=targets, scores=probabilities, probabilities=probabilities, decisions=probabilities >= 0.5
    )


def calibrated(num=4000, seed=0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, 1.5, num)
    probabilities = 1 / (1 + np.exp(-log_odds))
    return rng.random(num) < probabilities, probabilities


def test_two_groups_by_hand():
    # Of four slices at 1/5 one bleeds... said 1/5, true 1/4; of four at 1/2 three do. Log odds said -1.386 and 0, true
    # -1.099 and 1.099: the line through both is their difference over that of what was said.
    rows = rows_of([1, 0, 0, 0, 1, 1, 1, 0], [0.2] * 4 + [0.5] * 4)
    assert slope(rows) == pytest.approx(2 * np.log(3) / np.log(4))


def test_said_one_half_where_three_of_four_are_true_the_intercept_is_the_log_of_three():
    assert intercept(rows_of([1, 1, 1, 0], [0.5] * 4)) == pytest.approx(np.log(3))


def test_a_calibrated_model_has_slope_1_and_intercept_0():
    rows = rows_of(*calibrated(num=100_000))
    assert slope(rows) == pytest.approx(1, abs=0.02)
    assert intercept(rows) == pytest.approx(0, abs=0.02)


def test_all_probabilities_halved_show_in_the_intercept_and_hardly_in_the_calibration_error():
    # rare bleeds: of 10,000 slices a hundredth, said .005 each
    targets = np.arange(10_000) < 100
    rows = rows_of(targets, np.full(10_000, 0.005))
    assert intercept(rows) == pytest.approx(np.log(0.01 / 0.99) - np.log(0.005 / 0.995))
    assert intercept(rows) > 0.69
    assert abs(rows.probabilities.mean() - targets.mean()) == pytest.approx(0.005)


def test_too_sure_is_a_slope_below_1():
    targets, probabilities = calibrated()
    log_odds = np.log(probabilities / (1 - probabilities))
    twice = rows_of(targets, 1 / (1 + np.exp(-2 * log_odds)))
    assert slope(twice) == pytest.approx(slope(rows_of(targets, probabilities)) / 2)


def test_a_network_that_is_sure_of_everything_is_fitted_without_a_word(recwarn):
    targets, probabilities = calibrated()
    rows_sure = rows_of(targets, np.clip(np.round(probabilities), 1e-7, 1 - 1e-7))
    assert 0 < slope(rows_sure) < 0.2
    assert np.isfinite(intercept(rows_sure))
    assert not recwarn.list


def test_where_all_probabilities_are_equal_or_separate_the_kinds_there_is_no_slope():
    assert np.isnan(slope(rows_of([0, 1], [0.5, 0.5])))
    assert np.isnan(slope(rows_of([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])))


@pytest.mark.parametrize(
    ("whole", "addends", "resampled"),
    [(slope, slope_addends, resampled_slope), (intercept, intercept_addends, resampled_intercept)],
)
def test_a_resample_is_as_if_its_rows_were_there_so_often(whole, addends, resampled):
    rows = rows_of(*calibrated())
    sums = addends(rows)
    rng = np.random.default_rng(1)
    for _ in range(5):
        drawn = rng.multinomial(len(rows.targets), np.full(len(rows.targets), 1 / len(rows.targets)))
        again = rows_of(np.repeat(rows.targets, drawn), np.repeat(rows.probabilities, drawn))
        one_step = resampled((sums @ drawn)[:, None], np.array([drawn.sum()]))
        # one Newton step from the whole's: an error of the second order
        assert one_step[0] == pytest.approx(whole(again), abs=0.01)
    assert resampled(sums.sum(axis=1)[:, None], np.array([len(rows.targets)]))[0] == pytest.approx(
        whole(rows)
    )
