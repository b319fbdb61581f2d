import cv2
import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import apply_windows, parse_windows
from ich_mlflow.models.ancestry import IMAGENET, Ancestry
from ich_mlflow.models.slice_cnn.layers import (
    AreaResize,
    DetectionTimesSubtype,
    WindowChannels,
    carried_ancestry,
    carry_ancestry,
)


@pytest.fixture
def hu():
    return np.random.default_rng(0).uniform(-1100, 3000, size=(2, 64, 64, 1)).astype(np.float32)


@pytest.mark.parametrize("text", ["brain,subdural,bone", "40/80,50.5/130,-600/1500"])
def test_the_window_layer_equals_its_numpy_twin(hu, text):
    windows = parse_windows(text)
    layer = WindowChannels([[w.center, w.width] for w in windows])
    np.testing.assert_allclose(np.asarray(layer(hu)), apply_windows(hu[..., 0], windows), atol=1e-3)


def test_one_window_is_repeated_over_three_channels(hu):
    channels = np.asarray(WindowChannels([[40, 80]])(hu))
    assert channels.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(channels[..., 0], channels[..., 1])
    np.testing.assert_array_equal(channels[..., 0], channels[..., 2])


def test_brain_window_maps_water_and_blood_by_hand():
    # DICOM: (hu - 39.5) / 79 + 0.5, clipped, times 255
    hu = np.array([-1000, 0, 39.5, 60, 200], np.float32).reshape(1, 1, 5, 1)
    expected = [0, 0, 127.5, (20.5 / 79 + 0.5) * 255, 255]
    np.testing.assert_allclose(np.asarray(WindowChannels([[40, 80]])(hu))[0, 0, :, 0], expected, atol=1e-3)


@pytest.mark.parametrize("size", [32, 48, 56])
def test_the_resize_layer_is_opencvs_area_filter(hu, size):
    resized = np.asarray(AreaResize(size)(hu))[0, :, :, 0]
    expected = cv2.resize(hu[0, :, :, 0], (size, size), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resized, expected, rtol=1e-4, atol=0.05)


def test_the_resize_layer_keeps_the_mean(hu):
    resized = np.asarray(AreaResize(24)(hu))
    np.testing.assert_allclose(resized.mean(), hu.mean(), rtol=1e-4)


def test_the_resize_layer_refuses_oblong_slices():
    with pytest.raises(ValueError, match="square"):
        AreaResize(24)(np.zeros((1, 64, 32, 1), np.float32))


@pytest.mark.parametrize("size", [24, 96])
def test_several_slices_are_resized_and_windowed_each_for_itself(size):
    hu = np.random.default_rng(0).uniform(-1100, 3000, size=(2, 64, 64, 3)).astype(np.float32)
    resize, windows = AreaResize(size), WindowChannels([[40, 80], [80, 200], [600, 2800]])
    together = np.asarray(windows(resize(hu)))
    assert together.shape == (2, size, size, 9)
    for number in range(3):
        alone = np.asarray(windows(resize(hu[..., number : number + 1])))
        np.testing.assert_allclose(together[..., 3 * number : 3 * number + 3], alone, atol=1e-2)


def _classifier():
    hu = keras.Input((64, 64, 1))
    return keras.Model(hu, WindowChannels([[40, 80]])(AreaResize(24)(hu)))


def test_what_a_network_learned_from_is_in_its_keras_file_and_in_a_copy_that_is_saved_again(tmp_path):
    model = _classifier()
    assert carried_ancestry(model) is None
    carry_ancestry(model, Ancestry((IMAGENET,)))
    model.save(tmp_path / "first.keras")
    loaded = keras.models.load_model(tmp_path / "first.keras")
    keras.Model(loaded.input, loaded.output).save(tmp_path / "second.keras")
    again = carried_ancestry(keras.models.load_model(tmp_path / "second.keras"))
    assert again.said == "ImageNet (no patients)"


def test_a_keras_file_or_a_network_that_says_nothing_has_no_ancestry(tmp_path):
    _classifier().save(tmp_path / "silent.keras")
    assert carried_ancestry(keras.models.load_model(tmp_path / "silent.keras")) is None
    foreign = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    carry_ancestry(foreign, Ancestry())
    assert carried_ancestry(foreign) is None


def test_detection_times_subtype_by_hand():
    # sigmoid(0) is 0.5, sigmoid(ln 3) is 0.75, wherever any stands
    logits = np.array([[np.log(3), 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(np.asarray(DetectionTimesSubtype(2)(logits)), [[0.375, 0.25, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(
        np.asarray(DetectionTimesSubtype(0)(logits)), [[0.75, 0.375, 0.375]], rtol=1e-6
    )
