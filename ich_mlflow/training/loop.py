"""The loop: frozen epochs of the head, fine-tuning of everything, one validation and one checkpoint an epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ich_mlflow.dataset.batches import FeatureBatches, OrderedBatches, SliceBatches
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.models.slice_cnn.classifier import backbone_of, features_of, frozen_of, head_of, labels_of
from ich_mlflow.models.slice_cnn.lesion_head import LESIONS_OUTPUT
from ich_mlflow.training.batch_statistics import BatchStatistics
from ich_mlflow.training.checkpoint import TrainingState
from ich_mlflow.training.compute import memory_errors_explained
from ich_mlflow.training.progress import EpochProgress, expect_finite, predict

#: What the cosine schedule leaves of the learning rate at the end.
COSINE_END = 0.01
#: With kept_epoch: the last epoch is the one that is kept, whatever it scored.
LAST = "last"
#: What Keras calls the loss of a lesion head.
_LESION_LOSS = f"{LESIONS_OUTPUT}_loss"
#: Probabilities [N, L] of the validation slices -> named figures, `val_loss` and `val/auc/macro` among them.
Score = Callable[[np.ndarray], dict[str, float]]
#: Called after each epoch (counted from 0) with every figure of it.
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit leaves beside the model, whose weights are those of the best epoch; the last with kept_epoch=last.

    history            one row an epoch: epoch, loss, val_loss_uncalibrated, seconds, slices_per_second and the scores
    best_epoch         counted from 0, frozen epochs included
    val_probabilities  float32 [N, L] of the best epoch on the validation slices
    """

    history: pd.DataFrame
    best_epoch: int
    val_probabilities: np.ndarray


def fit(
    model: keras.Model,
    *,
    train: SliceBatches,
    validation: SliceBatches,
    hyperparameters: Any,
    score: Score,
    on_epoch: OnEpoch,
    loss: Any = None,
    jit: bool = False,
    checkpoint: Path | None = None,
) -> FitResult:
    """Train the model in place and put back the weights of the epoch with the best `monitor`, or of the last one.

    loss: of several outputs a list of each one's; binary cross-entropy where None. What `val_loss` is, score says; the
    history has val_loss_uncalibrated beside it, the binary cross-entropy of the outputs as they come, whatever the
    loss.
    checkpoint: file of the state, written after each epoch; where it exists the training goes on from it.
    Raises TrainingError where the loss stops being finite, memory runs out or a checkpoint can't be written, and
    the batches' own errors; then the model has the weights of the best epoch so far, if there was one. ModelError
    where the checkpoint can't be read or is another training's.
    """
    state = TrainingState.read(checkpoint) if checkpoint and checkpoint.exists() else TrainingState()
    if state.epoch:
        state.put_back(model)
    training = _Training(model, validation, hyperparameters, score, on_epoch, state, checkpoint)
    loss = loss or keras.losses.BinaryCrossentropy()
    try:
        with memory_errors_explained(hyperparameters), data_errors_carried(train, validation):
            if state.epoch < hyperparameters.frozen_epochs:
                _train_frozen(training, train, loss, jit=jit)
            if not training.is_over:
                _fine_tune(training, train, loss, jit=jit)
    finally:
        if state.best_weights:
            model.set_weights(state.best_weights)
    return FitResult(
        history=pd.DataFrame(state.history),
        best_epoch=state.best_epoch,
        val_probabilities=state.best_probabilities,
    )


@contextmanager
def data_errors_carried(*batches: OrderedBatches) -> Iterator[None]:
    """Raise the batches' own error where TensorFlow has made one of its kind of it."""
    try:
        yield
    except Exception:
        for one in batches:
            if one.error is not None:
                raise one.error from None
        raise


def make_optimizer(hyperparameters: Any, *, num_steps: int) -> keras.optimizers.Optimizer:
    """Adam with the hyperparameters' schedule, clipping, weight decay and moving average. num_steps: of all epochs."""
    rate: Any = hyperparameters.learning_rate
    if hyperparameters.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=num_steps, alpha=COSINE_END)
    averaged: dict[str, Any] = (
        {"use_ema": True, "ema_momentum": hyperparameters.ema} if hyperparameters.ema else {}
    )
    return _adam(rate, hyperparameters, **averaged)


