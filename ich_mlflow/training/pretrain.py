"""The pretraining loop: labels and lesions at once, one validation and one checkpoint a part of a pass."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_mlflow.errors import TrainingError
from ich_mlflow.models.slice_cnn.lesion_head import LESIONS_OUTPUT, LesionLoss
from ich_mlflow.models.slice_cnn.pretraining import LABELS_OUTPUT
from ich_mlflow.training.checkpoint import TrainingState
from ich_mlflow.training.loop import mean_binary_crossentropy
from ich_mlflow.training.pretraining_batches import PretrainingBatches
from ich_mlflow.training.progress import EpochProgress

#: Share of the steps in which the learning rate rises from nothing.
WARMUP_SHARE = 0.05
#: What cosine leaves of the learning rate at the end.
END_SHARE = 0.01
CLIP_NORM = 1.0
#: Epoch (counted from 0), its figures
OnEpoch = Callable[[int, dict[str, float]], None]
#: (targets, probabilities) [N, 6] -> named figures
Score = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """epochs: parts of a pass; learning_rate: the highest; lesion_weight: of the lesions' loss, 0 or more."""

    epochs: int
    learning_rate: float
    lesion_weight: float


def pretrain(
    network: keras.Model,
    *,
    train: PretrainingBatches,
    validation: PretrainingBatches,
    settings: PretrainSettings,
    score: Score,
    on_epoch: OnEpoch,
    checkpoint: Path,
) -> list[dict[str, float]]:
    """Train the network in place; return the figures of every epoch: loss is that of the labels, lesion_loss the other.

    checkpoint: file of the state, written after each epoch; where it exists the training goes on from it, and ends as
    it would have. Raises TrainingError where the loss stops being finite.
    """
    state = TrainingState.read(checkpoint) if checkpoint.exists() else TrainingState()
    steps = settings.epochs * len(train)
    network.compile(
        optimizer=_optimizer(settings.learning_rate, steps),
        loss=[keras.losses.BinaryCrossentropy(), LesionLoss()],
        loss_weights=[1.0, settings.lesion_weight],
    )
    if state.epoch:
        state.put_back(network)
        state.put_back_optimizer(network.optimizer, network)
    for figures in state.history:
        on_epoch(int(figures["epoch"]), {name: value for name, value in figures.items() if name != "epoch"})
    if state.epoch < settings.epochs:
        network.fit(
            train,
            initial_epoch=state.epoch,
            epochs=settings.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[
                EpochProgress(settings.epochs, train.num_slices, _expect_finite),
                _Epochs(train, validation, state, checkpoint, score, on_epoch),
            ],
        )
    return state.history


def figures_of(network: keras.Model, batches: PretrainingBatches, score: Score) -> dict[str, float]:
    """What score says of the labels, their cross-entropy `val_loss_uncalibrated`, and `val_dice` of all blood."""
    # Dice is summed batch by batch: all maps together would be gigabytes.
    probabilities, overlap, both = [], 0.0, 0.0
    for index in range(len(batches)):
        pixels, (_, cells) = batches[index]
        said = network(pixels, training=False)
        probabilities.append(np.asarray(said[LABELS_OUTPUT]))
        blood = np.asarray(said[LESIONS_OUTPUT])
        overlap += float(2 * (blood * cells).sum())
        both += float(blood.sum() + cells.sum())
    all_said = np.concatenate(probabilities)
    return {
        **score(batches.targets, all_said),
        "val_loss_uncalibrated": mean_binary_crossentropy(batches.targets, all_said),
        "val_dice": overlap / max(both, 1e-9),
    }


def labels_said(network: keras.Model, batches: PretrainingBatches) -> np.ndarray:
    """The network's probabilities float32 [N, 6] of the labels, on batches as they are."""
    said = [network(batches[index][0], training=False)[LABELS_OUTPUT] for index in range(len(batches))]
    return np.concatenate([np.asarray(one) for one in said])


def lesions_said(network: keras.Model, batches: PretrainingBatches, rows: Sequence[int]) -> np.ndarray:
    """The network's shares of blood of any subtype float32 [n, S/4, S/4], of some slices of batches as they are."""
    size = batches.batch_size
    said = [network(batches[row // size][0][row % size][None], training=False) for row in rows]
    return np.concatenate([np.asarray(one[LESIONS_OUTPUT]).sum(axis=-1).clip(0, 1) for one in said])


def _expect_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss of epoch {epoch + 1} is {loss}, expected a finite number: lower -P learning_rate="
        )


class _Epochs(keras.callbacks.Callback):
    """Gives each epoch its slices; at its end validates, writes the checkpoint and hands the figures on."""

    def __init__(
        self,
        train: PretrainingBatches,
        validation: PretrainingBatches,
        state: TrainingState,
        checkpoint: Path,
        score: Score,
        on_epoch: OnEpoch,
    ) -> None:
        super().__init__()
        self._train, self._validation, self._state = train, validation, state
        self._checkpoint, self._score, self._on_epoch = checkpoint, score, on_epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._train.start_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        _expect_finite(float(logs["loss"]), epoch)
        figures = {
            "loss": float(logs[f"{LABELS_OUTPUT}_loss"]),
            "lesion_loss": float(logs[f"{LESIONS_OUTPUT}_loss"]),
            "seconds": logs["seconds"],
            "slices_per_second": logs["slices_per_second"],
            **figures_of(self.model, self._validation, self._score),
        }
        state = self._state
        state.capture(self.model, self.model.optimizer)
        state.epoch = epoch + 1
        state.history.append({"epoch": epoch, **figures})
        state.write(self._checkpoint)
        self._on_epoch(epoch, figures)


def _optimizer(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    warmup = max(1, round(WARMUP_SHARE * steps))
    rate: Any = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, steps - warmup),
        alpha=END_SHARE,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    return keras.optimizers.Adam(rate, global_clipnorm=CLIP_NORM)
