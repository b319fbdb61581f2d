import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.model.backbones import BACKBONES, build_backbone, inflate, set_weights
from ich_mlflow.model.classifier import build_classifier, features_of, frozen_of, head_of
from ich_mlflow.training.hyperparameters import BACKBONES as BACKBONE_NAMES

SIZE = 32


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).uniform(0, 255, size=(2, SIZE, SIZE, 3)).astype(np.float32)


def test_the_names_that_can_be_said_are_the_backbones_there_are():
    assert tuple(BACKBONES) == BACKBONE_NAMES


def _lively(backbone, pixels):
    """The backbone with the pixels' own statistics in every normalisation: random weights alone let signals vanish."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    backbone(pixels, training=True)
    return backbone


@pytest.mark.parametrize(
    ("name", "features"), [("efficientnet-b0", 1280), ("efficientnetv2-b0", 1280), ("convnext-tiny", 768)]
)
def test_a_slice_amid_copies_of_itself_has_the_features_it_had_alone(name, features, pixels):
    keras.utils.set_random_seed(0)
    backbone = _lively(build_backbone(name=name, image_size=SIZE), pixels)
    inflated = inflate(backbone, 3)
    assert inflated.input_shape == (None, SIZE, SIZE, 9)
    alone = np.asarray(backbone(pixels))
    assert alone.shape[-1] == features
    assert alone.std() > 1e-3
    np.testing.assert_allclose(
        np.asarray(inflated(np.tile(pixels, (1, 1, 1, 3)))), alone, rtol=1e-3, atol=1e-3 * np.abs(alone).max()
    )


def test_inflating_keeps_what_keras_does_to_pixels_of_imagenet_weights(pixels, monkeypatch):
    """With ImageNet weights EfficientNet-B0 has a further rescaling of three channels."""
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *a, **k: "none")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path, **k: None)
    backbone = _lively(build_backbone(image_size=SIZE, weights="imagenet"), pixels)
    scales = [layer.scale for layer in backbone.layers if isinstance(layer, keras.layers.Rescaling)]
    assert np.size(scales[-1]) == 3
    alone = np.asarray(backbone(pixels))
    np.testing.assert_allclose(
        np.asarray(inflate(backbone, 3)(np.tile(pixels, (1, 1, 1, 3)))),
        alone,
        rtol=1e-3,
        atol=1e-3 * np.abs(alone).max(),
    )


def test_a_third_of_each_stem_weight_goes_to_each_slice(tiny_backbone):
    backbone = build_backbone(image_size=SIZE)
    inflated = build_backbone(image_size=SIZE, num_slices=3)
    set_weights(inflated, backbone.get_weights())
    kernel = np.asarray(backbone.get_layer("stem_conv").kernel)
    inflated_kernel = np.asarray(inflated.get_layer("stem_conv").kernel)
    assert inflated_kernel.shape == (4, 4, 9, 8)
    for number in range(3):
        np.testing.assert_allclose(inflated_kernel[:, :, 3 * number : 3 * number + 3], kernel / 3, rtol=1e-6)


def test_weights_of_another_network_are_refused(tiny_backbone):
    backbone = build_backbone(image_size=SIZE)
    with pytest.raises(ValueError, match="weights, expected"):
        set_weights(backbone, backbone.get_weights()[1:])
    wrong = [weight[..., :-1] for weight in backbone.get_weights()]
    with pytest.raises(ValueError, match="has shape"):
        set_weights(backbone, wrong)


def test_features_and_head_together_are_the_classifier(tiny_backbone):
    model = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain"), context=1)
    hu = np.random.default_rng(0).uniform(-1000, 1000, size=(2, 256, 256, 3)).astype(np.float32)
    expected = np.asarray(model(hu))
    np.testing.assert_allclose(np.asarray(head_of(model)(features_of(model)(hu))), expected, atol=1e-6)
    np.testing.assert_allclose(np.asarray(frozen_of(model)(hu)), expected, atol=1e-6)


def test_a_backbone_at_rest_drops_nothing_in_training(tiny_backbone):
    model = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain"), dropout=0.0)
    hu = np.random.default_rng(0).uniform(-1000, 1000, size=(2, 256, 256, 1)).astype(np.float32)
    frozen = frozen_of(model)
    np.testing.assert_array_equal(
        np.asarray(frozen(hu, training=True)), np.asarray(frozen(hu, training=False))
    )
    assert not np.array_equal(np.asarray(model(hu, training=True)), np.asarray(model(hu, training=False)))


def test_with_context_the_middle_slice_is_the_middle_three_channels(tiny_backbone):
    model = build_classifier(
        num_labels=5, image_size=SIZE, windows=parse_windows("brain,subdural,bone"), context=1
    )
    windows = keras.Model(model.input, model.get_layer("windows").output)
    alone = build_classifier(num_labels=5, image_size=SIZE, windows=parse_windows("brain,subdural,bone"))
    hu = np.random.default_rng(0).uniform(-200, 200, size=(1, 256, 256, 3)).astype(np.float32)
    channels = np.asarray(windows(hu))
    assert channels.shape == (1, SIZE, SIZE, 9)
    for number in range(3):
        expected = keras.Model(alone.input, alone.get_layer("windows").output)(hu[..., number : number + 1])
        np.testing.assert_allclose(
            channels[..., 3 * number : 3 * number + 3], np.asarray(expected), atol=1e-3
        )