def _adam(rate: Any, hyperparameters: Any, **options: Any) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(
        rate,
        global_clipnorm=hyperparameters.clip_norm or None,
        weight_decay=hyperparameters.weight_decay or None,
        **options,
    )
    if hyperparameters.weight_decay:
        # Only kernels decay: a bias or a normalisation drawn to zero is not a simpler network.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def mean_binary_crossentropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Binary cross-entropy averaged over slices and labels, clipped at 1e-7 as Keras does."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)))


def _train_frozen(training: "_Training", train: SliceBatches, loss: keras.losses.Loss, *, jit: bool) -> None:
    """Train the head with the backbone at rest, on its features where slices come as they stand."""
    model, hyperparameters = training.model, training.hyperparameters
    backbone = backbone_of(model)
    backbone.trainable = False
    try:
        batches: OrderedBatches = train
        validation: OrderedBatches = training.validation
        learner = frozen_of(model)
        if not hyperparameters.frozen_augment:
            features = features_of(model)
            batches, validation = (
                FeatureBatches(
                    _features(features, slices, said=f"features of {name}"),
                    slices.targets,
                    batch_size=hyperparameters.batch_size,
                    order=slices.order_of,
                    divisor=slices.divisor,
                    size=slices.size,
                )
                for name, slices in (
                    ("training slices", train),
                    ("validation slices", training.validation),
                )
            )
            learner = head_of(model)
        optimizer = _adam(hyperparameters.frozen_learning_rate, hyperparameters)
        learner.compile(optimizer=optimizer, loss=loss, jit_compile=jit)
        training.run(learner, batches, validation, until=hyperparameters.frozen_epochs)
    finally:
        backbone.trainable = True


def _features(features: keras.Model, slices: SliceBatches, *, said: str) -> np.ndarray:
    plain = slices.as_stored()
    with data_errors_carried(plain):
        return predict(features, plain, said=said)


def _fine_tune(training: "_Training", train: SliceBatches, loss: Any, *, jit: bool) -> None:
    hyperparameters = training.hyperparameters
    num_steps = len(train) * hyperparameters.epochs
    training.model.compile(
        optimizer=make_optimizer(hyperparameters, num_steps=num_steps), loss=loss, jit_compile=jit
    )
    if hyperparameters.ema:
        training.statistics = BatchStatistics(training.model, jit=jit)
    until = hyperparameters.frozen_epochs + hyperparameters.epochs
    training.run(training.model, train, training.validation, until=until)


