"""Dividing patients into train, validation and test. Arrays in, arrays out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ich_mlflow.errors import SplitError
from ich_mlflow.labels import ANY, SUBTYPES

SPLITS: tuple[str, str, str] = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = SPLITS
DEFAULT_FRACTIONS = (0.70, 0.15, 0.15)
#: The table's column of fold numbers: 0 to k - 1, and -1 for the test split or where there are no folds.
FOLD = "fold"


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


def fold_patients(
    patient_ids: np.ndarray, subtypes: np.ndarray, splits: np.ndarray, *, num_folds: int, seed: int
) -> np.ndarray:
    """Deal the patients outside the test split into folds of equal size: int8 [N], -1 for test.

    Stratified as split_patients. num_folds 0 makes no folds, -1 everywhere. Raises SplitError for 1 fold, or
    more folds than patients.
    """
    folds = np.full(len(patient_ids), -1, dtype=np.int8)
    if num_folds == 0:
        return folds
    dealt = np.asarray(splits) != TEST
    patients = _group(np.asarray(patient_ids)[dealt], np.asarray(subtypes)[dealt])
    if not 2 <= num_folds <= min(len(patients.labels), 100):
        raise SplitError(
            f"folds is {num_folds}, expected 0 or 2 to {min(len(patients.labels), 100)} (there are "
            f"{len(patients.labels)} patients outside test): pass -P folds=5"
        )
    shares = np.full(num_folds, 1 / num_folds)
    assigned = _stratify(patients, shares, np.random.default_rng((seed, num_folds)))
    _fill_gaps(assigned, patients, shares)
    folds[dealt] = assigned[patients.rows]
    return folds


def group_patients(patient_ids: pd.Series, *other_ids: pd.Series) -> np.ndarray:
    """The unit of splitting for each slice, str [N]: its patient, or the first of several patients.

    Patients that share a study or a series (a PatientID that was changed, or pseudonyms given twice) count as
    one, so that neither is torn. other_ids: study and series of each slice.
    """
    names, patients = np.unique(patient_ids.to_numpy().astype(str), return_inverse=True)
    edges = [np.empty((2, 0), dtype=np.int64)]
    for ids in other_ids:
        pairs = pd.DataFrame({"patient": patients, "id": ids.to_numpy()}).drop_duplicates()
        first = pairs.groupby("id")["patient"].transform("first").to_numpy()
        edges.append(np.stack([pairs["patient"].to_numpy(), first]))
    rows, columns = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    _, components = connected_components(graph, directed=False)
    first_of = np.full(components.max() + 1, len(names))
    np.minimum.at(first_of, components, np.arange(len(names)))
    return names[first_of[components]][patients]


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
    names: Sequence[str] = SPLITS,
) -> pd.DataFrame:
    """Counts by split, one row for each of `names`, which are values of `splits`.

    Columns: patients, studies (if study_uids [N] is given), slices, then for each subtype and `any` the
    positive slices `<label>_slices` and the patients with one `<label>_patients`.
    """
    subtypes = np.asarray(subtypes).astype(bool)
    labels = dict(zip((*SUBTYPES, ANY), (*subtypes.T, subtypes.any(axis=1)), strict=True))
    patients = np.asarray(patient_ids)
    rows = []
    for split in names:
        here = np.asarray(splits) == split
        row = {"patients": len(np.unique(patients[here]))}
        if study_uids is not None:
            row["studies"] = len(np.unique(np.asarray(study_uids)[here]))
        row["slices"] = int(here.sum())
        for label, positive in labels.items():
            row[f"{label}_slices"] = int((positive & here).sum())
            row[f"{label}_patients"] = len(np.unique(patients[positive & here]))
        rows.append(row)
    return pd.DataFrame(rows, index=pd.Index(names, name="split"))


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
