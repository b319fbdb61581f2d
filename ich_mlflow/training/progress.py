"""What a user sees while a network learns or predicts, and the first look at a loss that explodes."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ich_mlflow.dataset.batches import OrderedBatches
from ich_mlflow.errors import TrainingError

#: Steps between two looks at the loss: each look waits for the device.
LOOK_EVERY = 5


def predict(model: keras.Model, batches: OrderedBatches, *, said: str) -> np.ndarray:
    """The model's outputs float32 on the batches, in their order, under a progress bar."""
    with progress_bar(len(batches), said) as bar:
        step = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: bar.update())
        shared = _Shared(batches, model.distribute_strategy.num_replicas_in_sync)
        outputs = model.predict(shared, verbose=0, callbacks=[step])
        return np.asarray(outputs, dtype=np.float32)[: batches.num_slices]


class _Shared(keras.utils.PyDataset):
    """The same batches, the last filled up with copies until devices can share it: none may be left without."""

    def __init__(self, batches: OrderedBatches, replicas: int) -> None:
        super().__init__()
        self._batches, self._replicas = batches, replicas

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        inputs = self._batches[index][0]
        missing = -len(inputs) % self._replicas
        return (np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs,)


class EpochProgress(keras.callbacks.Callback):
    """A bar on stderr for every epoch; puts the epoch's seconds and slices/s into its logs.

    expect_finite: called now and then with loss and epoch, raises where the loss is no number any more.
    """

    def __init__(self, num_epochs: int, num_slices: int, expect_finite: Callable[[float, int], None]) -> None:
        super().__init__()
        self._num_epochs, self._num_slices = num_epochs, num_slices
        self._expect_finite = expect_finite
        self._bar: Any = None
        self._epoch = 0
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._started = epoch, time.perf_counter()
        self._bar = progress_bar(self.params["steps"], f"epoch {epoch + 1}/{self._num_epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()
        if logs and batch % LOOK_EVERY == 0:
            loss = float(logs["loss"])
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            if not math.isfinite(loss):
                self._bar.close()
            self._expect_finite(loss, self._epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        self._bar.close()
        logs["seconds"] = time.perf_counter() - self._started
        logs["slices_per_second"] = self._num_slices / logs["seconds"]


def expect_finite(value: float, epoch: int, hyperparameters: Any, *, what: str = "training loss") -> None:
    """Raise TrainingError where the value is no number any more: the steps were too long."""
    if math.isfinite(value):
        return
    name = "frozen_learning_rate" if epoch < hyperparameters.frozen_epochs else "learning_rate"
    raise TrainingError(
        f"the {what} of epoch {epoch + 1} is {value}, expected a finite number: lower {name} (it is "
        f"{getattr(hyperparameters, name):g}), pass -P clip_norm=1, or with mixed_float16 use mixed_bfloat16"
    )


def progress_bar(total: int, said: str) -> Any:
    """A bar of `total` steps on stderr that leaves nothing behind."""
    # A log file gets a line now and then, not one a step.
    mininterval = 0.2 if sys.stderr.isatty() else 20
    return tqdm(total=total, desc=said, unit="step", leave=False, mininterval=mininterval)
