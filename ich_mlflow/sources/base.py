"""The interface every source of labelled slices offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ich_mlflow.dicom.slice import Slice


@dataclass(frozen=True, kw_only=True)
class LabelledFile:
    """A slice that has labels, before its pixels are read.

    sop_uid   as Slice.sop_uid
    path      the file that is read (of several files a slice, the first)
    subtypes  0 or 1 for each of labels.SUBTYPES
    """

    sop_uid: str
    path: Path
    subtypes: tuple[int, int, int, int, int]


class Source(Protocol):
    """A collection of labelled slices. Cheap to construct and to pickle: workers read through a copy."""

    @property
    def name(self) -> str:
        """rsna, ctich or phantom."""

    def files(self) -> Sequence[LabelledFile]:
        """Every labelled slice, in a fixed order. Raises DataError for missing or contradicting input."""

    def audit(self) -> dict[str, int]:
        """What was found on the way: rows, repeated_rows, slices, labels_without_file, files_without_label."""

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError, naming the file, where it can't be used."""
