import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import (
    build_classifier,
    features_of,
    frozen_of,
    head_layers,
    head_of,
    set_batch_norm_momentum,
)
from ich_mlflow.models.slice_cnn.layers import logits_layer
from tests.factories import tiny_network


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build_classifier(num_labels=4, image_size=32, windows=parse_windows("brain"))


def test_the_reference_architecture_layer_by_layer(model):
    names = [layer.__class__.__name__ for layer in model.layers]
    assert names == [
        "InputLayer",
        "AreaResize",
        "WindowChannels",
        "Functional",
        "GlobalAveragePooling2D",
        "Dense",
        "Dropout",
        "Dense",
    ]
    assert model.get_layer("dense").units == 128
    assert model.get_layer("dense").activation.__name__ == "relu"
    assert model.get_layer("dropout").rate == 0.3
    assert model.get_layer("probabilities").activation.__name__ == "sigmoid"
    # EfficientNet-B0 without top has 4,049,571 weights (Keras documentation: 5.3 M with top)
    assert model.layers[3].count_params() == 4_049_571 - 7  # statistics of pixels are constants here


def test_batch_norm_momentum_reaches_every_normalisation_and_survives_saving(tmp_path):
    backbone = build_backbone(image_size=32)
    set_batch_norm_momentum(backbone, 0.8)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.models.load_model(tmp_path / "backbone.keras")
    momenta = {layer.momentum for layer in again.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.8}


def test_hu_in_probabilities_out(model):
    hu = np.random.default_rng(0).uniform(-1000, 1000, size=(2, 256, 256, 1)).astype(np.float32)
    probabilities = np.asarray(model(hu))
    assert probabilities.shape == (2, 4)
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_a_saved_model_comes_back_with_its_windows(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    hu = np.random.default_rng(1).uniform(-100, 100, size=(1, 256, 256, 1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(again(hu)), np.asarray(model(hu)))
    assert again.get_layer("windows").windows == [[40.0, 80.0]]


@pytest.fixture(scope="module")
def two_stage():
    keras.utils.set_random_seed(0)
    backbone = tiny_network(include_top=False, weights=None, input_shape=(32, 32, 3))
    return build_classifier(
        num_labels=6, image_size=32, windows=parse_windows("brain"), head="two_stage", backbone=backbone
    )


@pytest.fixture
def hu():
    return np.random.default_rng(2).uniform(-100, 200, size=(3, 256, 256, 1)).astype(np.float32)


def test_two_stages_are_logits_and_their_products(two_stage, hu):
    assert [layer.name for layer in two_stage.layers[-3:]] == ["dropout", "logits", "probabilities"]
    assert logits_layer(two_stage).name == "logits"
    logits = np.asarray(keras.Model(two_stage.input, two_stage.get_layer("logits").output)(hu), np.float64)
    given = 1 / (1 + np.exp(-logits))
    expected = np.column_stack([given[:, :5] * given[:, 5:], given[:, 5]])  # any is the last of six labels
    np.testing.assert_allclose(np.asarray(two_stage(hu)), expected, rtol=1e-5)


def test_the_parts_of_a_classifier_of_two_stages_are_its_own(two_stage, hu):
    expected = np.asarray(two_stage(hu))
    np.testing.assert_allclose(
        np.asarray(head_of(two_stage)(features_of(two_stage)(hu))), expected, atol=1e-6
    )
    np.testing.assert_allclose(np.asarray(frozen_of(two_stage)(hu)), expected, atol=1e-6)


def test_a_saved_classifier_of_two_stages_comes_back(two_stage, hu, tmp_path):
    two_stage.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(hu)), np.asarray(two_stage(hu)))


def test_the_flat_head_has_its_logits_in_its_last_layer(model):
    assert logits_layer(model) is model.get_layer("probabilities")


def test_two_stages_need_any():
    with pytest.raises(ValueError, match="got 5 labels, expected the 6 with any"):
        head_layers(num_labels=5, head="two_stage")
