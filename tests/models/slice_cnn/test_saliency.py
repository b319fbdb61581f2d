import keras
import numpy as np

from ich_mlflow.ct.window import BRAIN
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.saliency import maps_of_features, saliency_maps
from tests.factories import tiny_network


def test_a_map_by_hand():
    # Two places, two features, two hidden units of which the second is closed (its bias), one label.
    features = np.array([[[[1.0, 0.0]], [[3.0, 2.0]]]])  # [1, 2, 1, 2]
    dense, bias = np.array([[1.0, 5.0], [-1.0, 5.0]]), np.array([0.0, -100.0])
    output = np.array([[2.0], [7.0]])
    # the open unit is f0 - f1, weighed 2: 2 at the first place, 2 at the second, halved by the mean over places
    maps = maps_of_features(features, dense, bias, output)
    np.testing.assert_allclose(maps[0, 0, :, 0], [1.0, 1.0])


def test_what_speaks_against_a_label_is_below_zero():
    features = np.array([[[[1.0]], [[3.0]]]])
    maps = maps_of_features(features, np.array([[1.0]]), np.array([0.0]), np.array([[-1.0]]))
    np.testing.assert_allclose(maps[0, 0, :, 0], [-0.5, -1.5])


def test_maps_are_the_gradient_of_the_logit_times_the_features():
    keras.utils.set_random_seed(0)
    backbone = tiny_network(include_top=False, weights=None, input_shape=(32, 32, 3))
    model = build_classifier(num_labels=3, image_size=32, windows=(BRAIN,), dense_units=8, backbone=backbone)
    hu = np.random.default_rng(0).integers(-100, 200, (2, 256, 256, 1)).astype(np.int16)
    maps = saliency_maps(model, hu)
    assert maps.shape == (2, 3, 8, 8)

    from ich_mlflow.models.slice_cnn.classifier import feature_maps_of

    features = np.asarray(feature_maps_of(model)(hu.astype(np.float32))).astype(np.float64)
    (dense, bias), (output, _) = (model.get_layer(name).get_weights() for name in ("dense", "probabilities"))

    def logits(values):
        return np.maximum(values.mean(axis=(1, 2)) @ dense + bias, 0) @ output

    # by differences, at one place: every feature a little higher
    small = 1e-4
    for row, column in ((0, 0), (3, 5)):
        expected = np.zeros((2, 3))
        for d in range(features.shape[-1]):
            moved = features.copy()
            moved[:, row, column, d] += small
            expected += (logits(moved) - logits(features)) / small * features[:, row, column, d][:, None]
        np.testing.assert_allclose(maps[:, :, row, column], expected, rtol=1e-3, atol=1e-7)


def test_with_two_stages_maps_are_of_the_logits():
    keras.utils.set_random_seed(0)
    backbone = tiny_network(include_top=False, weights=None, input_shape=(32, 32, 3))
    told = {"num_labels": 6, "image_size": 32, "windows": (BRAIN,), "backbone": backbone}
    flat, two_stage = (build_classifier(**told, head=head) for head in ("flat", "two_stage"))
    two_stage.set_weights(flat.get_weights())
    hu = np.random.default_rng(0).integers(-100, 200, (2, 256, 256, 1)).astype(np.int16)
    np.testing.assert_array_equal(saliency_maps(two_stage, hu), saliency_maps(flat, hu))
