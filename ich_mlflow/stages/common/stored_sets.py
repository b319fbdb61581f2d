"""A stored set, as several stages speak of it: what it is, its counts, the slices to look at."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.mixture import HomeSet, sets_of
from ich_mlflow.dataset.split import SPLITS, TEST
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.models.ancestry import KINDS, Ancestor, Ancestry, hashes
from ich_mlflow.tracking.run import dataset_of

#: Cohorts and stored sets that the user gave no place are made here, under the current folder.
DATA_FOLDER = Path("data")
PREVIEW_SLICES = 24
#: What the labels of a stored set are of, as its manifest says.
OF_SLICES, OF_STUDIES, NO_LABELS = "slice", "study", "none"


def no_stored_set(folder: Path) -> str:
    """Why a folder that was named as one is no stored set, and what makes one; '' where it is."""
    if is_stored_set(folder):
        return ""
    return (
        f"{folder} is no stored set: make one with {next_command('preprocess')}, or say what the folder holds with "
        "-P source=rsna or -P source=ctich"
    )


def label_level(stored: StoredSet) -> str:
    """What the set's labels are of: slice, study or none. Sets made before manifests told it have those of slices."""
    return str(stored.manifest.get("label_level", OF_SLICES))


def describe(stored: StoredSet) -> str:
    """`phantom, 1,872 slices of 69 patients, digest 0123456789ab`; of a home set also what is trained on beside it."""
    said = [
        f"{one.manifest['source']}, {len(one.table):,} slices of {one.table['patient_id'].nunique():,} patients, "
        f"digest {one.digest[:12]}"
        for one in sets_of(stored)
    ]
    return "; beside it ".join(said)


def learned_from(stored: StoredSet, *, by: str, rows: np.ndarray | None = None) -> Ancestor:
    """What a network that was trained on the set has learned from: all but its test split, also where a fold validates.

    by: what learned, as `run 0123…`. rows: those of the set that it was shown, where nothing was chosen by others.
    """
    seen = stored.table[stored.table["split"] != TEST] if rows is None else stored.table.iloc[rows]
    return Ancestor(
        name=by,
        source=str(stored.manifest["source"]),
        digest=stored.digest,
        seen={kind: hashes(seen[column].unique()) for column, kind in KINDS.items()},
    )


def learned_then(before: Ancestry, stored: StoredSet, *, by: str) -> Ancestry:
    """What a network has learned from that was trained on the set, and on those beside it, after what came before."""
    if isinstance(stored, HomeSet):
        for one, rows in zip(stored.beside, stored.rows_beside(), strict=True):
            before = before.then(learned_from(one, by=by, rows=rows))
    return before.then(learned_from(stored, by=by))


def ids_of_test(stored: StoredSet) -> dict[str, list[str]]:
    """Patients, studies and series of the test split, each once, by their columns."""
    return ids_of(stored, stored.rows(TEST))


def ids_of(stored: StoredSet, rows: np.ndarray) -> dict[str, list[str]]:
    """Patients, studies and series of those rows, each once, by their columns."""
    named = stored.table.iloc[rows]
    return {column: named[column].unique().tolist() for column in KINDS}


def data_note(stored: StoredSet) -> str:
    """What figures say of their data, so that a phantom's result is not taken for a patient's."""
    return f"data: {stored.manifest['source']}; research software, not a medical device"


def counts_text(counts: pd.DataFrame) -> str:
    """Positive slices (patients) a label and split, as a table for the terminal."""
    return f"slices (patients):\n{counts_frame(counts).to_string()}"


def counts_frame(counts: pd.DataFrame) -> pd.DataFrame:
    """Positive slices (patients) as text, one row a label, one column a split."""
    rows = {"all": [f"{row.slices} ({row.patients})" for row in counts.itertuples()]}
    for label in (*SUBTYPES, ANY):
        pairs = zip(counts[f"{label}_slices"], counts[f"{label}_patients"], strict=True)
        rows[label] = [f"{slices} ({patients})" for slices, patients in pairs]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(counts.index))


def preview_rows(stored: StoredSet, *, num_slices: int = PREVIEW_SLICES) -> list[int]:
    """Rows of the training split to look at: some of every subtype, then others, in a fixed order.

    Where the set has no training split, of the first split that it has.
    """
    chosen = stored.rows(previewed_split(stored))
    subtypes = stored.subtypes[chosen]
    groups = [chosen[subtypes[:, i] > 0] for i in range(len(SUBTYPES))] + [chosen[~subtypes.any(axis=1)]]
    each = max(1, num_slices // len(groups))
    picked = [int(row) for group in groups for row in group[:: max(1, len(group) // each)][:each]]
    return sorted(dict.fromkeys(picked))


def previewed_split(stored: StoredSet) -> str:
    """The split that pictures are of: train, but of external data test, which is all there is."""
    return next(split for split in SPLITS if len(stored.rows(split)))


def split_dataset(stored: StoredSet, split: str, *, name: str = "") -> Any:
    """A split of the set as MLflow knows it, by its source or that name: `ctich-train` and the set's digest."""
    return dataset_of(
        stored.table.iloc[stored.rows(split)],
        source=stored.path,
        # One name and digest would be one data set, with one context.
        name=f"{name or stored.manifest['source']}-{split}",
        digest=stored.digest,
    )
