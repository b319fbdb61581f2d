import cv2
import numpy as np
import pytest

from ich_mlflow.ct.resample import area_weights, pad_to_square, resize_weights, to_slice_size, to_stored_size

#: float32 sums of up to 64 values of some 2,000 HU
TOLERANCE_HU = 1e-3


def test_a_slice_of_512_is_averaged_two_by_two():
    hu = np.zeros((512, 512), np.int16)
    hu[0, 0], hu[0, 1], hu[1, 0], hu[1, 1] = 10, 20, 30, 40
    stored = to_stored_size(hu)
    assert stored.shape == (256, 256)
    assert stored.dtype == np.int16
    assert stored[0, 0] == 25
    assert stored[1:].max() == 0


def test_a_slice_of_256_is_kept_as_it_is():
    hu = np.arange(256 * 256, dtype=np.int32).reshape(256, 256).astype(np.int16)
    assert np.array_equal(to_stored_size(hu), hu)


@pytest.mark.parametrize("shape", [(64, 64), (638, 490), (436, 436), (768, 768), (1, 1)])
def test_every_size_becomes_256_and_keeps_a_constant(shape):
    height, width = shape
    stored = to_stored_size(np.full(shape, 37, np.int16))
    assert stored.shape == (256, 256)
    assert stored[128, 128] == 37
    if height == width:
        assert (stored == 37).all()


def test_a_narrow_slice_is_centred_on_air():
    assert pad_to_square(np.full((3, 1), 5, np.int16)).tolist() == [[-1000, 5, -1000]] * 3


def test_area_weights_of_a_whole_ratio_average_equally():
    assert area_weights(4, 2).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]


def test_area_weights_of_a_broken_ratio_share_the_pixel_between():
    assert area_weights(3, 2) == pytest.approx(np.array([[2, 1, 0], [0, 1, 2]]) / 3)


@pytest.mark.parametrize(("source", "target"), [(256, 224), (256, 96), (256, 64), (512, 256), (64, 224)])
def test_area_weights_sum_to_one(source, target):
    assert area_weights(source, target).sum(axis=1) == pytest.approx(np.ones(target), abs=1e-6)


@pytest.mark.parametrize("target", [224, 128, 96, 64])
def test_area_weights_equal_opencvs_area_filter(target):
    image = np.random.default_rng(0).uniform(-1000, 2000, (256, 256)).astype(np.float32)
    weights = area_weights(256, target)
    expected = cv2.resize(image, (target, target), interpolation=cv2.INTER_AREA)
    assert np.abs(weights @ image @ weights.T - expected).max() < TOLERANCE_HU


@pytest.mark.parametrize("size", [436, 512, 666, 768])
def test_stored_pixels_are_the_area_average_to_the_nearest_unit(size):
    hu = np.random.default_rng(1).integers(-1024, 2000, (size, size)).astype(np.int16)
    weights = area_weights(size, 256).astype(np.float64)
    assert np.abs(to_stored_size(hu) - weights @ hu @ weights.T).max() < 0.51


def test_enlarging_interpolates_linearly_between_pixel_centres():
    # two pixels to four: the new centres lie at -0.25, 0.25, 0.75 and 1.25 of the old ones
    assert resize_weights(2, 4) == pytest.approx(np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]))


@pytest.mark.parametrize("target", [300, 384, 512])
def test_enlarging_equals_opencvs_linear_filter(target):
    image = np.random.default_rng(0).uniform(-1000, 2000, (256, 256)).astype(np.float32)
    weights = resize_weights(256, target)
    expected = cv2.resize(image, (target, target), interpolation=cv2.INTER_LINEAR)
    assert np.abs(weights @ image @ weights.T - expected).max() < TOLERANCE_HU


def test_shrinking_is_by_area():
    np.testing.assert_array_equal(resize_weights(256, 100), area_weights(256, 100))


def test_a_map_is_laid_over_a_slice_that_was_padded_to_a_square():
    """2 x 4 cells of a square of 4, of which the slice has the rows 1 and 2: the rest was padding."""
    maps = np.zeros((4, 4, 2), np.float32)
    maps[1, 3, 0], maps[2, 0, 1], maps[0, 0] = 1.0, 0.5, 9.0
    laid = to_slice_size(maps, (2, 4))
    assert laid[..., 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert laid[..., 1].tolist() == [[0, 0, 0, 0], [0.5, 0, 0, 0]]
    assert to_slice_size(np.ones((2, 2, 1), np.float32), (6, 5)).shape == (6, 5, 1)
