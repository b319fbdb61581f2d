"""The network of a model version and what it means: LiteRT twin, labels, operating points."""

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ich_mlflow.ct.resample import STORED_SIZE

SPECIFICATION_FILE = "serving.json"
LITERT_FILE = "classifier.tflite"
KERAS_FILE = "classifier.keras"


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a model version knows of itself; serving.json beside its graphs.

    operating_points: one a label, in their order: label, threshold (the decision is positive where the
        probability is at least that), sensitivity, specificity, rule; chosen on validation.
    context: neighbouring slices on either side that the network takes beside the slice itself.
    """

    labels: tuple[str, ...]
    operating_points: list[dict[str, Any]]
    run_id: str
    trained_on: str
    data_digest: str
    weights: str
    recipe: str
    context: int = 0

    @property
    def num_slices(self) -> int:
        """Slices that the network takes as channels."""
        return 1 + 2 * self.context

    @property
    def thresholds(self) -> np.ndarray:
        """The thresholds of the operating points, float64 [L]."""
        return np.array([point["threshold"] for point in self.operating_points])

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Specification":
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "labels": tuple(values["labels"])})


class Classifier:
    """Probabilities from the LiteRT twin of the Keras graph; needs no TensorFlow. Safe to share by threads."""

    def __init__(self, litert_path: Path, specification: Specification) -> None:
        self.specification = specification
        self._interpreter = Interpreter(str(litert_path))
        self._lock = threading.Lock()
        self._batch = 0
        self.probabilities(np.full((1, STORED_SIZE, STORED_SIZE), -1000, np.int16))  # the first call is slow

    def probabilities(self, hu: np.ndarray) -> np.ndarray:
        """Probabilities float32 [B, L] of HU [B, 256, 256], or [B, 256, 256, 1 + 2 * context].

        Lone slices of a network with context are their own neighbours, as slices at the end of a series are.
        """
        num_slices = self.specification.num_slices
        if hu.ndim == 3:
            hu = np.repeat(hu[..., None], num_slices, axis=-1)
        if hu.shape[1:] != (STORED_SIZE, STORED_SIZE, num_slices):
            raise ValueError(
                f"hu has shape {hu.shape}, expected [B, {STORED_SIZE}, {STORED_SIZE}] or the same with "
                f"{num_slices} channels"
            )
        with self._lock:
            index = self._interpreter.get_input_details()[0]["index"]
            if len(hu) != self._batch:
                self._interpreter.resize_tensor_input(index, hu.shape)
                self._interpreter.allocate_tensors()
                self._batch = len(hu)
            self._interpreter.set_tensor(index, hu.astype(np.float32))
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"])
