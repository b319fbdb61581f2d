"""What every source does with its folder: find it, and keep what has both a file and labels."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import LabelledFile

Subtypes = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The labelled files of a source, sorted by sop_uid, and what was found on the way (name -> count)."""

    files: tuple[LabelledFile, ...]
    counts: dict[str, int]


@dataclass(frozen=True)
class ListedSource(ABC):
    """What sources that keep a table beside a folder of images have in common.

    The folder is looked through once for each source; a pickled copy carries only the path.
    """

    root: Path

    def files(self) -> Sequence[LabelledFile]:
        """Every slice with labels and a file, by sop_uid.

        Raises DataError for a missing folder or table, rows that can't be read, labels that contradict each
        other, and where no slice has both a file and labels.
        """
        return self._listing.files

    def audit(self) -> dict[str, int]:
        """Counts: rows, repeated_rows, slices, labels_without_file, files_without_label."""
        return dict(self._listing.counts)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.root,)

    @cached_property
    def _listing(self) -> Listing:
        return self._list(Path(self.root))

    @abstractmethod
    def _list(self, root: Path) -> Listing:
        """Look through the folder."""


def require(path: Path, *, expected: str) -> None:
    """Raise DataError unless `path` exists. `expected` says how the data set is laid out."""
    if not path.exists():
        raise DataError(f"{path} does not exist, expected {expected}: pass the folder that holds it")


def keep_both(
    labels: Mapping[str, Subtypes], paths: Mapping[str, Path], counts: dict[str, int], *, root: Path
) -> Listing:
    """The slices that have labels and a file. The others are counted and skipped.

    labels, paths: by sop_uid. Raises DataError where no slice has both.
    """
    both = sorted(labels.keys() & paths.keys())
    if not both:
        raise DataError(
            f"{root} has {len(paths)} image files and labels for {len(labels)} slices, and none in common: "
            "check that labels and images are of the same data set"
        )
    files = tuple(LabelledFile(sop_uid=uid, path=paths[uid], subtypes=labels[uid]) for uid in both)
    counts = {
        **counts,
        "slices": len(files),
        "labels_without_file": len(labels) - len(files),
        "files_without_label": len(paths) - len(files),
    }
    return Listing(files=files, counts=counts)
