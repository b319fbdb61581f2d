"""What runs the network of a model version, LiteRT or Keras: a slice in, probabilities and feature maps out."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ich_mlflow.errors import ModelError

LITERT_FILE = "classifier.tflite"
KERAS_FILE = "classifier.keras"
LITERT, KERAS = "litert", "keras"
#: LiteRT answers a slice four times as fast as a tf.function, and needs no TensorFlow (docs/serving.md).
RUNTIMES = (LITERT, KERAS)


@dataclass(frozen=True, eq=False)
class Ran:
    """What a network says of a slice: probabilities float32 [L], feature maps float32 [h, w, D], and with a lesion head
    the shares of blood float32 [h', w', 5], h' above h."""

    probabilities: np.ndarray
    features: np.ndarray
    lesions: np.ndarray | None = None


class Network(Protocol):
    """Safe to share by threads. finds_blood: whether it has a lesion head."""

    finds_blood: bool

    def run(self, hu: np.ndarray) -> Ran:
        """What is said of HU [256, 256, 1 + 2 * context]."""


def open_network(folder: Path, runtime: str) -> Network:
    """The network in a model version's folder. Raises ModelError for an unknown runtime, or one that is not here."""
    if runtime == LITERT:
        return LiteRTNetwork(folder / LITERT_FILE)
    if runtime == KERAS:
        try:
            from ich_mlflow.models.slice_cnn.keras_runtime import KerasNetwork
        except ImportError as error:
            raise ModelError(
                f"runtime=keras needs keras and tensorflow, which can't be imported ({error}): install them, or "
                f"use runtime={LITERT}"
            ) from None
        return KerasNetwork(folder / KERAS_FILE)
    raise ModelError(f"runtime is {runtime!r}, expected one of {', '.join(RUNTIMES)}")


class LiteRTNetwork:
    """The LiteRT twin. One slice at a time: that is as fast as several on one core, and never allocates anew."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(path))
        self._interpreter.allocate_tensors()
        # The file's outputs have no names of ours; a lesion head's map is finer than the feature maps.
        outputs = sorted(
            self._interpreter.get_output_details(), key=lambda one: (len(one["shape"]), one["shape"][1])
        )
        if [len(one["shape"]) for one in outputs] not in ([2, 4], [2, 4, 4]):
            raise ModelError(
                "the network of this model has no feature maps, so an earlier version of ich_mlflow made it: train the "
                "model again, or use the version that made it"
            )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [one["index"] for one in outputs]
        self.finds_blood = len(outputs) > 2
        self._lock = threading.Lock()

    def run(self, hu: np.ndarray) -> Ran:
        """As Network says."""
        interpreter = self._interpreter
        values = hu[None].astype(np.float32)
        with self._lock:
            interpreter.set_tensor(self._input, values)
            interpreter.invoke()
            return Ran(*(interpreter.get_tensor(index)[0] for index in self._outputs))
