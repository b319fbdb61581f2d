import keras
import numpy as np
import pytest

from ich_mlflow.models.exam_sequence.kinds import KINDS
from ich_mlflow.models.exam_sequence.network import BODIES, build_sequence, kind_of, set_standardisation

#: A label of two on four slices: the slice CNN's logits, and one more input.
SERIES = np.array([[-4, 1, 7], [3, -2, 7], [-4, 0.5, 8], [-4, -5, 9]], np.float32)


def _probability(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


@pytest.mark.parametrize(("kind", "parameters"), [("conv", 11_257), ("gru", 18_201), ("attention", 13_339)])
def test_the_network_is_small(kind, parameters):
    # projection 133 * 32 + 32, standardisation 2 * 133, heads 5 * (3 * 32 + 3), or 5 * (3 * 64 + 3) for gru; and
    # conv 2 * (3 * 32 * 32 + 32), gru 2 * (2 * 32 * 96 + 2 * 96), attention 2 * (4 * 32 * 32 + 32 + 17)
    model = build_sequence(num_labels=5, num_inputs=133, kind=kind)
    assert model.count_params() == parameters <= 100_000


def test_each_kind_is_in_keras_and_in_numpy():
    assert BODIES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_network_says_of_slices_what_the_slice_network_says(kind):
    model = build_sequence(num_labels=2, num_inputs=3, kind=kind)
    set_standardisation(model, np.array([1, 2, 3]), np.array([4, 5, 6]))
    rows = np.asarray(model(SERIES))
    assert rows.shape == (5, 2)
    np.testing.assert_allclose(rows[:4], _probability(SERIES[:, :2]), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_network_says_of_an_exam_the_soft_maximum_of_its_slices(kind):
    model = build_sequence(num_labels=2, num_inputs=3, kind=kind)
    # Label 0: three slices of -4 weigh exp(-14) each beside one of 3. Label 1: 1, 0.5, -2 and -5 weigh 1, exp(-1),
    # exp(-6) and exp(-12).
    shares = np.exp([0, -1, -6, -12])
    expected = [3 - 7 * 3 * np.exp(-14), shares @ [1, 0.5, -2, -5] / shares.sum()]
    np.testing.assert_allclose(np.asarray(model(SERIES))[4], _probability(expected), atol=1e-6)


def test_an_untrained_networks_exam_of_one_slice_is_the_slice():
    rows = np.asarray(build_sequence(num_labels=2, num_inputs=3)(SERIES[:1]))
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-6)


def test_inputs_are_standardised_but_the_logits_that_are_added_to_are_not():
    model = build_sequence(num_labels=2, num_inputs=3)
    set_standardisation(model, np.array([1, 2, 3]), np.array([4, 5, 10]))
    layer = model.get_layer("standardise")
    np.testing.assert_allclose(np.asarray(layer(SERIES[:1])), [[-5 / 4, -1 / 5, 0.4]])
    assert not layer.trainable_weights


@pytest.mark.parametrize(
    ("mean", "scale", "said"),
    [
        (np.zeros(2), np.ones(3), r"mean is float64 \[2\], expected finite numbers \[3\]"),
        (np.zeros(3), np.array([1, np.nan, 1]), "scale is"),
        (np.zeros(3), np.array([1, 0, 1]), "scale is 0 at the least, expected above 0: pass 1 for constant"),
    ],
)
def test_a_standardisation_that_does_not_fit_is_refused(mean, scale, said):
    with pytest.raises(ValueError, match=said):
        set_standardisation(build_sequence(num_labels=2, num_inputs=3), mean, scale)


def test_a_network_that_can_not_be_is_refused():
    with pytest.raises(ValueError, match="kind is 'lstm', expected one of conv, gru, attention"):
        build_sequence(num_labels=2, num_inputs=3, kind="lstm")
    with pytest.raises(ValueError, match="num_inputs is 3, expected 5 or more"):
        build_sequence(num_labels=5, num_inputs=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_comes_back(kind, tmp_path):
    model = build_sequence(num_labels=2, num_inputs=3, kind=kind)
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 0.1))
    model.save(tmp_path / "sequence.keras")
    again = keras.models.load_model(tmp_path / "sequence.keras")
    np.testing.assert_array_equal(np.asarray(again(SERIES)), np.asarray(model(SERIES)))
    assert kind_of(again) == kind


def test_only_training_drops_inputs():
    keras.utils.set_random_seed(0)
    model = build_sequence(num_labels=2, num_inputs=3, dropout=0.5)
    model.get_layer("slices").kernel.assign(np.full((32, 2), 0.1))
    at_rest, training = np.asarray(model(SERIES)), np.asarray(model(SERIES, training=True))
    np.testing.assert_array_equal(at_rest, np.asarray(model(SERIES)))
    assert not np.allclose(at_rest, training)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_elsewhere_leaves_it_in_float32(kind):
    try:
        keras.mixed_precision.set_global_policy("mixed_float16")
        model = build_sequence(num_labels=2, num_inputs=3, kind=kind)
        rows = np.asarray(model(SERIES))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[:4], _probability(SERIES[:, :2]), atol=1e-6)
