"""The stored set on disk: Hounsfield units in memory-mapped shards, and a Parquet table beside them.

    <path>/hu-00000.npy …   int16 [n, 256, 256], 4,096 slices each at most
    <path>/slices.parquet   one row a slice: TABLE_COLUMNS
    <path>/manifest.json    schema version, source, options, counts, digest; written last

The table stands in the order of patient, study, series, position; `shard` and `row` say where the pixels are.
"""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.dataset.split import SPLITS
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES

SCHEMA_VERSION = 1
SLICES_PER_SHARD = 4096
SLICE_BYTES = STORED_SIZE * STORED_SIZE * 2
MANIFEST = "manifest.json"
TABLE = "slices.parquet"

TABLE_COLUMNS = (
    "sop_uid", "patient_id", "study_uid", "series_uid", "position_mm", "position_fraction",
    "row_spacing_mm", "column_spacing_mm", *SUBTYPES, "split", "shard", "row",
)  # fmt: skip


def is_stored_set(path: Path) -> bool:
    """Whether a complete stored set (its manifest is written last) stands at `path`."""
    return (Path(path) / MANIFEST).is_file()


@dataclass
class StoredSet:
    """A stored set, opened. Pixels are mapped on first use; reading is safe from several threads.

    table   DataFrame with TABLE_COLUMNS, index 0 … N-1
    reused  dataset.build found this set complete and did not build it again
    """

    path: Path
    manifest: dict[str, Any]
    table: pd.DataFrame
    reused: bool = False
    _maps: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the set at `path`. DataError where it is missing, unfinished, damaged or of another schema."""
        path = Path(path)
        manifest = _read_manifest(path)
        try:
            table = pd.read_parquet(path / TABLE)
        except (OSError, ValueError) as error:
            raise DataError(f"{path / TABLE} can't be read ({type(error).__name__}): {_REBUILD}") from None
        missing = [name for name in TABLE_COLUMNS if name not in table.columns]
        if missing:
            raise DataError(f"{path / TABLE} has no column {', '.join(missing)}: {_REBUILD}")
        table = table[list(TABLE_COLUMNS)].reset_index(drop=True)
        for shard, num_slices in table["shard"].value_counts().items():
            file = shard_path(path, int(str(shard)))
            if not file.is_file() or file.stat().st_size < num_slices * SLICE_BYTES:
                raise DataError(f"{file} is missing or cut short, expected {num_slices} slices: {_REBUILD}")
        return cls(path=path, manifest=manifest, table=table)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of pixels, identity, labels and split; equal for equal sets on any machine."""
        return str(self.manifest["digest"])

    @property
    def subtypes(self) -> np.ndarray:
        """Labels uint8 [N, 5], columns as labels.SUBTYPES."""
        return self.table[list(SUBTYPES)].to_numpy(dtype=np.uint8)

    def rows(self, split: str) -> np.ndarray:
        """Table row numbers int64 [n] of a split: train, validation or test. Raises DataError for another."""
        if split not in SPLITS:
            raise DataError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def hu(self, rows: np.ndarray) -> np.ndarray:
        """Hounsfield units int16 [n, 256, 256] of those table rows, in that order. A copy."""
        rows = np.asarray(rows, dtype=np.int64)
        shards, places = self._places
        pixels = np.empty((len(rows), STORED_SIZE, STORED_SIZE), dtype=np.int16)
        wanted = shards[rows]
        for shard in np.unique(wanted):
            here = wanted == shard
            pixels[here] = self._map(int(shard))[places[rows[here]]]
        return pixels

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        return self.table["shard"].to_numpy(), self.table["row"].to_numpy()

    def _map(self, shard: int) -> np.ndarray:
        with self._lock:
            if shard not in self._maps:
                file = shard_path(self.path, shard)
                try:
                    self._maps[shard] = np.load(file, mmap_mode="r")
                except (OSError, ValueError) as error:
                    raise DataError(f"{file} can't be read ({type(error).__name__}): {_REBUILD}") from None
            return self._maps[shard]


_REBUILD = "remove the folder and run preprocess again"


def shard_path(path: Path, shard: int) -> Path:
    return path / f"hu-{shard:05d}.npy"


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise DataError(f"stored set {path} does not exist: run preprocess first, with --out {path}")
    if not is_stored_set(path):
        raise DataError(f"{path} holds no {MANIFEST}, so it is no stored set: run preprocess to make one")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version = manifest["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path / MANIFEST} is damaged: {_REBUILD}") from None
    if version != SCHEMA_VERSION:
        raise DataError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}: {_REBUILD}")
    return manifest
