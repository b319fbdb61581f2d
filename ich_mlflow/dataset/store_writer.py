"""Writing a stored set: streamed into a partial folder, renamed into place when it is whole."""

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.dataset.chunks import SliceRecord
from ich_mlflow.dataset.split import split_counts
from ich_mlflow.dataset.store import (
    MANIFEST,
    SCHEMA_VERSION,
    SLICE_BYTES,
    SLICES_PER_SHARD,
    TABLE,
    TABLE_COLUMNS,
    StoredSet,
    shard_path,
)
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES

_LOCK = "writer.lock"
_MILLIMETRES = ("position_mm", "row_spacing_mm", "column_spacing_mm")


class StoreWriter:
    """Writes a stored set to `<path>.partial` and renames it into place when it is whole.

    with StoreWriter(path, num_slices=…) as writer:
        writer.append(hu, record)                    # num_slices times
        table = writer.table()                       # sorted; the split goes by its rows
        stored = writer.finish(splits, source=…, options=…, fingerprint=…)

    Leaving the block without `finish` (an error, Ctrl-C) removes the partial set. What a killed process left
    behind is removed by the next writer. Raises DataError where the disk is too small or another writer is
    at work.
    """

    def __init__(self, path: Path, *, num_slices: int) -> None:
        self.path = Path(path)
        self.num_slices = num_slices
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._records: list[SliceRecord] = []
        self._pixel_digests: list[bytes] = []
        self._shard: BinaryIO | None = None
        self._lock_file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise DataError(f"{self.path} exists and isn't empty: choose another output folder, or remove it")
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        needed, free = self.num_slices * SLICE_BYTES, shutil.disk_usage(self._partial.parent).free
        if needed > free:
            raise DataError(
                f"{self.path} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: "
                "free some, or choose an output folder on another disk"
            )
        self._lock_file = _claim(self._partial)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shard is not None:
            self._shard.close()
        if self._lock_file is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._release()

    def append(self, hu: np.ndarray, record: SliceRecord) -> None:
        """Add one slice, int16 [256, 256].

        Not through a memory map: a full disk must be an error, not a SIGBUS.
        """
        if hu.shape != (STORED_SIZE, STORED_SIZE) or hu.dtype != np.int16:
            raise ValueError(f"hu is {hu.dtype} {hu.shape}, expected int16 ({STORED_SIZE}, {STORED_SIZE})")
        if len(self._records) == self.num_slices:
            raise ValueError(f"more than {self.num_slices} slices appended")
        shard, row = divmod(len(self._records), SLICES_PER_SHARD)
        if row == 0:
            self._open_shard(shard)
        pixels = np.ascontiguousarray(hu, dtype="<i2").tobytes()
        assert self._shard is not None
        self._shard.write(pixels)
        self._pixel_digests.append(hashlib.sha256(pixels).digest())
        self._records.append(record)

    def table(self) -> pd.DataFrame:
        """The table but for `split`, sorted by patient, study, series, position. Index: order of appending.

        Raises DataError where a sop_uid occurs twice.
        """
        table = pd.DataFrame([asdict(record) for record in self._records])
        labels = np.array(table.pop("subtypes").tolist(), dtype=np.uint8).reshape(-1, len(SUBTYPES))
        table[list(SUBTYPES)] = labels
        table = table.astype(dict.fromkeys(_MILLIMETRES, np.float64))
        order = np.arange(len(table))
        table["shard"] = (order // SLICES_PER_SHARD).astype(np.int32)
        table["row"] = (order % SLICES_PER_SHARD).astype(np.int32)
        table["position_fraction"] = _position_fraction(table)
        repeated = table["sop_uid"].duplicated()
        if repeated.any():
            first = table.loc[repeated, "sop_uid"].iloc[0]
            raise DataError(f"slice {first} occurs twice ({repeated.sum()} such): remove one of the files")
        return table.sort_values(["patient_id", "study_uid", "series_uid", "position_mm", "sop_uid"])

    def finish(
        self, splits: np.ndarray, *, source: str, options: dict[str, Any], fingerprint: str
    ) -> StoredSet:
        """Write table and manifest and rename the set into place. splits [N]: of each row of `table()`."""
        if len(self._records) != self.num_slices or self._shard is None:
            raise ValueError(f"{len(self._records)} slices were appended, expected {self.num_slices}")
        self._shard.close()
        table = self.table()
        table["split"] = np.asarray(splits, dtype=object)
        digest = _digest(table, self._pixel_digests)
        table = table[list(TABLE_COLUMNS)].reset_index(drop=True)
        table.to_parquet(self._partial / TABLE, index=False)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "options": options,
            "fingerprint": fingerprint,
            "counts": _counts(table),
            "digest": digest,
        }
        (self._partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        (self._partial / _LOCK).unlink()
        os.rename(self._partial, self.path)
        self._release()
        return StoredSet.open(self.path)

    def _release(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _open_shard(self, shard: int) -> None:
        if self._shard is not None:
            self._shard.close()
        num_here = min(SLICES_PER_SHARD, self.num_slices - shard * SLICES_PER_SHARD)
        self._shard = shard_path(self._partial, shard).open("wb")
        shape = (num_here, STORED_SIZE, STORED_SIZE)
        np.lib.format.write_array_header_1_0(
            self._shard, {"descr": "<i2", "fortran_order": False, "shape": shape}
        )


def _claim(partial: Path) -> BinaryIO:
    """Make an empty `partial`, locked: the lock dies with its process, so what a killed one left is known."""
    partial.mkdir(exist_ok=True)
    lock = (partial / _LOCK).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DataError(
            f"{partial} is being written by another preprocess: wait for it, or choose another output folder"
        ) from None
    for left_over in partial.iterdir():
        if left_over.name != _LOCK:
            left_over.unlink()
    return lock


def _position_fraction(table: pd.DataFrame) -> pd.Series:
    """0 at the lowest slice of a series, 1 at the highest; 0.5 where a series has a single position."""
    position = table["position_mm"].groupby(table["series_uid"])
    lowest, highest = position.transform("min"), position.transform("max")
    extent = highest - lowest
    return ((table["position_mm"] - lowest) / extent.where(extent > 0)).fillna(0.5)


def _digest(table: pd.DataFrame, pixel_digests: list[bytes]) -> str:
    """SHA-256 over each slice's pixel digest, identity, labels and split, in the table's order."""
    total = hashlib.sha256()
    names = table[["patient_id", "study_uid", "series_uid", "sop_uid", "split"]].to_numpy()
    labels = table[list(SUBTYPES)].to_numpy(dtype=np.uint8)
    for appended, name, label in zip(table.index, names, labels, strict=True):
        total.update(pixel_digests[appended])
        total.update("\x1f".join(name).encode("utf-8") + b"\x1e" + label.tobytes())
    return total.hexdigest()


def _counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    counts = split_counts(
        table["patient_id"].to_numpy(),
        table[list(SUBTYPES)].to_numpy(),
        table["split"].to_numpy(),
        study_uids=table["study_uid"].to_numpy(),
    )
    return {str(split): {str(k): int(v) for k, v in row.items()} for split, row in counts.iterrows()}
