import numpy as np
import pytest

from ich_mlflow.models.slice_cnn.augmentation import affine_matrices, augment_slices
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters

STILL = Hyperparameters(rotation_degrees=0, shift=0, zoom=0, flip=False)
DRAWS = np.random.default_rng(3).random((2, 5))


@pytest.fixture
def hu():
    return np.random.default_rng(0).integers(-1000, 1000, size=(2, 32, 32, 1)).astype(np.int16)


def test_without_strength_nothing_changes(hu):
    augmented = augment_slices(hu, DRAWS, STILL)
    assert augmented.dtype == np.float32
    np.testing.assert_array_equal(augmented, hu)


def test_a_flip_mirrors_left_and_right_of_the_slices_whose_draw_is_below_one_half(hu):
    flipping = Hyperparameters(rotation_degrees=0, shift=0, zoom=0, flip=True)
    draws = np.full((2, 5), 0.5)
    draws[0, 4] = 0.49
    out = augment_slices(hu, draws, flipping)
    np.testing.assert_array_equal(out[0], hu[0][:, ::-1])
    np.testing.assert_array_equal(out[1], hu[1])


def test_a_shift_moves_right_and_down_and_what_comes_in_from_outside_is_air():
    # a draw of 1 is the whole strength: a quarter of 32 pixels to the right, none of it down (one half)
    water = np.zeros((1, 32, 32, 1), np.int16)
    draws = np.array([[0.5, 0.5, 1.0, 0.5, 0.9]])
    shifted = augment_slices(water, draws, Hyperparameters(rotation_degrees=0, shift=0.25, zoom=0))
    assert (shifted[0, :, :8] == -1000).all()
    assert (shifted[0, :, 8:] == 0).all()


def test_whole_hu_reach_from_padding_to_metal_and_are_interpolated_to_the_next_whole_one():
    # half a pixel to the right: between padding (-1024) and metal (32767) lies 15871.5, between -5 and 0 lies -2.5
    hu = np.zeros((1, 32, 32, 1), np.int16)
    hu[0, 0, :4, 0], hu[0, 1, :4, 0] = (-1024, 32767, -5, 0), (7, 7, 7, 7)
    draws = np.array([[0.5, 0.5, 1.0, 0.5, 0.9]])
    moved = augment_slices(hu, draws, Hyperparameters(rotation_degrees=0, shift=0.5 / 32, zoom=0))[0, :, :, 0]
    assert moved[0, 1] in (15871, 15872)
    assert moved[0, 3] in (-3, -2)
    assert (moved[1, 1:4] == 7).all()


def test_floats_keep_their_fractions():
    water = np.full((1, 32, 32, 1), 0.25, np.float32)
    assert (augment_slices(water, DRAWS[:1], STILL) == 0.25).all()


def test_the_same_draws_give_the_same_pixels_whatever_the_batch(hu):
    both = augment_slices(hu, DRAWS, Hyperparameters())
    alone = augment_slices(hu[1:], DRAWS[1:], Hyperparameters())
    np.testing.assert_array_equal(both[1], alone[0])
    assert not np.array_equal(both[1], augment_slices(hu[1:], DRAWS[:1], Hyperparameters())[0])


def test_a_slice_and_its_neighbours_move_together(hu):
    three = np.repeat(hu, 3, axis=-1)
    augmented = augment_slices(three, DRAWS, Hyperparameters())
    assert augmented.shape == three.shape
    for channel in range(3):
        np.testing.assert_array_equal(
            augmented[..., channel], augment_slices(hu, DRAWS, Hyperparameters())[..., 0]
        )


def test_rotation_shift_and_zoom_stay_within_their_bounds_and_reach_them():
    hyperparameters = Hyperparameters(rotation_degrees=15, shift=0.1, zoom=0.2, flip=False)
    draws = np.random.default_rng(0).random((2000, 5))
    matrices = affine_matrices(draws, (100, 100), hyperparameters)
    scale = np.sqrt(np.linalg.det(matrices[:, :, :2]))
    angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    moved = matrices @ [49.5, 49.5, 1] - 49.5
    for values, low, high in ((scale, 0.8, 1.2), (angle, -15, 15), (moved, -10, 10)):
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
