import numpy as np
import pytest

from ich_mlflow.training.augment import affine_matrix, augment_slices
from ich_mlflow.training.hyperparameters import Hyperparameters

STILL = Hyperparameters(rotation_degrees=0, shift=0, zoom=0, flip=False)
SEEDS = np.array([[0, 0, 1], [0, 0, 2]])


@pytest.fixture
def hu():
    return np.random.default_rng(0).integers(-1000, 1000, size=(2, 32, 32)).astype(np.int16)


def test_without_strength_nothing_changes(hu):
    np.testing.assert_array_equal(augment_slices(hu, SEEDS, STILL), hu)


def test_a_flip_mirrors_left_and_right_of_about_half_the_slices(hu):
    flipping = Hyperparameters(rotation_degrees=0, shift=0, zoom=0, flip=True)
    seeds = np.array([[0, 0, i] for i in range(400)])
    out = augment_slices(np.repeat(hu[:1], 400, axis=0), seeds, flipping)
    flipped = np.array([np.array_equal(image, hu[0][:, ::-1]) for image in out])
    same = np.array([np.array_equal(image, hu[0]) for image in out])
    assert (flipped | same).all()
    assert 0.4 < flipped.mean() < 0.6


def test_what_comes_in_from_outside_is_air():
    water = np.zeros((1, 32, 32), np.int16)
    shifted = augment_slices(water, SEEDS[:1], Hyperparameters(rotation_degrees=0, shift=0.4, zoom=0))
    assert shifted.min() == -1000


def test_the_same_seeds_give_the_same_pixels_whatever_the_batch(hu):
    both = augment_slices(hu, SEEDS, Hyperparameters())
    alone = augment_slices(hu[1:], SEEDS[1:], Hyperparameters())
    np.testing.assert_array_equal(both[1], alone[0])


def test_another_epoch_gives_other_pixels(hu):
    later = SEEDS + np.array([0, 1, 0])
    assert not np.array_equal(
        augment_slices(hu, SEEDS, Hyperparameters()), augment_slices(hu, later, Hyperparameters())
    )


def test_rotation_shift_and_zoom_stay_within_their_bounds():
    hyperparameters = Hyperparameters(rotation_degrees=15, shift=0.1, zoom=0.2, flip=False)
    for seed in range(200):
        matrix = affine_matrix(np.random.default_rng(seed), (100, 100), hyperparameters)
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        moved = matrix @ [49.5, 49.5, 1] - 49.5
        assert 0.8 <= scale <= 1.2
        assert abs(angle) <= 15 + 1e-9
        assert np.abs(moved).max() <= 10 + 1e-9
