"""CT-ICH's table of labels, which all its layouts have, and its slices' names."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from ich_mlflow.ct.blood import blood_of
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.folder import Folder
from ich_mlflow.sources.listing import Labels, Listing, contradictions, read_table

_LABELS = [subtype.capitalize() for subtype in SUBTYPES]
_COLUMNS = ["PatientNumber", "SliceNumber", *_LABELS, "No_Hemorrhage"]


def sop_uid(patient: int, slice_number: int) -> str:
    """A slice's name in every layout: CTICH_049_07 is slice 7, counted from 1, of patient 49."""
    return f"CTICH_{patient:03d}_{slice_number:02d}"


def read_labels(folder: Folder, path: str) -> Labels:
    """The labels of every slice, by sop_uid. Raises DataError where the table makes no sense."""
    table = _parse_rows(folder.name(path), folder.read(path))
    num_rows = len(table)
    table = table.drop_duplicates()
    uids = [sop_uid(*row) for row in table[["PatientNumber", "SliceNumber"]].itertuples(index=False)]
    twice = pd.Index(uids).duplicated(keep=False)
    bleeds = table[_LABELS].to_numpy().any(axis=1)
    unequal = bleeds == (table["No_Hemorrhage"].to_numpy() == 1)
    rejected = {
        **contradictions(uids, unequal, "any_contradicts", "No_Hemorrhage contradicts the subtypes"),
        **contradictions(uids, twice, "contradicting_rows", "labelled twice, differently"),
    }
    subtypes = map(tuple, table[_LABELS].to_numpy().tolist())
    return Labels(
        subtypes={uid: label for uid, label in zip(uids, subtypes, strict=True) if uid not in rejected},
        rejected=rejected,
        counts={"rows": num_rows, "repeated_rows": num_rows - len(table)},
    )


def with_masks(listing: Listing, masks: Mapping[str, str], mask_of: Callable[[str], str]) -> Listing:
    """The listing with where each slice's blood is. Without any mask in the folder nothing is known of any slice.

    masks: paths of the masks that are there, by what mask_of makes of a slice's path. A slice without one shows no
    blood where it is labelled so; where it is labelled with a bleed its blood is not known.
    """
    if not masks:
        return listing
    files = tuple(
        replace(file, blood=masks.get(mask_of(file.path), None if any(file.subtypes) else ""))
        for file in listing.files
    )
    return replace(listing, files=files)


def labelled_blood(mask: np.ndarray, subtypes: tuple[int, ...]) -> np.ndarray | None:
    """The blood uint8 [H, W] of a slice's mask bool [H, W]; None, not known, where mask and labels contradict."""
    return blood_of(mask, subtypes) if mask.any() == any(subtypes) else None


def _parse_rows(path: str, data: bytes) -> pd.DataFrame:
    table = read_table(path, data)
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns))}, expected {', '.join(_COLUMNS)}: "
            "copy the table again"
        )
    numbers = table[_COLUMNS].apply(pd.to_numeric, errors="coerce")
    flags = numbers[[*_LABELS, "No_Hemorrhage"]]
    whole = (numbers[["PatientNumber", "SliceNumber"]] % 1 == 0).all(axis=1)
    bad = np.flatnonzero(~(flags.isin([0, 1]).all(axis=1) & whole).to_numpy())
    if len(bad) or not len(numbers):
        where = f"{len(bad)} unreadable rows, the first on line {bad[0] + 2}" if len(bad) else "no rows"
        raise DataError(f"{path} has {where}, expected numbers, labels 0 or 1: copy the table again")
    return numbers.astype(int)
