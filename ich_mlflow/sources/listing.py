"""What every source does with its folder: find it, and keep what has both a file and labels."""

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ich_mlflow.errors import DataError
from ich_mlflow.series.choice import SeriesChoice
from ich_mlflow.sources.base import NO_FILE, NO_LABEL, LabelledFile, LabelLevel, Quarantined
from ich_mlflow.sources.folder import Entry, Folder

Subtypes = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A label table, read.

    subtypes   of every slice whose rows agree, by sop_uid
    rejected   why a slice's rows can't be used, by sop_uid: (reason, what is wrong and how to fix it)
    counts     name -> number of rows
    """

    subtypes: Mapping[str, Subtypes]
    rejected: Mapping[str, tuple[str, str]]
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The labelled files of a source, sorted by sop_uid; what can't be used; counts by name; series by study."""

    files: tuple[LabelledFile, ...]
    rejected: tuple[Quarantined, ...]
    counts: dict[str, int]
    series: tuple[SeriesChoice, ...] = ()


@dataclass(frozen=True)
class ListedSource(ABC):
    """What sources that keep a table beside a folder of images have in common.

    root: a path, or a URL that sources.folder understands. It is looked through once for each source; a
    pickled copy carries only the root.
    """

    root: str
    name: ClassVar[str]
    label_level: ClassVar[LabelLevel] = "slice"
    overlap: ClassVar[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", str(self.root))

    @property
    def folder(self) -> Folder:
        """The folder that is read."""
        return Folder(self.root)

    def files(self) -> Sequence[LabelledFile]:
        """Every slice with labels and a file, by sop_uid.

        Raises DataError for a missing folder or table, rows that can't be read, and where no slice has both
        a file and labels.
        """
        return self._listing.files

    def rejected(self) -> Sequence[Quarantined]:
        """Slices whose labels contradict each other, have no file, and files without labels, by file."""
        return self._listing.rejected

    def audit(self) -> dict[str, int]:
        """Counts: rows, repeated_rows, slices, labels_without_file, files_without_label."""
        return dict(self._listing.counts)

    def chosen_series(self) -> Sequence[SeriesChoice]:
        """Every series, and whether it was chosen, where studies have several; empty of other sources."""
        return self._listing.series

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root,)

    @cached_property
    def _listing(self) -> Listing:
        return self._list(self.folder)

    @abstractmethod
    def _list(self, folder: Folder) -> Listing:
        """Look through the folder."""


def require(folder: Folder, path: str, *, expected: str) -> None:
    """Raise DataError unless `path` exists in the folder. `expected` says how the data set is laid out."""
    if not folder.exists(path):
        raise DataError(
            f"{folder.name(path)} does not exist, expected {expected}: pass the folder that holds it"
        )


def match(labels: Labels, entries: Mapping[str, Entry], *, table: str, folder: Folder) -> Listing:
    """The slices that have labels and a file; the others go on the list of what can't be used.

    entries: by sop_uid. table: the label table's path. Raises DataError where no slice has both.
    """
    subtypes = labels.subtypes
    both = sorted(subtypes.keys() & entries.keys())
    if not both:
        raise DataError(
            f"{folder.name()} has {len(entries)} image files and usable labels for {len(subtypes)} slices, and "
            "none in common: check that labels and images are of the same data set"
        )
    files = tuple(
        LabelledFile(
            sop_uid=uid,
            path=(entry := entries[uid]).path,
            subtypes=subtypes[uid],
            num_bytes=entry.num_bytes,
            modified_ns=entry.modified_ns,
        )
        for uid in both
    )
    # Labels that contradict each other matter only where there is a slice to be labelled.
    contradicting = {uid: why for uid, why in labels.rejected.items() if uid in entries}
    no_file = (subtypes.keys() | labels.rejected.keys()) - entries.keys()
    no_label = entries.keys() - subtypes.keys() - labels.rejected.keys()
    rejected = [
        *(_rejected(uid, entries, *why, tag="") for uid, why in contradicting.items()),
        *(_rejected(uid, entries, NO_FILE, f"{uid} has labels in {table} but no file") for uid in no_file),
        *(_rejected(uid, entries, NO_LABEL, f"no labels in {table}") for uid in no_label),
    ]
    counts = {
        **labels.counts,
        "slices": len(files),
        "labels_without_file": len(no_file),
        "files_without_label": len(no_label),
    }
    rejected.sort(key=lambda one: (one.file, one.reason))
    return Listing(files=files, rejected=tuple(rejected), counts=counts)


def read_table(path: str, data: bytes) -> pd.DataFrame:
    """A CSV file's table; it may begin with a byte-order mark. Raises DataError where it is none."""
    try:
        return pd.read_csv(io.BytesIO(data), encoding="utf-8-sig", skipinitialspace=True)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} can't be read as a table ({reason}): copy it again") from None


def contradictions(uids: Sequence[Any], wrong: Any, reason: str, detail: str) -> dict[str, tuple[str, str]]:
    """Labels.rejected for the slices where `wrong` [len(uids)] is true."""
    return {uids[int(index)]: (reason, detail) for index in np.flatnonzero(wrong)}


def _rejected(
    uid: str, entries: Mapping[str, Entry], reason: str, detail: str, *, tag: str = ""
) -> Quarantined:
    file = entries[uid].path if uid in entries else uid
    return Quarantined(file=file, reason=reason, tag=tag, detail=detail)
