"""Warm-up, moving averages, checkpoints and going on, with a classifier whose backbone is a tiny network."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.dataset.batches import SliceBatches
from ich_mlflow.dataset.sampling import natural_order
from ich_mlflow.errors import DataError, ModelError, TrainingError
from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.slice_cnn.augmentation import augment_slices
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.training.compute import computing_in
from ich_mlflow.training.loop import fit
from ich_mlflow.training.progress import expect_finite
from tests.factories import TINY, tiny_network

SETTING = {"image_size": 32, "batch_size": 8, "epochs": 4, "learning_rate": 0.01, "patience": 9}


@pytest.fixture(autouse=True)
def _tiny(tiny_backbone):
    """Every classifier here is tiny."""


def _classifier(seed=0, **head):
    keras.utils.set_random_seed(seed)
    return build_classifier(num_labels=5, image_size=32, windows=parse_windows("brain"), **head)


def _fit(stored_set, model, *, on_epoch=lambda epoch, figures: None, checkpoint=None, jit=False, **setting):
    hyperparameters = Hyperparameters(**{**SETTING, **setting})
    rows = stored_set.rows("train")
    held_out = stored_set.rows("validation")
    train = SliceBatches(
        stored_set,
        rows,
        stored_set.subtypes[rows].astype(np.float32),
        batch_size=8,
        seed=1,
        order=lambda epoch: natural_order(len(rows), seed=1, epoch=epoch),
        augment=partial(augment_slices, strengths=hyperparameters),
        num_draws=5,
    )
    validation = SliceBatches(
        stored_set, held_out, stored_set.subtypes[held_out].astype(np.float32), batch_size=8
    )
    return fit(
        model,
        train=train,
        validation=validation,
        hyperparameters=hyperparameters,
        score=lambda probabilities: {
            "val_loss": recalibrated_loss(validation.targets, probabilities, SUBTYPES),
            "val/auc/macro": float(probabilities.mean()),
        },
        on_epoch=on_epoch,
        checkpoint=checkpoint,
        jit=jit,
    )


def _stop_after(last):
    def on_epoch(epoch, figures):
        if epoch == last:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize(
    ("last", "setting"),
    [
        (0, {"schedule": "cosine", "clip_norm": 1.0}),
        (1, {"ema": 0.9}),
        (0, {"frozen_epochs": 2, "epochs": 2}),  # in the frozen epochs
        (1, {"frozen_epochs": 2, "epochs": 2}),  # between the phases
        (2, {"frozen_epochs": 2, "epochs": 2, "frozen_augment": True}),
        (3, {}),  # after the last epoch
    ],
)
def test_a_training_that_was_cut_off_ends_where_an_uninterrupted_one_does(
    tmp_path, stored_set, last, setting
):
    whole_model, model = _classifier(), _classifier()
    whole = _fit(stored_set, whole_model, **setting)
    with pytest.raises(KeyboardInterrupt):
        _fit(stored_set, model, checkpoint=tmp_path / "state.npz", on_epoch=_stop_after(last), **setting)
    epochs = []
    fresh = _classifier(seed=99)  # other weights: all must come from the checkpoint
    result = _fit(
        stored_set,
        fresh,
        checkpoint=tmp_path / "state.npz",
        on_epoch=lambda epoch, figures: epochs.append(epoch),
        **setting,
    )
    assert epochs == [0, 1, 2, 3]  # those before the cut are told again, so that none is missing in the run
    assert result.best_epoch == whole.best_epoch
    np.testing.assert_allclose(result.history["loss"], whole.history["loss"], rtol=1e-4)
    np.testing.assert_allclose(result.val_probabilities, whole.val_probabilities, atol=1e-4)
    for ours, theirs in zip(fresh.get_weights(), whole_model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_sampler_and_dropout_matter_so_that_the_test_above_can_fail(stored_set):
    first, second = _classifier(), _classifier(seed=99)
    assert (
        abs(_fit(stored_set, first).history["loss"] - _fit(stored_set, second).history["loss"]).max() > 1e-3
    )


def test_early_stopping_survives_a_cut(tmp_path, stored_set):
    setting = {"learning_rate": 1e-9, "epochs": 9, "patience": 2, "monitor": "val_auc"}
    model = _classifier()
    with pytest.raises(KeyboardInterrupt):
        _fit(stored_set, model, checkpoint=tmp_path / "s", on_epoch=_stop_after(0), **setting)
    result = _fit(stored_set, _classifier(), checkpoint=tmp_path / "s", **setting)
    assert len(result.history) <= result.best_epoch + 3


def test_frozen_epochs_train_the_head_and_leaves_the_backbone_as_it_is(stored_set):
    model = _classifier()
    backbone = [np.array(weight) for weight in model.get_layer("tiny").get_weights()]
    head = model.get_layer("dense").get_weights()[0].copy()
    _fit(stored_set, model, frozen_epochs=2, epochs=1, learning_rate=1e-12, frozen_learning_rate=0.01)
    trainable = [weight.path for weight in model.get_layer("tiny").trainable_weights]
    for before, weight in zip(backbone, model.get_layer("tiny").weights, strict=True):
        if weight.path in trainable:
            np.testing.assert_allclose(before, np.asarray(weight), atol=1e-6)
    assert np.abs(model.get_layer("dense").get_weights()[0] - head).max() > 1e-3
    assert len(trainable) == 6  # thawed again: two convolutions with bias, one normalisation


def test_cached_features_give_the_head_that_whole_passes_give(stored_set):
    """Without augmentation the frozen backbone shows each slice's features the same in every epoch."""
    still = {"rotation_degrees": 0.0, "shift": 0.0, "zoom": 0.0, "flip": False}
    setting = {**still, "frozen_epochs": 3, "epochs": 1, "learning_rate": 1e-12, "frozen_learning_rate": 0.01}
    cached, whole = _classifier(), _classifier()
    _fit(stored_set, cached, **setting, frozen_augment=False)
    _fit(stored_set, whole, **setting, frozen_augment=True)
    for name in ("dense", "probabilities"):
        for ours, theirs in zip(
            cached.get_layer(name).get_weights(), whole.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_frozen_epochs_on_augmented_slices_give_another_head(stored_set):
    setting = {"frozen_epochs": 2, "epochs": 1, "learning_rate": 1e-12, "frozen_learning_rate": 0.01}
    cached, augmented = _classifier(), _classifier()
    _fit(stored_set, cached, **setting, shift=0.4)
    _fit(stored_set, augmented, **setting, shift=0.4, frozen_augment=True)
    ours, theirs = (model.get_layer("dense").get_weights()[0] for model in (cached, augmented))
    assert np.abs(ours - theirs).max() > 1e-4


def test_with_ema_the_averaged_weights_are_validated_and_kept(stored_set):
    """One step an epoch: after steps to w1 and w2 the average of momentum 0.75 is 0.75 w1 + 0.25 w2."""
    live = []

    def watch(model):
        return lambda epoch, figures: live.append([np.array(v) for v in model.trainable_variables])

    model = _classifier()
    rising = iter([0.1, 0.2])
    rows = stored_set.rows("train")[:8]
    result = fit(
        model,
        train=SliceBatches(stored_set, rows, stored_set.subtypes[rows].astype(np.float32), batch_size=8),
        validation=SliceBatches(stored_set, rows, stored_set.subtypes[rows].astype(np.float32), batch_size=8),
        hyperparameters=Hyperparameters(**{**SETTING, "epochs": 2, "ema": 0.75, "monitor": "val_auc"}),
        score=lambda probabilities: {"val_loss": 0.5, "val/auc/macro": next(rising)},
        on_epoch=watch(model),
    )
    assert result.best_epoch == 1
    for kept, first, second in zip(model.trainable_variables, *live, strict=True):
        np.testing.assert_allclose(np.asarray(kept), 0.75 * first + 0.25 * second, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(*live, strict=True)) > 1e-3


def test_jit_compiles_the_step_and_changes_no_figure_but_by_what_is_dropped(stored_set, monkeypatch):
    """XLA has a random generator of its own, so nothing is dropped here."""
    still = replace(TINY, build=partial(tiny_network, dropout=0.0))
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", still)
    plain, compiled = _classifier(dropout=0.0), _classifier(dropout=0.0)
    expected = _fit(stored_set, plain, epochs=1)
    result = _fit(stored_set, compiled, epochs=1, jit=True)
    assert compiled.jit_compile
    assert not plain.jit_compile
    np.testing.assert_allclose(result.history["loss"], expected.history["loss"], rtol=1e-3)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_mixed_precision_trains_and_its_checkpoint_goes_on(tmp_path, stored_set, precision):
    setting = {"epochs": 2, "ema": 0.5, "frozen_epochs": 1, "clip_norm": 1.0}
    with computing_in(precision):
        whole = _fit(stored_set, _classifier(), **setting)
        with pytest.raises(KeyboardInterrupt):
            _fit(stored_set, _classifier(), checkpoint=tmp_path / "s", on_epoch=_stop_after(1), **setting)
        model = _classifier()
        result = _fit(stored_set, model, checkpoint=tmp_path / "s", **setting)
    np.testing.assert_allclose(result.history["loss"], whole.history["loss"], rtol=2e-2)
    assert (type(model.optimizer).__name__ == "LossScaleOptimizer") == (precision == "mixed_float16")


def test_a_loss_that_explodes_ends_at_once_with_the_best_weights_so_far(tmp_path, stored_set):
    model = _classifier()

    def poison(epoch, figures):
        if epoch == 0:
            poison.best = model.get_weights()
            head = model.get_layer("probabilities")
            head.set_weights([np.full_like(weight, np.nan) for weight in head.get_weights()])

    with pytest.raises(
        ModelError, match="loss of epoch 2 is nan, expected a finite number: lower learning_rate"
    ):
        _fit(stored_set, model, on_epoch=poison, checkpoint=tmp_path / "s")
    for ours, best in zip(model.get_weights(), poison.best, strict=True):
        np.testing.assert_array_equal(ours, best)
    assert (tmp_path / "s").exists()


def test_running_out_of_memory_in_a_step_is_a_clear_error(stored_set, monkeypatch):
    def exhausted(self, places):
        raise MemoryError

    monkeypatch.setattr(SliceBatches, "inputs", exhausted)
    with pytest.raises(ModelError, match=r"out of memory with batch_size=8, image_size=32.*-P batch_size=4"):
        _fit(stored_set, _classifier())


def test_each_epoch_shows_its_own_order(stored_set, monkeypatch):
    """Keras ends an epoch before the first: the number of a batch's epoch must be the one that is logged."""
    read, epochs = SliceBatches.inputs, []

    def inputs(self, places):
        if self.order_of is not None:
            epochs.append(self.epoch)
        return read(self, places)

    monkeypatch.setattr(SliceBatches, "inputs", inputs)
    result = _fit(stored_set, _classifier(), epochs=3, patience=9)
    steps = -(-len(stored_set.rows("train")) // 8)
    assert len(result.history) == 3
    assert epochs[-3 * steps :] == [0] * steps + [1] * steps + [2] * steps


def test_damaged_data_end_a_training_with_their_own_words(stored_set, monkeypatch):
    read, calls = SliceBatches.inputs, []

    def inputs(self, places):
        calls.append(places)
        if len(calls) > 8:  # past what Keras looks at beforehand: in TensorFlow's thread
            raise DataError("hu-00000.npy is damaged: remove it")
        return read(self, places)

    monkeypatch.setattr(SliceBatches, "inputs", inputs)
    with pytest.raises(DataError, match="is damaged"):
        _fit(stored_set, _classifier())


def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path, stored_set):
    with pytest.raises(TrainingError, match=r"can't be written .* expected room for .*resume=true"):
        _fit(stored_set, _classifier(), checkpoint=tmp_path / "gone" / "state.npz")


def test_weights_that_end_an_epoch_as_no_numbers_are_seen_in_validation(stored_set, monkeypatch):
    def predict(learner, batches, *, said):
        return np.full((batches.num_slices, 5), np.nan, np.float32)

    monkeypatch.setattr("ich_mlflow.training.loop.predict", predict)
    with pytest.raises(TrainingError, match="the validation of epoch 1 is nan"):
        _fit(stored_set, _classifier())


def test_frozen_epochs_that_explode_name_their_own_rate():
    with pytest.raises(TrainingError, match="lower frozen_learning_rate"):
        expect_finite(float("nan"), 1, Hyperparameters(frozen_epochs=2))
    with pytest.raises(TrainingError, match="lower learning_rate"):
        expect_finite(float("nan"), 2, Hyperparameters(frozen_epochs=2))
