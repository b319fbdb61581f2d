"""What computes and how: devices, precision, equal bits, memory. The only user of TensorFlow's own API."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import psutil
import tensorflow as tf

from ich_mlflow.errors import TrainingError
from ich_mlflow.system.processes import num_cores

_GIB = 2**30


class Distribution:
    """The devices that share each step: one, or all of `devices` by tf.distribute.MirroredStrategy.

    devices: names such as GPU:0; None takes every GPU there is. Models are built within `scope()`.
    """

    def __init__(self, devices: Sequence[str] | None = None) -> None:
        if devices is None:
            devices = [device.name for device in tf.config.list_logical_devices("GPU")]
        self._strategy: Any = tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else None

    @property
    def num_replicas(self) -> int:
        return self._strategy.num_replicas_in_sync if self._strategy else 1

    def scope(self) -> AbstractContextManager[Any]:
        return self._strategy.scope() if self._strategy else nullcontext()


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers built within compute in float32, mixed_float16 or mixed_bfloat16; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def share_machine(worker: int, num_workers: int) -> None:
    """Give this process its part of the cores, and one of the GPUs in turn. Before TensorFlow computes anything."""
    tf.config.threading.set_intra_op_parallelism_threads(max(1, num_cores() // num_workers))
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Without it the first process takes a GPU's whole memory.
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and num_workers > 1:
        tf.config.set_visible_devices([gpus[worker % len(gpus)]], "GPU")


def demand_equal_bits() -> None:
    """From now on this process computes the same bits from the same seed, more slowly. Can't be taken back."""
    tf.config.experimental.enable_op_determinism()


def device_names() -> str:
    """What is there to compute on, as `cpu:0` or `gpu:0 (NVIDIA H100)`."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return ", ".join(keras.distribution.list_devices())
    kinds = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(f"gpu:{number} ({kind})" for number, kind in enumerate(kinds))


def peak_memory_gib() -> dict[str, float]:
    """The most memory that this process has held so far in GiB, and of each GPU."""
    peaks = {"peak_memory_gib": _peak_bytes() / _GIB}
    for number, _ in enumerate(tf.config.list_logical_devices("GPU")):
        peaks[f"peak_gpu{number}_memory_gib"] = (
            tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"] / _GIB
        )
    return peaks


def _peak_bytes() -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # of Unix alone

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


@contextmanager
def memory_errors_explained(hyperparameters: Any) -> Iterator[None]:
    """Turn running out of memory, on host or GPU, into a TrainingError that says what to lower."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sizes = {name: getattr(hyperparameters, name) for name in hyperparameters.in_memory}
        (first, size), (second, _), *_ = sizes.items()
        said = ", ".join(f"{name}={value}" for name, value in sizes.items())
        raise TrainingError(
            f"out of memory with {said}: pass a smaller -P {first}={max(1, size // 2)} or -P {second}=, or on a GPU "
            "-P precision=mixed_bfloat16"
        ) from None
