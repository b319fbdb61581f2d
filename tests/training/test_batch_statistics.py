"""Batch statistics for averaged weights: what they are, what they cost, and that training goes on as without them."""

import keras
import numpy as np
import pytest

from ich_mlflow.dataset.batches import FeatureBatches
from ich_mlflow.models.slice_cnn.classifier import batch_norms
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.training import batch_statistics
from ich_mlflow.training.batch_statistics import BatchStatistics
from ich_mlflow.training.loop import fit


def _batches(*features, batch_size=2, **rest):
    column = np.array(features, np.float32)[:, None]
    return FeatureBatches(column, np.zeros_like(column), batch_size=batch_size, **rest)


def _twice(*, rate=0.0, normalized=True):
    """Doubles its input, drops some of it, and normalises what is left."""
    doubled = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(2.0))
    norm = [keras.layers.BatchNormalization(momentum=0.9)] if normalized else []
    return keras.Sequential([keras.Input((1,)), doubled, keras.layers.Dropout(rate), *norm])


def _statistics(model):
    (norm,) = batch_norms(model)
    return float(norm.moving_mean[0]), float(norm.moving_variance[0])


# Doubled 1, 3 are 2, 6: mean 4, variance 4. Doubled 5, 9 are 10, 18: mean 14, variance 16. On average 9 and 10.
TWO_BATCHES = (1.0, 3.0, 5.0, 9.0)


def test_the_statistics_are_the_plain_mean_of_those_of_the_batches():
    model = _twice()
    BatchStatistics(model).estimate(_batches(*TWO_BATCHES))
    assert _statistics(model) == (9.0, 10.0)


def test_a_second_estimate_is_of_the_weights_that_the_model_has_then():
    model = _twice()
    statistics = BatchStatistics(model)
    statistics.estimate(_batches(*TWO_BATCHES))
    model.layers[0].kernel.assign([[1.0]])
    statistics.estimate(_batches(*TWO_BATCHES))
    assert _statistics(model) == (4.5, 2.5)


def test_batches_come_in_the_order_of_the_present_epoch():
    batches = _batches(
        *TWO_BATCHES, order=lambda epoch: np.array([0, 1, 2, 3] if epoch == 0 else [0, 3, 1, 2])
    )
    batches.start_epoch(1)
    model = _twice()
    BatchStatistics(model).estimate(batches)
    # 2, 18: mean 10, variance 64; 6, 10: mean 8, variance 4
    assert _statistics(model) == (9.0, 34.0)


def test_what_training_drops_does_not_matter_and_its_seeds_and_settings_stay():
    model = _twice(rate=0.5)
    (norm,), dropout = batch_norms(model), model.layers[1]
    seed = np.asarray(dropout.seed_generator.state).copy()
    BatchStatistics(model).estimate(_batches(*TWO_BATCHES))
    assert _statistics(model) == (9.0, 10.0)
    np.testing.assert_array_equal(np.asarray(dropout.seed_generator.state), seed)
    assert (dropout.rate, norm.momentum) == (0.5, 0.9)


def test_a_last_batch_that_is_not_full_is_left_out_unless_it_is_the_only_one():
    model = _twice()
    BatchStatistics(model).estimate(_batches(*TWO_BATCHES, 1000.0))
    assert _statistics(model) == (9.0, 10.0)
    BatchStatistics(model).estimate(_batches(1.0, 3.0, batch_size=8))
    assert _statistics(model) == (4.0, 4.0)


def test_no_more_batches_are_read_than_stated(monkeypatch):
    monkeypatch.setattr(batch_statistics, "MOST_BATCHES", 1)
    model = _twice()
    BatchStatistics(model).estimate(_batches(*TWO_BATCHES))
    assert _statistics(model) == (4.0, 4.0)


def test_a_network_without_batch_normalisation_reads_none(monkeypatch):
    read = []
    monkeypatch.setattr(FeatureBatches, "inputs", lambda self, places: read.append(places))
    BatchStatistics(_twice(normalized=False)).estimate(_batches(*TWO_BATCHES))
    assert read == []


def _fit(ema, *, epochs=3):
    """Train a network with every kind of state; return it, its live weights after each epoch, features and result."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 3)).astype(np.float32)
    targets = rng.integers(0, 2, (8, 1)).astype(np.float32)
    batches = FeatureBatches(features, targets, batch_size=8)
    live = []
    result = fit(
        model,
        train=batches,
        validation=batches,
        hyperparameters=Hyperparameters(
            epochs=epochs, batch_size=8, learning_rate=0.1, ema=ema, monitor="val_auc", patience=9
        ),
        score=lambda probabilities: {
            "val_loss": 0.5,
            "val/auc/macro": float(len(live)),
        },  # the last is the best
        on_epoch=lambda epoch, figures: live.append(model.get_weights()),
    )
    return model, live, features, result


def test_the_averaged_weights_are_validated_and_kept_with_their_own_statistics():
    model, live, features, result = _fit(0.75)
    dense, norm = model.layers[0], batch_norms(model)[0]
    seen = features @ np.asarray(dense.kernel) + np.asarray(dense.bias)
    np.testing.assert_allclose(np.asarray(norm.moving_mean), seen.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), seen.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(result.val_probabilities, np.asarray(model(features)), atol=1e-5)
    live_mean = live[-1][4]
    assert np.abs(live_mean - seen.mean(axis=0)).max() > 0.1


def test_the_live_weights_and_statistics_go_on_as_without_an_average():
    _, averaged, _, _ = _fit(0.75)
    _, plain, _, _ = _fit(0.0)
    assert len(averaged) == len(plain) == 3
    for ours, theirs in zip(averaged, plain, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_the_pass_is_compiled_as_training_is(jit):
    statistics = BatchStatistics(_twice(), jit=jit)
    assert statistics._network.jit_compile == jit
    statistics.estimate(_batches(*TWO_BATCHES))
