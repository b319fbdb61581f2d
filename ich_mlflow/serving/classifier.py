"""The network of a model version and what it means: labels, calibration, operating points, heat maps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.null_models import NullModel
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.models.slice_cnn.hirescam import maps_of_features
from ich_mlflow.serving.runtimes import LITERT, open_network
from ich_mlflow.system.whole import write_whole

SPECIFICATION_FILE = "serving.json"
#: Weights of the two dense layers after pooling: dense [D, U], dense_bias [U], output [U, L].
HEAD_FILE = "head.npz"
#: Keys of serving.json that are public, and older than the names in code.
_NULL_MODELS, _EXAM_NULL_MODEL = "floors", "exam_floor"


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a model version knows of itself; serving.json beside its graphs.

    slices, exams: calibrations and operating points, chosen on validation; thresholds are of calibrated
        probabilities, and a decision is positive from them up.
    aggregation: how the calibrated probabilities of slices become an exam's, before its own calibration.
    decides_by: the rule of the operating points that decisions go by.
    null_models: predictors that don't look at the image, by name: what the model has to beat, on any data.
    exam_null_model: the same for exams: how often each label was in training exams.
    context: neighbouring slices on either side that the network takes beside the slice itself.
    """

    labels: tuple[str, ...]
    slices: Chosen
    exams: Chosen
    aggregation: str
    null_models: Mapping[str, NullModel]
    exam_null_model: NullModel
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
        for name in ("slices", "exams"):
            values[name] = values[name].to_dict()
        values[_EXAM_NULL_MODEL] = values.pop("exam_null_model").to_dict()
        values[_NULL_MODELS] = {name: null.to_dict() for name, null in values.pop("null_models").items()}
        return values

    def write(self, path: Path) -> None:
        write_whole(path, json.dumps(self.to_dict(), indent=2))

    @classmethod
    def read(cls, path: Path) -> "Specification":
        """The reverse of write. Raises ModelError for a file that another version of ich_mlflow wrote."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            for name in ("slices", "exams"):
                values[name] = Chosen.from_dict(values[name])
            values["exam_null_model"] = NullModel.from_dict(values.pop(_EXAM_NULL_MODEL))
            null_models = values.pop(_NULL_MODELS)
            values["null_models"] = {name: NullModel.from_dict(one) for name, one in null_models.items()}
            return cls(**{**values, "labels": tuple(values["labels"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path.name} of this model is not as this version of ich_mlflow writes it ({error}): train the model "
                "again, or use the version that made it"
            ) from None


class Classifier:
    """A model version's network with what it means. Safe to share by threads; with LiteRT it needs no TensorFlow."""

    def __init__(self, folder: Path, *, runtime: str = LITERT) -> None:
        """Open what package.assemble wrote, and run it once, since the first call is slow. Raises ModelError."""
        self.folder = folder
        self.specification = Specification.read(folder / SPECIFICATION_FILE)
        self._network = open_network(folder, runtime)
        self._head_path = folder / HEAD_FILE
        self.uncalibrated(np.full((1, STORED_SIZE, STORED_SIZE), -1000, np.int16))

    def probabilities(self, hu: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [B, L]; hu as uncalibrated takes it."""
        return self.specification.slices.calibrated(self.uncalibrated(hu))

    def uncalibrated(self, hu: np.ndarray) -> np.ndarray:
        """The network's own probabilities float32 [B, L] of HU [B, 256, 256], or [B, 256, 256, 1 + 2 * context].

        Lone slices of a network with context are their own neighbours, as slices at the end of a series are.
        """
        return np.stack([self._network.run(one)[0] for one in self._with_channels(hu)])

    def explained(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities as uncalibrated gives them, and saliency maps float32 [B, L, h, w] (hirescam.py)."""
        ran = [self._network.run(one) for one in self._with_channels(hu)]
        maps = maps_of_features(np.stack([maps for _, maps in ran]), *self._head)
        return np.stack([probabilities for probabilities, _ in ran]), maps

    @cached_property
    def _head(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with np.load(self._head_path, allow_pickle=False) as head:
            return head["dense"], head["dense_bias"], head["output"]

    def _with_channels(self, hu: np.ndarray) -> np.ndarray:
        num_slices = self.specification.num_slices
        if hu.ndim == 3:
            hu = np.repeat(hu[..., None], num_slices, axis=-1)
        if hu.shape[1:] != (STORED_SIZE, STORED_SIZE, num_slices):
            raise ValueError(
                f"hu has shape {hu.shape}, expected [B, {STORED_SIZE}, {STORED_SIZE}] or the same with "
                f"{num_slices} channels"
            )
        return hu
