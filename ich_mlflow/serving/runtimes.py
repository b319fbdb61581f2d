"""What runs the network of a model version, LiteRT or Keras: a slice in, probabilities and feature maps out."""

import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from ich_mlflow.errors import ModelError

LITERT_FILE = "classifier.tflite"
KERAS_FILE = "classifier.keras"
LITERT, KERAS = "litert", "keras"
#: LiteRT answers a slice four times as fast as a tf.function, and needs no TensorFlow (docs/serving.md).
RUNTIMES = (LITERT, KERAS)


class Network(Protocol):
    """Safe to share by threads."""

    def run(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float32 [L] and feature maps float32 [h, w, D] of HU [256, 256, 1 + 2 * context]."""


def open_network(folder: Path, runtime: str) -> Network:
    """The network in a model version's folder. Raises ModelError for an unknown runtime, or one that is not here."""
    if runtime == LITERT:
        return LiteRTNetwork(folder / LITERT_FILE)
    if runtime == KERAS:
        try:
            from ich_mlflow.serving.keras_runtime import KerasNetwork
        except ImportError as error:
            raise ModelError(
                f"runtime=keras needs keras and tensorflow, which are not here ({error}): install them, or use "
                f"runtime={LITERT}"
            ) from None
        return KerasNetwork(folder / KERAS_FILE)
    raise ModelError(f"runtime is {runtime!r}, expected one of {', '.join(RUNTIMES)}")


class LiteRTNetwork:
    """The LiteRT twin. One slice at a time: that is as fast as several on one core, and never allocates anew."""

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(str(path))
        self._interpreter.allocate_tensors()
        outputs = {len(one["shape"]): one["index"] for one in self._interpreter.get_output_details()}
        if sorted(outputs) != [2, 4]:
            raise ModelError(
                "the network of this model has no feature maps, so an earlier version of ich_mlflow made it: train the "
                "model again, or use the version that made it"
            )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._probabilities, self._maps = outputs[2], outputs[4]
        self._lock = threading.Lock()

    def run(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Network says."""
        interpreter = self._interpreter
        values = hu[None].astype(np.float32)
        with self._lock:
            interpreter.set_tensor(self._input, values)
            interpreter.invoke()
            return interpreter.get_tensor(self._probabilities)[0], interpreter.get_tensor(self._maps)[0]
