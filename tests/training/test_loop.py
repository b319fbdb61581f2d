import keras
import numpy as np
import pytest

from ich_mlflow.dataset.batches import FeatureBatches, SliceBatches
from ich_mlflow.dataset.sampling import balanced
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.training.loop import fit, make_optimizer, mean_binary_crossentropy


@pytest.fixture
def tiny(stored_set):
    """A linear classifier, the batches it trains on, and their targets."""
    model = keras.Sequential(
        [
            keras.Input((256, 256, 1)),
            keras.layers.AveragePooling2D(64),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer="zeros"),
        ]
    )
    rows = stored_set.rows("train")
    targets = stored_set.subtypes[rows][:, :1].astype(np.float32)
    return model, SliceBatches(stored_set, rows, targets, batch_size=8), targets


def _fit(tiny, scores, **hyperparameters):
    model, batches, _ = tiny
    epochs = []
    remaining = iter(scores)
    result = fit(
        model,
        train=batches,
        validation=batches,
        hyperparameters=Hyperparameters(**{"learning_rate": 1e-6, **hyperparameters}),
        score=lambda probabilities: {"val_loss": 1 - (score := next(remaining)), "val/auc/macro": score},
        on_epoch=lambda epoch, figures: epochs.append((epoch, model.get_weights(), figures)),
    )
    return result, epochs, model


def test_cross_entropy_by_hand():
    # -(ln 0.8 + ln 0.5) / 2
    value = mean_binary_crossentropy(np.array([[1.0], [0.0]]), np.array([[0.8], [0.5]]))
    assert value == pytest.approx(0.4581, abs=1e-4)


def test_training_stops_after_patience_epochs_without_a_better_auc_and_keeps_the_best_weights(tiny):
    scores = [0.5, 0.7, 0.6, 0.65, 0.9]
    result, epochs, model = _fit(tiny, scores, epochs=5, patience=2, monitor="val_auc")
    assert [epoch for epoch, _, _ in epochs] == [0, 1, 2, 3]
    assert result.best_epoch == 1
    for kept, then in zip(model.get_weights(), epochs[1][1], strict=True):
        np.testing.assert_array_equal(kept, then)
    _, batches, _ = tiny
    probabilities = np.asarray(model.predict(batches, verbose=0))
    np.testing.assert_array_equal(result.val_probabilities, probabilities)


def test_by_val_loss_the_lowest_wins(tiny):
    result, _, _ = _fit(tiny, [0.7, 0.9, 0.8], epochs=3, patience=3, monitor="val_loss")
    assert list(result.history["val_loss"]) == pytest.approx([0.3, 0.1, 0.2])
    assert result.best_epoch == 1


def test_history_has_a_row_an_epoch_with_every_figure(tiny):
    result, _, _ = _fit(tiny, [0.5, 0.6], epochs=2)
    assert list(result.history["epoch"]) == [0, 1]
    assert {
        "loss",
        "seconds",
        "slices_per_second",
        "val_loss",
        "val_loss_uncalibrated",
        "val/auc/macro",
    } <= set(result.history)


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_learning_rate(tiny):
    model, _, _ = tiny
    model.layers[-1].set_weights([np.full((16, 1), np.nan), np.zeros(1)])
    with pytest.raises(ModelError, match="learning_rate"):
        _fit(tiny, [0.5], epochs=1)


def test_the_cosine_schedule_falls_from_the_rate_to_a_hundredth_of_it():
    rate = make_optimizer(Hyperparameters(learning_rate=0.1, schedule="cosine"), num_steps=100)._learning_rate
    # half way: 0.1 * (0.99 * 0.5 + 0.01)
    assert [float(rate(step)) for step in (0, 50, 100)] == pytest.approx([0.1, 0.0505, 0.001])
    constant = make_optimizer(Hyperparameters(learning_rate=0.1), num_steps=100)
    assert float(constant.learning_rate) == pytest.approx(0.1)


