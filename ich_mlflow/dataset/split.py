"""Dividing patients into train, validation and test. Arrays in, arrays out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich_mlflow.errors import SplitError
from ich_mlflow.labels import ANY, SUBTYPES

SPLITS: tuple[str, str, str] = ("train", "validation", "test")
DEFAULT_FRACTIONS = (0.70, 0.15, 0.15)


@dataclass(frozen=True, kw_only=True)
class _Patients:
    """The patients of a set, sorted by id.

    rows        int64 [N], each slice's patient
    labels      bool [P, 6], which subtypes occur, and none
    num_slices  int64 [P]
    """

    rows: np.ndarray
    labels: np.ndarray
    num_slices: np.ndarray


def split_patients(
    patient_ids: np.ndarray,
    subtypes: np.ndarray,
    *,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int,
) -> np.ndarray:
    """Divide the patients, and give each slice its patient's split: train, validation or test, str [N].

    patient_ids [N], subtypes 0 or 1 [N, 5] in SUBTYPES order, fractions of the patients in SPLITS order.
    Stratified by which subtypes a patient has (or none), as evenly as whole patients allow; every split gets
    a patient of each subtype that three or more have, where that can be. The same for the same seed, whatever
    the order of the rows. Raises SplitError for fewer than three patients, or fractions not all above 0.

    Source: iterative stratification, Sechidis et al., ECML PKDD 2011, over patients.
    """
    shares = check_fractions(fractions)
    patients = _group(np.asarray(patient_ids), np.asarray(subtypes))
    if len(patients.labels) < len(SPLITS):
        raise SplitError(
            f"{len(patients.labels)} patients can't be divided into {', '.join(SPLITS)}: "
            f"expected {len(SPLITS)} or more, add patients"
        )
    assigned = _stratify(patients, shares, np.random.default_rng(seed))
    _fill_gaps(assigned, patients, shares)
    return np.array(SPLITS, dtype=object)[assigned][patients.rows].astype(str)


def assert_disjoint(patient_ids: np.ndarray, splits: np.ndarray) -> None:
    """Raise SplitError, with the counts, if a patient stands in two splits."""
    pairs = pd.DataFrame({"patient": np.asarray(patient_ids), "split": np.asarray(splits)}).drop_duplicates()
    shared = pairs["patient"].duplicated().sum()
    if shared:
        raise SplitError(
            f"{shared} of {pairs['patient'].nunique()} patients stand in two splits, expected none: "
            "split by patient (dataset.split.split_patients) and build the set again"
        )


def split_counts(
    patient_ids: np.ndarray,
    subtypes: np.ndarray,
    splits: np.ndarray,
    *,
    study_uids: np.ndarray | None = None,
) -> pd.DataFrame:
    """Counts by split, one row for each of SPLITS.

    Columns: patients, studies (if study_uids [N] is given), slices, then for each subtype and `any` the
    positive slices `<label>_slices` and the patients with one `<label>_patients`.
    """
    subtypes = np.asarray(subtypes).astype(bool)
    labels = dict(zip((*SUBTYPES, ANY), (*subtypes.T, subtypes.any(axis=1)), strict=True))
    patients = np.asarray(patient_ids)
    rows = []
    for split in SPLITS:
        here = np.asarray(splits) == split
        row = {"patients": len(np.unique(patients[here]))}
        if study_uids is not None:
            row["studies"] = len(np.unique(np.asarray(study_uids)[here]))
        row["slices"] = int(here.sum())
        for label, positive in labels.items():
            row[f"{label}_slices"] = int((positive & here).sum())
            row[f"{label}_patients"] = len(np.unique(patients[positive & here]))
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(SPLITS, name="split"))


def check_fractions(fractions: Sequence[float]) -> np.ndarray:
    """The fractions as float64 [3]. Raises SplitError unless they are three above 0 that sum to 1."""
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (len(SPLITS),) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise SplitError(
            f"fractions are {tuple(fractions)}, expected three above 0 that sum to 1 ({', '.join(SPLITS)}): "
            f"pass for example {DEFAULT_FRACTIONS}"
        )
    return shares


def _group(patient_ids: np.ndarray, subtypes: np.ndarray) -> _Patients:
    if subtypes.shape != (len(patient_ids), len(SUBTYPES)):
        raise ValueError(f"subtype labels have shape {subtypes.shape}, expected [{len(patient_ids)}, 5]")
    names, rows = np.unique(patient_ids.astype(str), return_inverse=True)
    positive = [np.bincount(rows, weights=column, minlength=len(names)) > 0 for column in subtypes.T]
    labels = np.column_stack([*positive, ~np.any(positive, axis=0)])
    return _Patients(rows=rows, labels=labels, num_slices=np.bincount(rows, minlength=len(names)))


def _stratify(patients: _Patients, shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Split number int64 [P] of each patient. The rarest label left is dealt out first."""
    labels = patients.labels
    wanted = np.stack([_wanted(count, shares) for count in labels.sum(axis=0)])
    wanted_slices = patients.num_slices.sum() * shares
    assigned = np.full(len(labels), -1)
    order = random.permutation(len(labels))
    while (open_ := assigned < 0).any():
        left = labels[open_].sum(axis=0)
        rarest = np.where(left > 0, left, np.iinfo(np.int64).max).argmin()
        for patient in order[open_[order] & labels[order, rarest]]:
            # Ties on the label (equal fractions make many) go to the split with most slices still to get.
            split = np.lexsort((-wanted_slices, -np.round(wanted[rarest], 9)))[0]
            assigned[patient] = split
            wanted[labels[patient], split] -= 1
            wanted_slices[split] -= patients.num_slices[patient]
    return assigned


def _wanted(count: int, shares: np.ndarray) -> np.ndarray:
    """How many of `count` patients each split should get, float64 [3]: at least one each from three up."""
    wanted = count * shares
    if count >= len(shares):
        missing = np.clip(1 - wanted, 0, None)
        wanted = wanted + missing
        wanted[wanted.argmax()] -= missing.sum()
    return wanted


def _fill_gaps(assigned: np.ndarray, patients: _Patients, shares: np.ndarray) -> None:
    """Move patients, in place, so that no split is empty, and each has every label of three patients or more.

    Column 0 stands for being a patient at all, and comes first. A later move never takes the last of a
    column that was seen to; where no such move is left, the gap stays.
    """
    columns = np.column_stack([np.ones(len(assigned), dtype=bool), patients.labels])
    totals = columns.sum(axis=0)
    held = np.stack([columns[assigned == split].sum(axis=0) for split in range(len(shares))])
    guarded = np.zeros(len(totals), dtype=bool)
    for column in (0, *(1 + np.argsort(totals[1:], kind="stable"))):
        if totals[column] < len(shares):
            continue
        guarded[column] = True
        for split in np.flatnonzero(held[:, column] == 0):
            donors = np.flatnonzero(columns[:, column])
            spare = [p for p in donors if (held[assigned[p]][columns[p] & guarded] > 1).all()]
            if not spare:
                continue
            # The fullest split gives, and the patient with the fewest labels goes.
            patient = max(spare, key=lambda p: (held[assigned[p], column], -columns[p].sum(), -p))
            held[assigned[patient]] -= columns[patient]
            assigned[patient] = split
            held[split] += columns[patient]