class _Training:
    """The one state of a training while its phases run.

    statistics: of the averaged weights, in a phase that has such.
    """

    def __init__(
        self,
        model: keras.Model,
        validation: SliceBatches,
        hyperparameters: Any,
        score: Score,
        on_epoch: OnEpoch,
        state: TrainingState,
        checkpoint: Path | None,
    ) -> None:
        self.model, self.validation, self.hyperparameters = model, validation, hyperparameters
        self.state = state
        self.statistics: BatchStatistics | None = None
        self._score, self._on_epoch, self._checkpoint = score, on_epoch, checkpoint
        for figures in state.history:  # what was logged before a crash, and what was not any more
            on_epoch(int(figures["epoch"]), _without_epoch(figures))

    @property
    def num_epochs(self) -> int:
        return self.hyperparameters.frozen_epochs + self.hyperparameters.epochs

    @property
    def is_over(self) -> bool:
        """Whether every epoch is done, or `patience` of them after the frozen ones were no better."""
        state = self.state
        if self.hyperparameters.kept_epoch == LAST:
            return state.epoch >= self.num_epochs
        waited = state.epoch - max(state.best_epoch + 1, self.hyperparameters.frozen_epochs)
        return state.epoch >= self.num_epochs or waited >= self.hyperparameters.patience

    def run(
        self, learner: keras.Model, batches: OrderedBatches, validation: OrderedBatches, *, until: int
    ) -> None:
        """Fit `learner`, which shares the model's variables, up to epoch `until`.

        The optimiser goes on where the state holds one of this phase, which it does but for its first epoch.
        """
        first = self.state.epoch
        if first not in (0, self.hyperparameters.frozen_epochs):
            self.state.put_back_optimizer(learner.optimizer, learner)
        learner.fit(
            batches,
            initial_epoch=first,
            epochs=until,
            shuffle=False,
            verbose=0,
            callbacks=[
                EpochProgress(
                    self.num_epochs,
                    batches.num_slices,
                    lambda loss, epoch: expect_finite(loss, epoch, self.hyperparameters),
                ),
                _Epochs(self, labels_of(learner), batches, validation),
            ],
        )

    def end_epoch(
        self,
        epoch: int,
        learner: keras.Model,
        labels: keras.Model,
        batches: OrderedBatches,
        validation: OrderedBatches,
        logs: dict[str, float],
    ) -> None:
        """Validate, keep the best, write the checkpoint, hand the figures on. labels: the learner without lesions."""
        state = self.state
        state.capture(self.model, learner.optimizer)
        learner.optimizer.finalize_variable_values(learner.trainable_variables)  # their average, with ema
        if self.statistics:
            self.statistics.estimate(batches)
        probabilities = predict(labels, validation, said="validation")
        expect_finite(float(probabilities.sum()), epoch, self.hyperparameters, what="validation")
        figures = {
            "loss": float(logs["loss"]),
            **({"lesion_loss": float(logs[_LESION_LOSS])} if _LESION_LOSS in logs else {}),
            "val_loss_uncalibrated": mean_binary_crossentropy(validation.targets, probabilities),
            "seconds": logs["seconds"],
            "slices_per_second": logs["slices_per_second"],
            **self._score(probabilities),
        }
        self._keep_if_best(epoch, figures, probabilities)
        state.put_back(self.model)  # the live weights and statistics
        state.epoch = epoch + 1
        state.history.append({"epoch": epoch, **figures})
        if self._checkpoint:
            state.write(self._checkpoint)
        self._on_epoch(epoch, figures)
        _print_epoch(epoch, self.num_epochs, figures)

    def _keep_if_best(self, epoch: int, figures: dict[str, float], probabilities: np.ndarray) -> None:
        value = MONITORS[self.hyperparameters.monitor].goodness(figures)
        state = self.state
        is_kept = self.hyperparameters.kept_epoch == LAST or value > state.best_value
        if is_kept or not state.best_weights:
            state.best_value, state.best_epoch = value, epoch
            state.best_weights = self.model.get_weights()
            state.best_probabilities = probabilities


class _Epochs(keras.callbacks.Callback):
    """Begins each epoch with its own order, hands its end to the training, and stops early."""

    def __init__(
        self,
        training: _Training,
        labels: keras.Model,
        batches: OrderedBatches,
        validation: OrderedBatches,
    ) -> None:
        super().__init__()
        self._training, self._labels = training, labels
        self._batches, self._validation = batches, validation

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches.start_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        expect_finite(float(logs["loss"]), epoch, self._training.hyperparameters)
        self._training.end_epoch(epoch, self.model, self._labels, self._batches, self._validation, logs)
        self.model.stop_training = self._training.is_over


def _without_epoch(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name != "epoch"}


def _print_epoch(epoch: int, num_epochs: int, figures: dict[str, float]) -> None:
    auc = figures.get("val/auc/macro")
    said = "not estimable" if auc is None else f"{auc:.3f}"
    print(
        f"epoch {epoch + 1}/{num_epochs}  loss {figures['loss']:.4f}  val loss {figures['val_loss']:.4f}  "
        f"val mean AUC {said}  {figures['seconds']:.0f} s, {figures['slices_per_second']:.0f} slices/s",
        flush=True,
    )
