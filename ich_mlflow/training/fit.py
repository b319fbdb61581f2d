"""The fit: Adam, a loss, early stopping on validation, progress, one pass of validation an epoch."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from ich_mlflow.dataset.pipeline import SliceBatches
from ich_mlflow.errors import ModelError
from ich_mlflow.training.hyperparameters import Hyperparameters

#: What the cosine schedule leaves of the learning rate at the end.
COSINE_END = 0.01
#: Probabilities [N, L] of the validation slices -> named figures, `val/auc/macro` among them.
Score = Callable[[np.ndarray], dict[str, float]]
#: Called after each epoch (counted from 0) with every figure of it.
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit leaves beside the model, whose weights are those of the best epoch.

    history            one row an epoch: epoch, loss, val_loss, seconds, slices_per_second and the scores
    best_epoch         counted from 0
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
    val_targets: np.ndarray,
    hyperparameters: Hyperparameters,
    score: Score,
    on_epoch: OnEpoch,
    loss: keras.losses.Loss | None = None,
) -> FitResult:
    """Train the model in place and put back the weights of the epoch with the best `monitor`.

    loss: binary cross-entropy where None; val_loss is that in any case, so that runs compare.
    Raises ModelError where the loss stops being finite.
    """
    model.compile(
        optimizer=make_optimizer(hyperparameters, num_steps=len(train) * hyperparameters.epochs),
        loss=loss or keras.losses.BinaryCrossentropy(),
    )
    validator = _Validator(validation, val_targets, hyperparameters, score, on_epoch)
    progress = _Progress(hyperparameters.epochs, train.num_slices)
    model.fit(
        train,
        epochs=hyperparameters.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[progress, validator],
    )
    return validator.result(model)


def make_optimizer(hyperparameters: Hyperparameters, *, num_steps: int) -> keras.optimizers.Optimizer:
    """Adam with the schedule and the gradient clipping of the hyperparameters. num_steps: of all epochs."""
    rate: Any = hyperparameters.learning_rate
    if hyperparameters.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=num_steps, alpha=COSINE_END)
    return keras.optimizers.Adam(rate, global_clipnorm=hyperparameters.clip_norm or None)


def mean_binary_crossentropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Binary cross-entropy averaged over slices and labels, clipped at 1e-7 as Keras does."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p)))


class _Validator(keras.callbacks.Callback):
    """Validates once an epoch, hands the figures on, keeps the best weights, stops early."""

    def __init__(
        self,
        validation: SliceBatches,
        val_targets: np.ndarray,
        hyperparameters: Hyperparameters,
        score: Score,
        on_epoch: OnEpoch,
    ) -> None:
        super().__init__()
        self._validation, self._targets = validation, val_targets
        self._hyperparameters, self._score, self._on_epoch = hyperparameters, score, on_epoch
        self._history: list[dict[str, float]] = []
        self._best_value, self._best_epoch = -math.inf, 0
        self._best_weights: list[np.ndarray] | None = None
        self._best_probabilities = np.empty(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if not math.isfinite(logs["loss"]):
            raise ModelError(
                f"the training loss of epoch {epoch + 1} is {logs['loss']}, expected a finite number: lower "
                f"learning_rate (it is {self._hyperparameters.learning_rate})"
            )
        probabilities = np.asarray(self.model.predict(self._validation, verbose=0))
        figures = {
            "loss": float(logs["loss"]),
            "val_loss": mean_binary_crossentropy(self._targets, probabilities),
            "seconds": logs["seconds"],
            "slices_per_second": logs["slices_per_second"],
            **self._score(probabilities),
        }
        self._history.append({"epoch": epoch, **figures})
        self._on_epoch(epoch, figures)
        self._keep_if_best(epoch, figures, probabilities)
        _print_epoch(epoch, self._hyperparameters.epochs, figures)
        if epoch - self._best_epoch >= self._hyperparameters.patience:
            self.model.stop_training = True

    def _keep_if_best(self, epoch: int, figures: dict[str, float], probabilities: np.ndarray) -> None:
        by_auc = self._hyperparameters.monitor == "val_auc"
        value = figures.get("val/auc/macro", -math.inf) if by_auc else -figures["val_loss"]
        if value > self._best_value or self._best_weights is None:
            self._best_value, self._best_epoch = value, epoch
            self._best_weights = self.model.get_weights()
            self._best_probabilities = probabilities

    def result(self, model: keras.Model) -> FitResult:
        assert self._best_weights is not None
        model.set_weights(self._best_weights)
        return FitResult(
            history=pd.DataFrame(self._history),
            best_epoch=self._best_epoch,
            val_probabilities=self._best_probabilities,
        )


class _Progress(keras.callbacks.Callback):
    """A bar on stderr for every epoch; puts the epoch's seconds and slices/s into its logs."""

    def __init__(self, epochs: int, num_slices: int) -> None:
        super().__init__()
        self._epochs, self._num_slices = epochs, num_slices
        self._bar: Any = None
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()
        self._bar = tqdm(
            total=self.params["steps"],
            desc=f"epoch {epoch + 1}/{self._epochs}",
            unit="step",
            leave=False,
            # A log file gets a line now and then, not one a step.
            mininterval=0.2 if sys.stderr.isatty() else 20,
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()
        if logs and batch % 5 == 0:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.4f}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        self._bar.close()
        logs["seconds"] = time.perf_counter() - self._started
        logs["slices_per_second"] = self._num_slices / logs["seconds"]


def _print_epoch(epoch: int, epochs: int, figures: dict[str, float]) -> None:
    auc = figures.get("val/auc/macro")
    said = "not estimable" if auc is None else f"{auc:.3f}"
    print(
        f"epoch {epoch + 1}/{epochs}  loss {figures['loss']:.4f}  val loss {figures['val_loss']:.4f}  "
        f"val mean AUC {said}  {figures['seconds']:.0f} s, {figures['slices_per_second']:.0f} slices/s",
        flush=True,
    )
