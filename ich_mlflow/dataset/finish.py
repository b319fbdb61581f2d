"""From journals to the finished set: table, split, list, manifest, and the folder's final name."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import ich_mlflow
from ich_mlflow.dataset.blood import BLOOD, write_blood
from ich_mlflow.dataset.codec import codec_named
from ich_mlflow.dataset.plan import LOCK, PLAN, Plan
from ich_mlflow.dataset.quarantine import QUARANTINE, Quarantine
from ich_mlflow.dataset.shard import JOURNAL, shard_path
from ich_mlflow.dataset.split import (
    FOLD,
    TEST,
    TRAIN,
    assert_disjoint,
    fold_patients,
    group_patients,
    split_counts,
    split_patients,
)
from ich_mlflow.dataset.store import MANIFEST, SCHEMA_VERSION, TABLE, TABLE_COLUMNS, StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.system.processes import let_go_to_rename
from ich_mlflow.system.whole import PART, flush_folder, write_whole


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How patients are divided: fractions of SPLITS, folds of train and validation (0: none), and the seed.

    external: not at all, every patient is in the test split, of which a single one is enough. training_only: nor here,
    every patient is in the training split.
    """

    fractions: tuple[float, float, float]
    folds: int
    seed: int
    external: bool = False
    training_only: bool = False


def finish(
    plan: Plan,
    journals: Sequence[pa.Table],
    quarantine: Quarantine,
    folder: Path,
    out: Path,
    *,
    split: SplitOptions,
    manifest: dict[str, Any],
) -> StoredSet:
    """Write table, list and manifest into `folder` and rename it to `out`. journals: of every shard, in order.

    Raises SplitError as split_patients, DataError where no slice can be used or one occurs twice.
    """
    quarantine.write(folder / QUARANTINE)
    table = _table(journals, folder)
    digests, blood = table.pop("digest"), table.pop("blood")
    _divide(table, split)
    table = table.sort_values(["patient_id", "study_uid", "series_uid", "position_mm", "sop_uid"])
    (folder / BLOOD).unlink(missing_ok=True)  # of a start before, when there were masks
    told = write_blood(folder, blood[table.index].tolist())
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "ich_mlflow": ich_mlflow.__version__,
        **manifest,
        "counts": _counts(table),
        "series": _series_counts(table),
        "quarantine": quarantine.counts(),
        "digest": _digest(table, digests),
        **told,
    }
    whole = table[list(TABLE_COLUMNS)].reset_index(drop=True)
    write_whole(folder / TABLE, lambda file: whole.to_parquet(file, index=False))
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    expected = {shard_path(folder, task.number, codec_named(plan.storage)) for task in plan.tasks}
    for file in {*folder.glob("hu-*"), *folder.glob(f"*{PART}")} - expected:
        file.unlink(missing_ok=True)  # an earlier run had more files, or a process was killed
    let_go_to_rename(folder)
    os.rename(folder, out)
    flush_folder(out.parent)
    tidy(out)
    return StoredSet.open(out)


def tidy(out: Path) -> None:
    """Remove what only the making of the set needed. A process killed before this leaves it to the next."""
    shutil.rmtree(out / JOURNAL, ignore_errors=True)
    for name in (PLAN, LOCK):
        (out / name).unlink(missing_ok=True)


def _table(journals: Sequence[pa.Table], folder: Path) -> pd.DataFrame:
    """The usable slices of all shards, with `shard` and `position_fraction`."""
    usable = []
    for number, journal in enumerate(journals):
        rows = journal.replace_schema_metadata(None).filter(pc.equal(journal["reason"], ""))
        usable.append(rows.append_column("shard", pa.array([number] * len(rows), pa.int32())))
    table = pa.concat_tables(usable).drop_columns(["file", "reason", "tag", "detail"]).to_pandas()
    if table.empty:
        raise DataError(f"no slice can be used: see {folder / QUARANTINE} for the reasons")
    repeated = table["sop_uid"].duplicated()
    if repeated.any():
        first = table.loc[repeated, "sop_uid"].iloc[0]
        raise DataError(f"slice {first} occurs twice ({repeated.sum()} such): remove one of the files")
    table["position_fraction"] = _position_fraction(table)
    return table


def _divide(table: pd.DataFrame, options: SplitOptions) -> None:
    """Add `split` and `fold`, and assert that no patient, study or series is torn."""
    if options.external or options.training_only:
        table["split"], table[FOLD] = TEST if options.external else TRAIN, np.int8(-1)
        return
    groups = group_patients(table["patient_id"], table["study_uid"], table["series_uid"])
    subtypes = table[list(SUBTYPES)].to_numpy()
    table["split"] = split_patients(groups, subtypes, fractions=options.fractions, seed=options.seed)
    table[FOLD] = fold_patients(
        groups, subtypes, table["split"].to_numpy(), num_folds=options.folds, seed=options.seed
    )
    for column in ("patient_id", "study_uid", "series_uid"):
        assert_disjoint(table[column].to_numpy(), table["split"].to_numpy())
        assert_disjoint(table[column].to_numpy(), table[FOLD].to_numpy())


def _position_fraction(table: pd.DataFrame) -> pd.Series:
    """0 at the lowest slice of a series, 1 at the highest; 0.5 where a series has a single position."""
    position = table["position_mm"].groupby(table["series_uid"])
    lowest, highest = position.transform("min"), position.transform("max")
    extent = highest - lowest
    return ((table["position_mm"] - lowest) / extent.where(extent > 0)).fillna(0.5)


def _digest(table: pd.DataFrame, digests: pd.Series) -> str:
    """SHA-256 over each slice's pixel digest, identity, labels, split and fold, in the table's order."""
    total = hashlib.sha256()
    names = table[["patient_id", "study_uid", "series_uid", "sop_uid", "split"]].to_numpy()
    labels = table[[*SUBTYPES, FOLD]].to_numpy(dtype=np.int8)
    for pixels, name, label in zip(digests[table.index], names, labels, strict=True):
        total.update(pixels)
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


def _series_counts(table: pd.DataFrame) -> dict[str, int]:
    """How many series there are, and in how many of them two slices stand at the same position."""
    repeated = table.loc[table.duplicated(["series_uid", "position_mm"]), "series_uid"]
    return {"series": int(table["series_uid"].nunique()), "with_repeated_position": int(repeated.nunique())}
