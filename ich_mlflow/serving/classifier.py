"""The network of a model version and what it means: LiteRT twin, labels, calibration, operating points."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.floors import Floor
from ich_mlflow.evaluation.operating_point import MAX_F1

SPECIFICATION_FILE = "serving.json"
LITERT_FILE = "classifier.tflite"
KERAS_FILE = "classifier.keras"


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a model version knows of itself; serving.json beside its graphs.

    slices, exams: calibrations and operating points, chosen on validation; thresholds are of calibrated
        probabilities, and a decision is positive from them up.
    aggregation: how the calibrated probabilities of slices become an exam's, before its own calibration.
    decides_by: the rule of the operating points that decisions go by.
    floors: predictors that don't look at the image, by name: what the model has to beat, on any data.
    exam_floor: the same for exams: how often each label was in training exams.
    context: neighbouring slices on either side that the network takes beside the slice itself.
    """

    labels: tuple[str, ...]
    slices: Chosen
    exams: Chosen
    aggregation: str
    floors: Mapping[str, Floor]
    exam_floor: Floor
    decides_by: str = MAX_F1
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
        """The thresholds that slices are decided by, float64 [L]."""
        return self.slices.thresholds(self.decides_by)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("slices", "exams", "exam_floor"):
            values[name] = values[name].to_dict()
        values["floors"] = {name: floor.to_dict() for name, floor in self.floors.items()}
        return values

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_dict(), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Specification":
        """The reverse of write. Raises ModelError for a file that another version of ich_mlflow wrote."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            for name in ("slices", "exams"):
                values[name] = Chosen.from_dict(values[name])
            values["exam_floor"] = Floor.from_dict(values["exam_floor"])
            values["floors"] = {name: Floor.from_dict(one) for name, one in values["floors"].items()}
            return cls(**{**values, "labels": tuple(values["labels"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path.name} of this model is not as this version of ich_mlflow writes it ({error}): train the model "
                "again, or use the version that made it"
            ) from None


class Classifier:
    """Probabilities from the LiteRT twin of the Keras graph; needs no TensorFlow. Safe to share by threads."""

    def __init__(self, litert_path: Path, specification: Specification) -> None:
        self.specification = specification
        self._interpreter = Interpreter(str(litert_path))
        self._lock = threading.Lock()
        self._batch = 0
        self.uncalibrated(np.full((1, STORED_SIZE, STORED_SIZE), -1000, np.int16))  # the first call is slow

    def probabilities(self, hu: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [B, L]; hu as uncalibrated takes it."""
        return self.specification.slices.calibrated(self.uncalibrated(hu))

    def uncalibrated(self, hu: np.ndarray) -> np.ndarray:
        """The network's own probabilities float32 [B, L] of HU [B, 256, 256], or [B, 256, 256, 1 + 2 * context].

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
