"""JPEG lossless by this project's decoder, and by pylibjpeg-libjpeg (GPL-3.0) where that is installed beside it.

    python -m benchmarks.decode --broken 100000

Prints milliseconds for a slice of 512 x 512 and whether the values are those that were encoded. Then decodes so many
broken codestreams of the size that their header says, and prints how many were decoded, how many refused, the slowest,
and by how much the process grew: a crash ends it without these lines.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import psutil
import pydicom
from imagecodecs import jpeg8_encode

from benchmarks.fuzz import _CHANGES
from ich_mlflow.dicom.codestream import image_shape
from ich_mlflow.dicom.jpeg import decode_jpeg


def phantom_values(side: int) -> np.ndarray:
    """Stored values uint16 [side, side] of a phantom slice, from 0."""
    from ich_mlflow.stages.promote.examination import (
        phantom_dicom,
    )  # loads TensorFlow, which the tests of the rest don't need

    values = pydicom.dcmread(BytesIO(phantom_dicom())).pixel_array[:: 512 // side, :: 512 // side].astype(int)
    return (values - values.min()).clip(0, 4095).astype(np.uint16)


def sound_codestreams(values: np.ndarray) -> list[bytes]:
    """Of values of 12 bits: lossless by several predictors and precisions, and one of 12 bits that is lossy."""
    lossless = ((12, 1), (12, 4), (13, 7), (16, 1), (16, 6))
    return [
        *(jpeg8_encode(values, lossless=True, predictor=p, bitspersample=bits) for bits, p in lossless),
        jpeg8_encode(values, level=90, bitspersample=12),
    ]


def broken(sound: list[bytes], rng: np.random.Generator) -> bytes:
    """One of the codestreams with one to three changes, a third of them in its first 100 bytes."""
    data = bytearray(sound[rng.integers(len(sound))])
    for _ in range(rng.integers(1, 4)):
        if len(data) < 200:
            break
        place = int(rng.integers(2, 100 if rng.random() < 0.3 else len(data)))
        end = place + int(2 ** rng.uniform(0, 6))
        _CHANGES[rng.integers(len(_CHANGES))](data, place, end, sound[rng.integers(len(sound))], rng)
    return bytes(data)


def _decoders() -> dict[str, Callable[[bytes], np.ndarray]]:
    decoders: dict[str, Callable[[bytes], np.ndarray]] = {"imagecodecs": decode_jpeg}
    if importlib.util.find_spec("libjpeg"):
        import libjpeg

        decoders["pylibjpeg-libjpeg"] = libjpeg.decode
    return decoders


def _compare(times: int = 50) -> None:
    values = phantom_values(512)
    codestream = jpeg8_encode(values, lossless=True, predictor=1, bitspersample=16)
    took: dict[str, list[float]] = {name: [] for name in _decoders()}
    for _ in range(times):  # in turn, so that a busy moment of the machine meets all
        for name, decode in _decoders().items():
            started = time.perf_counter()
            decoded = decode(codestream)
            took[name].append(1000 * (time.perf_counter() - started))
            assert np.array_equal(decoded, values), name
    for name, milliseconds in took.items():
        print(f"{name}: {np.median(milliseconds):.2f} ms a slice, the values that were encoded")


def _break(files: int, side: int = 128) -> None:
    sound, rng = sound_codestreams(phantom_values(side)), np.random.default_rng(0)
    before = psutil.Process().memory_info().rss
    decoded = refused = other_size = 0
    slowest = 0.0
    for _ in range(files):
        data = broken(sound, rng)
        if image_shape(data) != (side, side, 1):  # refused before a decoder sees it
            other_size += 1
            continue
        started = time.perf_counter()
        try:
            decode_jpeg(data)
            decoded += 1
        except (ValueError, RuntimeError):
            refused += 1
        slowest = max(slowest, time.perf_counter() - started)
    print(f"broken: decoded {decoded}, refused {refused}, of another size {other_size}, crashes 0")
    print(
        f"slowest {slowest:.3f} s, memory grew by {(psutil.Process().memory_info().rss - before) / 2**20:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broken", type=int, default=10_000)
    arguments = parser.parse_args()
    _compare()
    _break(arguments.broken)


if __name__ == "__main__":
    main()