def test_gradients_are_clipped_by_their_common_norm():
    assert make_optimizer(Hyperparameters(), num_steps=1).global_clipnorm is None
    optimizer = make_optimizer(Hyperparameters(clip_norm=1.0), num_steps=1)
    clipped = optimizer._clip_gradients([keras.ops.array([3.0]), keras.ops.array([4.0])])
    # the norm of (3, 4) is 5
    assert [float(one[0]) for one in clipped] == pytest.approx([0.6, 0.8])


def test_the_loss_that_is_given_is_trained_and_the_uncalibrated_loss_stays_cross_entropy(tiny):
    class Tenfold(keras.losses.BinaryCrossentropy):
        def call(self, y_true, y_pred):
            return 10 * super().call(y_true, y_pred)

    model, batches, _ = tiny
    result = fit(
        model,
        train=batches,
        validation=batches,
        hyperparameters=Hyperparameters(learning_rate=1e-9, epochs=1),
        score=lambda probabilities: {"val_loss": 0.25, "val/auc/macro": 0.5},
        on_epoch=lambda epoch, figures: None,
        loss=Tenfold(),
    )
    # weights of zero give one half everywhere: ln 2
    assert result.history["loss"][0] == pytest.approx(6.931, abs=1e-2)
    assert result.history["val_loss_uncalibrated"][0] == pytest.approx(0.6931, abs=1e-3)
    assert result.history["val_loss"][0] == 0.25


@pytest.mark.parametrize(("weight_decay", "kernel"), [(0.0, 1.0), (0.5, 0.95)])
def test_weight_decay_draws_kernels_to_zero_and_leaves_biases(weight_decay, kernel):
    # no gradient: a step takes off 0.1 * 0.5 of each kernel
    layer = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 1))
    hyperparameters = Hyperparameters(learning_rate=0.1, weight_decay=weight_decay)
    optimizer = make_optimizer(hyperparameters, num_steps=1)
    optimizer.apply([np.zeros((1, 1), np.float32), np.zeros(1, np.float32)], layer.trainable_variables)
    assert float(layer.kernel[0, 0]) == pytest.approx(kernel)
    assert float(layer.bias[0]) == 1.0


#: Of 1,000 slices 100 bleed; a feature is seen on 80 of those and on 90 of the others, another on every second slice.
BLEEDS = np.repeat([1.0, 0.0], [100, 900])[:, None].astype(np.float32)
FEATURES = np.stack([np.repeat([1, 0, 1, 0], [80, 20, 90, 810]), np.tile([1, -1], 500)], axis=1).astype(
    np.float32
)


def _fit_balanced(judge):
    """Train on as many bleeds as others from a network that says the prevalence and goes by the wrong feature."""
    keras.utils.set_random_seed(0)
    sure = keras.layers.Dense(
        1, activation="sigmoid", bias_initializer=keras.initializers.Constant(np.log(1 / 9))
    )
    model = keras.Sequential([keras.Input((2,)), sure])
    sure.kernel.assign([[0.0], [1.0]])
    sampler = balanced(BLEEDS, np.arange(len(BLEEDS)), rate=0.5)
    return fit(
        model,
        train=FeatureBatches(
            FEATURES, BLEEDS, batch_size=100, order=lambda epoch: sampler.order(seed=0, epoch=epoch)
        ),
        validation=FeatureBatches(FEATURES, BLEEDS, batch_size=1000),
        hyperparameters=Hyperparameters(epochs=7, patience=2, learning_rate=0.02),
        score=lambda probabilities: {"val_loss": judge(BLEEDS, probabilities)},
        on_epoch=lambda epoch, figures: None,
    ).history


def test_a_training_on_balanced_classes_goes_on_where_plain_cross_entropy_stopped_it():
    """The prevalence alone has 0.3251: less than the plain one of these networks. The right feature allows 0.2118."""
    before = _fit_balanced(mean_binary_crossentropy)
    assert len(before) == 5
    assert before["val_loss"].min() > 0.3251
    now = _fit_balanced(lambda targets, said: recalibrated_loss(targets, said, ("subdural",)))
    assert len(now) == 7
    assert now["val_loss"].is_monotonic_decreasing
    assert now["val_loss"].iloc[-1] == pytest.approx(0.2118, abs=2e-3)
    assert now["val_loss_uncalibrated"].iloc[-1] > 0.3251
