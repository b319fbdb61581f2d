import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import build_classifier, set_batch_norm_momentum


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
