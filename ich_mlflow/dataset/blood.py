"""Where the blood is on the slices of a stored set, in one file beside the shards; a set without masks has none.

<path>/blood.parquet   one row a slice, in the order of slices.parquet
    blood   null where it is not known; nothing where there is none; else Zstandard of uint8 [256, 256], bit i set
            where blood of labels.SUBTYPES[i] is, bit 5 where blood is whose subtype is not known
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.errors import DataError
from ich_mlflow.system.whole import write_whole

BLOOD = "blood.parquet"
_NUM_BYTES = STORED_SIZE * STORED_SIZE
_COLUMN = "blood"


def pack(blood: np.ndarray) -> bytes:
    """Bytes of blood uint8 [256, 256]: some hundred, and none where there is no blood."""
    if not blood.any():
        return b""
    return _zstd().compress(np.ascontiguousarray(blood).tobytes(), asbytes=True)


def unpack(data: bytes) -> np.ndarray:
    """The reverse of pack. Raises ValueError where the bytes are damaged."""
    if not data:
        return np.zeros((STORED_SIZE, STORED_SIZE), np.uint8)
    try:
        whole = np.frombuffer(_zstd().decompress(data, _NUM_BYTES), np.uint8)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError("damaged") from error
    return whole.reshape(STORED_SIZE, STORED_SIZE)


def write_blood(folder: Path, packed: Sequence[bytes | None]) -> dict[str, object]:
    """Write the packed blood of a set's slices, None where it is not known; what the manifest says of it.

    Nothing is written, and nothing said, where none is known.
    """
    known = [one for one in packed if one is not None]
    if not known:
        return {}
    table = pa.table({_COLUMN: pa.array(packed, pa.binary())})
    write_whole(folder / BLOOD, lambda file: pq.write_table(table, file))
    total = hashlib.sha256()
    for one in packed:
        # of the pixels: another release of Zstandard may pack them otherwise
        total.update(b"?" if one is None else unpack(one).tobytes())
    return {"blood": {"known": len(known), "shown": sum(map(bool, known)), "digest": total.hexdigest()}}


def read_blood(folder: Path, num_slices: int) -> list[bytes | None]:
    """What write_blood wrote of that many slices; all None where there is no file. Raises DataError where damaged."""
    path = folder / BLOOD
    if not path.is_file():
        return [None] * num_slices
    try:
        packed: list[bytes | None] = pq.read_table(path)[_COLUMN].to_pylist()
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise _damaged(path, type(error).__name__) from None
    if len(packed) != num_slices:
        raise _damaged(path, f"{len(packed)} rows for {num_slices} slices")
    return packed


def unpack_rows(folder: Path, packed: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
    """Blood uint8 [n, 256, 256], 0 where it is not known, and where it is known bool [n]. Raises DataError."""
    blood = np.zeros((len(packed), STORED_SIZE, STORED_SIZE), np.uint8)
    known = np.array([one is not None for one in packed], bool)
    for out, one in zip(blood, packed, strict=True):
        if one:
            try:
                out[:] = unpack(one)
            except ValueError:
                raise _damaged(folder / BLOOD, "a mask can't be unpacked") from None
    return blood, known


def _zstd() -> pa.Codec:
    return pa.Codec("zstd", compression_level=3)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged ({what}): remove the folder and run preprocess again")
