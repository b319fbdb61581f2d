from dataclasses import replace

import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.errors import ModelError
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone, inflate, set_weights
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import build_classifier, features_of, frozen_of, head_of
from ich_mlflow.training.initial_weights import initial_backbone

SIZE = 32
BUILD = keras.applications.EfficientNetB0


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).uniform(0, 255, size=(2, SIZE, SIZE, 3)).astype(np.float32)


def _lively(backbone, pixels):
    """The backbone with the pixels' own statistics in every normalisation: random weights alone let signals vanish."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    backbone(pixels, training=True)
    return backbone


@pytest.fixture(scope="module")
def series(pixels):
    """The slices of `pixels` as the middle three of nine channels, amid neighbours that show something else."""
    before, after = np.random.default_rng(1).uniform(0, 255, size=(2, *pixels.shape)).astype(np.float32)
    return np.concatenate([before, pixels, after], axis=-1)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("efficientnet-b0", 1280),
        ("efficientnet-lite0", 1280),
        ("efficientnetv2-b0", 1280),
        ("convnext-tiny", 768),
    ],
)
def test_at_first_a_slice_has_the_features_it_had_alone_whatever_its_neighbours_show(
    name, features, pixels, series
):
    keras.utils.set_random_seed(0)
    backbone = _lively(build_backbone(name=name, image_size=SIZE), pixels)
    inflated = inflate(backbone, 3)
    assert inflated.input_shape == (None, SIZE, SIZE, 9)
    alone = np.asarray(backbone(pixels))
    assert alone.shape[-1] == features
    assert alone.std() > 1e-3
    # Untrained networks are ill conditioned: how sums are split over threads alone makes half a percent.
    np.testing.assert_allclose(
        np.asarray(inflated(series)), alone, rtol=1e-3, atol=2e-2 * np.abs(alone).max()
    )


@pytest.fixture
def imagenet(monkeypatch, pixels):
    """Keras' own EfficientNet-B0 as its ImageNet file leaves it: statistics of pixels, and lively random weights."""
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *a, **k: "none")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path, **k: None)
    keras.utils.set_random_seed(0)
    backbone = keras.applications.EfficientNetB0(include_top=False, input_shape=(SIZE, SIZE, 3))
    normalization = next(la for la in backbone.layers if isinstance(la, keras.layers.Normalization))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])
    normalization.finalize_state()
    _lively(backbone, pixels)

    def build(*, weights, **rest):
        return backbone if weights == "imagenet" else BUILD(weights=None, **rest)

    monkeypatch.setitem(BACKBONES, "efficientnet-b0", replace(BACKBONES["efficientnet-b0"], build=build))
    return backbone


def test_imagenet_weights_compute_what_keras_network_of_them_does(imagenet, pixels, series):
    """Keras has a further rescaling with ImageNet weights, and statistics that set_weights doesn't reach."""
    expected = np.asarray(imagenet(pixels))
    ours = build_backbone(image_size=SIZE, weights="imagenet")
    tolerance = {"rtol": 1e-3, "atol": 1e-3 * np.abs(expected).max()}
    np.testing.assert_allclose(np.asarray(ours(pixels)), expected, **tolerance)
    # the same through everything that carries weights on: another start's graph, a file, several slices
    random = build_backbone(image_size=SIZE)
    random.set_weights(ours.get_weights())
    np.testing.assert_array_equal(np.asarray(random(pixels)), np.asarray(ours(pixels)))
    three = build_backbone(image_size=SIZE, weights="imagenet", num_slices=3)
    np.testing.assert_allclose(np.asarray(three(series)), expected, **tolerance)


def test_a_saved_backbone_of_several_slices_is_the_one_that_was_saved(imagenet, series, tmp_path):
    three = build_backbone(image_size=SIZE, weights="imagenet", num_slices=3)
    three.save(tmp_path / "three.keras")
    again = keras.models.load_model(tmp_path / "three.keras")
    np.testing.assert_array_equal(np.asarray(again(series)), np.asarray(three(series)))


def test_a_file_of_keras_own_network_starts_ours_and_one_with_other_pixels_is_refused(
    imagenet, pixels, tmp_path
):
    imagenet.save(tmp_path / "keras.keras")
    start = initial_backbone(str(tmp_path / "keras.keras"), image_size=SIZE)
    expected = np.asarray(imagenet(pixels))
    np.testing.assert_allclose(
        np.asarray(start.backbone(pixels)), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()
    )
    BUILD(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3)).save(tmp_path / "other.keras")
    with pytest.raises(ModelError, match="normalises pixels otherwise"):
        initial_backbone(str(tmp_path / "other.keras"), image_size=SIZE)


def test_the_stem_gives_its_weights_to_the_slice_in_the_middle_and_none_to_its_neighbours(tiny_backbone):
    backbone = build_backbone(image_size=SIZE)
    inflated = build_backbone(image_size=SIZE, num_slices=3)
    set_weights(inflated, backbone.get_weights())
    kernel = np.asarray(backbone.get_layer("stem_conv").kernel)
    inflated_kernel = np.asarray(inflated.get_layer("stem_conv").kernel)
    assert inflated_kernel.shape == (4, 4, 9, 8)
    np.testing.assert_array_equal(inflated_kernel[:, :, 3:6], kernel)
    assert not inflated_kernel[:, :, [0, 1, 2, 6, 7, 8]].any()


def test_the_first_step_gives_the_neighbours_weights():
    """Of 1 to 9 the sum of the middle three is 15; a step of 0.1 down that sum takes a tenth of each pixel."""
    pixels = keras.Input((1, 1, 3))
    stem = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="stem")
    inflated = inflate(keras.Model(pixels, stem(pixels)), 3)
    nine = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 1, 9)
    assert float(inflated(nine)[0, 0, 0, 0]) == 15.0
    inflated.compile(optimizer=keras.optimizers.SGD(0.1), loss=lambda targets, outputs: outputs)
    inflated.train_on_batch(nine, np.zeros((1, 1, 1, 1)))
    kernel = np.asarray(inflated.get_layer("stem").kernel).ravel()
    np.testing.assert_allclose(kernel, [-0.1, -0.2, -0.3, 0.6, 0.5, 0.4, -0.7, -0.8, -0.9], rtol=1e-6)


def test_a_random_stem_sees_every_slice_from_the_beginning(tiny_backbone):
    """Nothing was learned of one slice, so nothing of the middle one is to be kept."""
    keras.utils.set_random_seed(0)
    kernel = np.asarray(build_backbone(image_size=SIZE, num_slices=3).get_layer("stem_conv").kernel)
    spread = [kernel[:, :, first : first + 3].std() for first in (0, 3, 6)]
    # Glorot's uniform weights end at sqrt(6 / (16 pixels * (9 channels + 8 filters))) = 0.149: deviation 0.086
    np.testing.assert_allclose(spread, 0.086, rtol=0.1)
    assert np.abs(kernel[:, :, :3] - kernel[:, :, 3:6]).max() > 0.1


def test_weights_of_another_network_are_refused(tiny_backbone):
    backbone = build_backbone(image_size=SIZE)
    with pytest.raises(ValueError, match="weights, expected"):
        set_weights(backbone, backbone.get_weights()[1:])
    wrong = [weight[..., :-1] for weight in backbone.get_weights()]
    with pytest.raises(ValueError, match="has shape"):
        set_weights(backbone, wrong)
    with pytest.raises(ValueError, match=r"has shape \(4, 4, 9, 8\), expected \(4, 4, 3, 8\)"):
        set_weights(backbone, inflate(backbone, 3).get_weights())


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
