"""How a slice's pixels lie in a shard: as they are, or losslessly compressed."""

from typing import Protocol

import numpy as np
import pyarrow as pa

from ich_mlflow.ct.resample import STORED_SIZE

SLICE_BYTES = STORED_SIZE * STORED_SIZE * 2
SHAPE = (STORED_SIZE, STORED_SIZE)


class Codec(Protocol):
    """One way to store a slice. name: as in the manifest. suffix: of the shard files."""

    name: str
    suffix: str

    def encode(self, hu: np.ndarray) -> bytes:
        """Bytes, or a view of them, of HU int16 [256, 256]."""

    def decode(self, data: bytes, out: np.ndarray) -> None:
        """Fill `out` int16 [256, 256]. Raises ValueError where the bytes are damaged."""


class Raw:
    """128 KiB a slice; a shard is an .npy file that NumPy itself opens."""

    name = "raw"
    suffix = ".npy"

    def encode(self, hu: np.ndarray) -> bytes:
        return np.ascontiguousarray(hu, dtype="<i2").tobytes()

    def decode(self, data: bytes, out: np.ndarray) -> None:
        out[:] = np.frombuffer(data, dtype="<i2").reshape(SHAPE)


class Zstd:
    """Low bytes, then high bytes, under Zstandard 1: about a third of the size (benchmarks/read.py).

    A difference of neighbours before it saves another 7 % and takes 2.5 times as long to read.
    """

    name = "zstd"
    suffix = ".zst"

    def __init__(self) -> None:
        self._zstd = pa.Codec("zstd", compression_level=1)

    def encode(self, hu: np.ndarray) -> bytes:
        pairs = np.ascontiguousarray(hu, dtype="<i2").view(np.uint8).reshape(-1, 2)
        return self._zstd.compress(np.ascontiguousarray(pairs.T), asbytes=True)

    def decode(self, data: bytes, out: np.ndarray) -> None:
        try:
            planes = np.frombuffer(self._zstd.decompress(data, SLICE_BYTES), np.uint8)
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError("damaged") from error
        pairs = np.empty((SLICE_BYTES // 2, 2), np.uint8)
        pairs[:, 0], pairs[:, 1] = planes[: SLICE_BYTES // 2], planes[SLICE_BYTES // 2 :]
        out[:] = pairs.view("<i2").reshape(SHAPE)


def codec_named(name: str) -> Codec:
    """The codec of a manifest's `storage`: raw or zstd. Raises ValueError for another name."""
    if name not in ("raw", "zstd"):
        raise ValueError(f"storage is {name!r}, expected raw or zstd")
    return Raw() if name == "raw" else Zstd()
