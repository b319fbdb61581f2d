"""The state of a training between two epochs, and its file: everything that going on needs, nothing else."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from ich_mlflow.errors import ModelError, TrainingError
from ich_mlflow.system.whole import write_whole

STATE_FILE = "state.npz"
#: 2: what `val_loss` is, and so what the best epoch was chosen by, changed.
_SCHEMA = 2
_NUMBERS = ("epoch", "best_epoch", "best_value", "history")


@dataclass(kw_only=True)
class TrainingState:
    """Where a training stands after `epoch` finished epochs. The sampler's state is that number and the seed.

    history       one dict of figures an epoch, `epoch` (counted from 0) among them
    best_epoch, best_value, best_weights, best_probabilities
                  of the epoch with the best `monitor`: weights as Model.get_weights orders them, and the
                  probabilities [N, L] of the validation slices
    variables     every variable of the model as it was left, random seeds included
    optimizer     every variable of the optimiser, moving averages of weights included
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = float("-inf")
    best_weights: list[np.ndarray] = field(default_factory=list)
    best_probabilities: np.ndarray = field(default_factory=lambda: np.empty(0))
    variables: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)

    def capture(self, model: keras.Model, optimizer: Any) -> None:
        """Take over the variables of model and optimiser."""
        self.variables = [np.asarray(variable) for variable in model.variables]
        self.optimizer = [np.asarray(variable) for variable in optimizer.variables]

    def put_back(self, model: keras.Model) -> None:
        """Give the model its variables. Raises ModelError where it is another model."""
        _assign(model.variables, self.variables, "model")

    def put_back_optimizer(self, optimizer: Any, model: keras.Model) -> None:
        """Give the optimiser of the model its variables. Raises ModelError where it is another optimiser."""
        optimizer.build(model.trainable_variables)
        _assign(optimizer.variables, self.optimizer, "optimiser")

    def write(self, path: Path) -> None:
        """Write the state whole or not at all: a crash leaves the one before. TrainingError on a full disk."""
        arrays: dict[str, np.ndarray] = {"best_probabilities": self.best_probabilities}
        for name in ("best_weights", "variables", "optimizer"):
            arrays |= {f"{name}/{number:05d}": value for number, value in enumerate(getattr(self, name))}
        numbers = {"schema": _SCHEMA, **{name: getattr(self, name) for name in _NUMBERS}}
        arrays["numbers"] = np.frombuffer(json.dumps(numbers).encode(), np.uint8)
        try:
            write_whole(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
        except OSError as error:
            raise TrainingError(
                f"checkpoint {path} can't be written ({error.strerror}), expected room for "
                f"{sum(value.nbytes for value in arrays.values()) / 2**20:.0f} MiB beside the previous "
                "checkpoint: make room and go on with -P resume=true"
            ) from None

    @classmethod
    def read(cls, path: Path) -> "TrainingState":
        """Read a state. Raises ModelError where the file is damaged or of another version."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                numbers = json.loads(arrays["numbers"].tobytes())
                if numbers.pop("schema") != _SCHEMA:
                    raise ValueError("another version")
                lists: dict[str, Any] = {
                    name: [arrays[key] for key in sorted(arrays.files) if key.startswith(f"{name}/")]
                    for name in ("best_weights", "variables", "optimizer")
                }
                return cls(**numbers, **lists, best_probabilities=arrays["best_probabilities"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ModelError(
                f"checkpoint {path} can't be read ({type(error).__name__}: {error}): remove its folder and train "
                "from the start"
            ) from None


def _assign(variables: list[Any], values: list[np.ndarray], what: str) -> None:
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ModelError(
            f"the checkpoint's {what} has other variables than this training's: it was made by another version or "
            "other options; remove the checkpoint's folder and train from the start"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
