"""Several stored sets in one training: whose slices are shown, and how often. Of randomness by seed and epoch alone.

The first set is home: what is chosen on validation is chosen there. The others are trained on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ich_mlflow.dataset.rounds import Rounds
from ich_mlflow.dataset.sampling import balanced, by_patient, whole_counts
from ich_mlflow.dataset.set_paths import SEPARATOR, paths_of
from ich_mlflow.dataset.split import TEST, TRAIN, VALIDATION, group_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError


@dataclass
class HomeSet(StoredSet):
    """A stored set beside which others are trained on. Everything but `beside` and `shares` is the home set's.

    beside  the other sets, one or more
    shares  [1 + len(beside)] of an epoch's slices, home's first; they sum to 1
    """

    beside: tuple[StoredSet, ...] = ()
    shares: tuple[float, ...] = ()

    def rows_beside(self) -> list[np.ndarray]:
        """Of each other set the rows to train on: its training split, but for patients whom another set keeps apart.

        Those are who validates at home, and who is in the test split of any of the sets; a patient whom two sets know
        by other names is known by a study or series that both have.
        """
        return self._trainable[1:]

    def rows_at_home(self) -> np.ndarray:
        """Rows of home's training split whose patients are in no other set's test split."""
        return self._trainable[0]

    @cached_property
    def _trainable(self) -> list[np.ndarray]:
        """Of each set, home first, the rows to train on."""
        sets = sets_of(self)
        patients = patients_of([one.table for one in sets])
        apart = [
            of[one.table["split"].isin([TEST] if number else [VALIDATION, TEST]).to_numpy()]
            for number, (one, of) in enumerate(zip(sets, patients, strict=True))
        ]
        kept = np.unique(np.concatenate(apart))
        return [
            rows[~np.isin(of[rows], kept)]
            for one, of in zip(sets, patients, strict=True)
            for rows in [one.rows(TRAIN)]
        ]


def patients_of(tables: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """Whose each slice is, text [N] of each set: one patient where PatientID, study or series are the same."""
    columns = (
        pd.concat([table[name] for table in tables], ignore_index=True)
        for name in ("patient_id", "study_uid", "series_uid")
    )
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return list(np.split(group_patients(*columns), ends))


def open_sets(data: str, shares: tuple[float, ...] = ()) -> StoredSet:
    """Open the stored set, or the home set with those beside it.

    shares: of each set in an epoch, in any unit; () for equal ones. Raises DataError for a set that can't be opened,
    or is named twice.
    """
    paths = paths_of(data)
    sets = [StoredSet.open(Path(path)) for path in paths]
    digests = [one.digest for one in sets]
    for number, one in enumerate(sets):
        if one.digest in digests[:number]:
            raise DataError(
                f"{one.path} and {sets[digests.index(one.digest)].path} are the same stored set (digest "
                f"{one.digest[:12]}): name each once, and give it the larger of -P shares="
            )
    home, *beside = sets
    if not beside:
        return home
    weights = np.array(shares or (1.0,) * len(sets))
    return HomeSet(
        path=home.path,
        manifest=home.manifest,
        table=home.table,
        reused=home.reused,
        beside=tuple(beside),
        shares=tuple((weights / weights.sum()).tolist()),
    )


def data_of(stored: StoredSet) -> str:
    """The text that open_sets opens as this."""
    return SEPARATOR.join(str(one.path) for one in sets_of(stored))


def sets_of(stored: StoredSet) -> list[StoredSet]:
    """The stored set itself, and those beside it."""
    return [stored, *stored.beside] if isinstance(stored, HomeSet) else [stored]


def names_of(stored: StoredSet) -> list[str]:
    """A name for each set that tells them apart: of its folder, with a number where two are alike."""
    found: list[str] = []
    for one in sets_of(stored):
        name = one.path.resolve().name
        found.append(name if name not in found else f"{name}-{len(found) + 1}")
    return found


class Pool:
    """The slices that a training may show, of one or several sets, numbered through in the order of the sets.

    parts: of each set which rows.
    """

    def __init__(self, parts: list[tuple[StoredSet, np.ndarray]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(rows) for _, rows in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_at_home(self) -> int:
        """Slices of the first set."""
        return int(self._starts[1])

    def path_of(self, number: int) -> Path:
        """The path of a set."""
        return self._parts[number][0].path

    @property
    def subtypes(self) -> np.ndarray:
        """Labels uint8 [N, 5]."""
        return np.concatenate([one.subtypes[rows] for one, rows in self._parts])

    @property
    def patients(self) -> np.ndarray:
        """Whose slice each is, text [N]; of several sets as patients_of has it."""
        tables = [one.table.iloc[rows] for one, rows in self._parts]
        if len(tables) == 1:
            return np.asarray(tables[0]["patient_id"].to_numpy())
        return np.concatenate(patients_of(tables))

    @property
    def set_of(self) -> np.ndarray:
        """Of which set each slice is, int [N]."""
        return np.repeat(np.arange(len(self._parts)), np.diff(self._starts))

    def hu_with_context(self, numbers: np.ndarray, context: int) -> np.ndarray:
        """Hounsfield units int16 [n, 256, 256, 1 + 2 * context], as StoredSet has them."""
        return self._gathered(numbers, lambda one, rows: one.hu_with_context(rows, context))

    def blood(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the blood is, uint8 [n, 256, 256], and of which slices that is known, bool [n], as StoredSet has it."""
        blood = self._gathered(numbers, lambda one, rows: one.blood(rows)[0])
        return blood, self.blood_known(numbers)

    def blood_known(self, numbers: np.ndarray) -> np.ndarray:
        """Of which slices it is known where the blood is, bool [n]."""
        return self._gathered(numbers, lambda one, rows: one.blood_known(rows))

    def _gathered(
        self, numbers: np.ndarray, read: Callable[[StoredSet, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """What is read of the slices, each from its set, in the order of the numbers [n]."""
        numbers = np.asarray(numbers, np.int64)
        of = np.searchsorted(self._starts, numbers, side="right") - 1
        found: np.ndarray | None = None
        for number in np.unique(of):
            stored, rows = self._parts[number]
            here = np.flatnonzero(of == number)
            part = read(stored, rows[numbers[here] - self._starts[number]])
            if found is None:
                found = np.empty((len(numbers), *part.shape[1:]), part.dtype)
            found[here] = part
        if found is None:
            raise ValueError("no slices were asked for")
        return found


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Epochs in which each set has its share. Made by `mixed`.

    rounds  of each set and, where labels are balanced, of each group of labels, how its slices come round
    """

    rounds: tuple[Rounds, ...]

    def order(self, *, seed: int, epoch: int) -> np.ndarray:
        """Numbers [N] of the slices of one epoch, shuffled. The same for the same seed and epoch, counted from 0."""
        drawn = [one.drawn(seed=seed, epoch=epoch) for one in self.rounds]
        return np.random.default_rng((seed, epoch)).permutation(np.concatenate(drawn))


def mixed(
    pool: Pool,
    shares: tuple[float, ...],
    *,
    size: int,
    targets: np.ndarray | None = None,
    rate: float = 0.0,
) -> Mixed:
    """Epochs of `size` slices of which each of several sets has its share, drawn by set, then patient, then slice.

    targets: [N, L] of the pool; every label that a set has is then positive in the share `rate` of its slices, and of
    slices with equal labels each patient comes alike. Raises DataError as sampling.balanced does, for a set that has no
    slice, and for a share that is less than one.
    """
    set_of, patients = pool.set_of, pool.patients
    rounds: list[Rounds] = []
    for number, count in enumerate(whole_counts(np.array(shares), size).tolist()):
        slices = np.flatnonzero(set_of == number)
        if not count:
            raise DataError(
                f"the share of {pool.path_of(number)} is {shares[number]:.2g} of the {size:,} slices of an epoch, less "
                "than one slice: give it a larger one of -P shares=, or leave it out of -P data="
            )
        if not len(slices):
            raise DataError(
                f"{pool.path_of(number)} has no slice to train on, once those patients are left out whom another set "
                "validates or tests on: leave it out of -P data="
            )
        if targets is None:
            groups: tuple[tuple[np.ndarray, ...], ...] = (
                by_patient(np.arange(len(slices)), patients[slices]),
            )
            counts = np.array([count])
        else:
            sampler = balanced(targets[slices], patients[slices], rate=rate, size=count)
            groups, counts = sampler.groups, sampler.counts
        rounds += [
            Rounds(group=tuple(slices[one] for one in group), count=int(each), key=(number, place))
            for place, (group, each) in enumerate(zip(groups, counts, strict=True))
        ]
    return Mixed(rounds=tuple(rounds))
