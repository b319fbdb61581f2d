import numpy as np

from ich_mlflow.evaluation.floors import position_floor, prevalence_floor


def test_prevalence_says_the_same_of_every_slice():
    assert prevalence_floor(np.array([[1, 0], [0, 0]]), 3).tolist() == [[0.5, 0.0]] * 3


def test_position_says_the_share_of_its_height_with_one_slice_of_the_mean():
    # two of three positive in the lowest bin, none of one in the highest: the mean is one half
    targets = np.array([[1], [1], [0], [0]])
    position = np.array([0.0, 0.01, 0.04, 1.0])
    floor = position_floor(targets, position, np.array([0.02, 1.0, 0.5]))
    np.testing.assert_allclose(floor[:, 0], [(2 + 0.5) / 4, 0.5 / 2, 0.5])
