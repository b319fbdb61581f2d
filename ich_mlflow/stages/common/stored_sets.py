"""A stored set, as several stages speak of it: what it is, its counts, the slices to look at."""

from pathlib import Path

import pandas as pd

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import SPLITS
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.labels import ANY, SUBTYPES

#: Cohorts and stored sets that the user gave no place are made here, under the current folder.
DATA_FOLDER = Path("data")
PREVIEW_SLICES = 24


def no_stored_set(folder: Path) -> str:
    """Why a folder that was named as one is no stored set, and what makes one; '' where it is."""
    if is_stored_set(folder):
        return ""
    return (
        f"{folder} is no stored set: make one with {next_command('preprocess')}, or say what the folder holds with "
        "-P source=rsna or -P source=ctich"
    )


def describe(stored: StoredSet) -> str:
    """`phantom, 1,872 slices of 69 patients, digest 0123456789ab`."""
    table = stored.table
    return (
        f"{stored.manifest['source']}, {len(table):,} slices of {table['patient_id'].nunique():,} patients, "
        f"digest {stored.digest[:12]}"
    )


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
