import numpy as np
import pytest

from ich_mlflow.evaluation.blood_threshold import THRESHOLDS, BloodTally


def at(threshold):
    return int(np.flatnonzero(threshold == THRESHOLDS)[0])


def test_dice_of_all_slices_together_by_hand():
    tally = BloodTally()
    tally.add(np.array([[0.9, 0.6], [0.35, 0.02]], np.float32), np.array([[True, True], [False, False]]))
    tally.add(np.array([[0.6, 0.0]], np.float32), np.array([[False, False]]))  # blood where there is none
    dice = tally.dice()
    # from 0.35 on 4 pixels are found, 2 rightly, of 2: 2 * 2 / (4 + 2)
    assert dice[at(0.35)] == pytest.approx(4 / 6)
    # from 0.5 on 3, 2 rightly: 4 / 5. From 0.75 on 1, rightly: 2 / 3
    assert dice[at(0.5)] == pytest.approx(4 / 5)
    assert dice[at(0.75)] == pytest.approx(2 / 3)
    assert dice[at(0.95)] == 0


def test_the_best_threshold_is_the_nearest_to_one_half_of_equal_ones():
    tally = BloodTally()
    tally.add(np.array([[0.9, 0.8, 0.62]], np.float32), np.array([[True, True, False]]))
    # 0.65 to 0.8 find both and nothing else
    assert tally.best() == 0.65
    below = BloodTally()
    below.add(np.array([[0.32, 0.1]], np.float32), np.array([[True, False]]))
    assert below.best() == 0.3


def test_without_blood_there_is_nothing_to_choose_by():
    tally = BloodTally()
    assert tally.best() is None
    tally.add(np.full((2, 2), 0.9), np.zeros((2, 2), bool))
    assert tally.best() is None
    assert tally.dice()[0] == 0
    assert np.isnan(BloodTally().dice()).all()
