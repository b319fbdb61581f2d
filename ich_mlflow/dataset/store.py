"""The stored set on disk: Hounsfield units in shards, and a Parquet table beside them.

    <path>/hu-00000.npy …    int16 [n, 256, 256], 1,024 slices each at most; hu-00000.zst … where compressed
    <path>/slices.parquet    one row a slice: TABLE_COLUMNS
    <path>/blood.parquet     where the blood is, of a source that knows it (dataset/blood.py)
    <path>/quarantine.csv    the files that can't be used: file, reason, tag, detail
    <path>/manifest.json     schema version, source, options, counts, digest

The table stands in the order of patient, study, series, position; `shard`, `row`, `offset` and `num_bytes` say
where a slice's pixels are.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.dataset.blood import read_blood, unpack_rows
from ich_mlflow.dataset.codec import codec_named
from ich_mlflow.dataset.shard import shard_path
from ich_mlflow.dataset.split import FOLD, SPLITS, TEST, TRAIN, VALIDATION
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
TABLE = "slices.parquet"

TABLE_COLUMNS = (
    "sop_uid", "patient_id", "study_uid", "series_uid", "position_mm", "position_fraction",
    "row_spacing_mm", "column_spacing_mm", *SUBTYPES, "split", FOLD, "shard", "row", "offset", "num_bytes",
)  # fmt: skip


def is_stored_set(path: Path) -> bool:
    """Whether a complete stored set (its manifest is written last) stands at `path`."""
    return (Path(path) / MANIFEST).is_file()


@dataclass
class StoredSet:
    """A stored set, opened. Reading is safe from several threads and holds no file open.

    table   DataFrame with TABLE_COLUMNS, index 0 … N-1
    reused  dataset.build found this set complete and did not build it again
    """

    path: Path
    manifest: dict[str, Any]
    table: pd.DataFrame
    reused: bool = False

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
        stored = cls(path=path, manifest=manifest, table=table)
        ends = (table["offset"] + table["num_bytes"]).groupby(table["shard"]).max()
        for shard, end in ends.items():
            file = stored._shard(int(str(shard)))
            if not file.is_file() or file.stat().st_size < end:
                raise DataError(f"{file} is missing or cut short, expected {end:,} bytes: {_REBUILD}")
        return stored

    def with_fold(self, number: int) -> Self:
        """The same set with fold `number` as validation and the other folds as train; test stays as it is.

        Raises DataError where the set has no such fold.
        """
        folds = int(self.table[FOLD].max()) + 1
        if not 0 <= number < folds:
            said = (
                f"has folds 0 to {folds - 1}: pass one of them"
                if folds
                else "was made without folds: run preprocess with -P folds=5 and another -P out=, or leave out -P fold="
            )
            raise DataError(f"fold is {number}, and {self.path} {said}")
        fold = self.table[FOLD].to_numpy()
        split = np.where(fold < 0, TEST, np.where(fold == number, VALIDATION, TRAIN))
        return replace(self, table=self.table.assign(split=split))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of pixels, identity, labels and split; equal for equal sets on any machine.

        Masks of blood are not in it, so that it is what it was: the manifest has a digest of theirs.
        """
        return str(self.manifest["digest"])

    def expect_digest(self, before: str, *, begun: str, anew: str) -> None:
        """Raise DataError unless the set has the digest it had before, when `begun` began with it.

        begun: what goes on now, as `run 0a1b`. anew: how to begin without it, as `leave out -P resume=true`.
        """
        if before != self.digest:
            raise DataError(
                f"{self.path} has changed since {begun} began with it (digest {before[:12]}, now {self.digest[:12]}): "
                f"{anew}"
            )

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
        pixels = np.empty((len(rows), STORED_SIZE, STORED_SIZE), dtype=np.int16)
        shards, offsets, sizes = (self._column(name)[rows] for name in ("shard", "offset", "num_bytes"))
        codec = codec_named(self.manifest["storage"])
        for shard in np.unique(shards):
            try:
                file = self._shard(int(shard)).open("rb", buffering=0)
            except OSError as error:
                raise DataError(
                    f"{self._shard(int(shard))} can't be read ({error.strerror}): {_REBUILD}"
                ) from None
            try:
                for place in np.flatnonzero(shards == shard):
                    file.seek(int(offsets[place]))
                    codec.decode(file.read(int(sizes[place])), pixels[place])
            except ValueError:
                raise DataError(f"{self._shard(int(shard))} is damaged: {_REBUILD}") from None
            finally:
                file.close()
        return pixels

    def blood(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the blood is on those table rows, uint8 [n, 256, 256], and of which that is known, bool [n].

        Bit i is set where blood of labels.SUBTYPES[i] is, bit 5 where its subtype is not known (ct/blood.py); all are 0
        where nothing is known. Sets that were made before there were masks know nothing.
        """
        return unpack_rows(self.path, [self._blood[row] for row in np.asarray(rows, np.int64)])

    def blood_known(self, rows: np.ndarray) -> np.ndarray:
        """Of which of those table rows it is known where the blood is, bool [n]."""
        return np.array([self._blood[row] is not None for row in np.asarray(rows, np.int64)], bool)

    def hu_with_context(self, rows: np.ndarray, context: int) -> np.ndarray:
        """Hounsfield units int16 [n, 256, 256, 1 + 2 * context]: each row's slice amid its neighbours.

        Neighbours are the next slices of the same series in the set, from feet to head; where the series ends,
        its last slice is repeated.
        """
        rows = np.asarray(rows, dtype=np.int64)
        first, last = self._series_ends
        steps = np.arange(-context, context + 1)
        wanted = np.clip(rows[:, None] + steps, first[rows][:, None], last[rows][:, None])
        pixels = self.hu(wanted.ravel())
        return np.moveaxis(pixels.reshape(*wanted.shape, STORED_SIZE, STORED_SIZE), 1, -1)

    def whole_series(self, rows: np.ndarray) -> list[np.ndarray]:
        """All rows of each series that has some of those rows, from feet to head."""
        first, last = self._series_ends
        return [np.arange(start, last[start] + 1) for start in np.unique(first[np.asarray(rows, np.int64)])]

    @cached_property
    def _blood(self) -> list[bytes | None]:
        return read_blood(self.path, len(self.table))

    @cached_property
    def _series_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each row, the first and the last row of its series: the table stands in the order of series."""
        keys = self.table[["patient_id", "study_uid", "series_uid"]]
        starts = np.r_[True, (keys.iloc[1:].to_numpy() != keys.iloc[:-1].to_numpy()).any(axis=1)]
        number = np.cumsum(starts) - 1
        first = np.flatnonzero(starts)
        last = np.r_[first[1:], len(keys)] - 1
        return first[number], last[number]

    def _column(self, name: str) -> np.ndarray:
        return self.table[name].to_numpy()

    def _shard(self, number: int) -> Path:
        return shard_path(self.path, number, codec_named(self.manifest["storage"]))


_REBUILD = "remove the folder and run preprocess again"


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise DataError(f"stored set {path} does not exist: run preprocess first, with -P out={path}")
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
