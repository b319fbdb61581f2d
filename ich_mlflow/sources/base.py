"""The interface every source of labelled slices offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.series.choice import SeriesChoice

#: Reasons of files that only lack their counterpart. They are listed, and count towards no limit: a part of
#: the images with the whole table, or the reverse, is a data set like any other.
NO_LABEL, NO_FILE = "no_label", "no_file"
#: A head that nothing can be drawn into is no damaged file: it counts towards no limit either.
NO_SKULL = "no_skull"
UNMATCHED = (NO_LABEL, NO_FILE, NO_SKULL)

#: What a source's labels are of: each slice, a whole study (each of its slices carries them), or there are none.
LabelLevel = Literal["slice", "study", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFile:
    """A slice that has labels, before its pixels are read.

    sop_uid    as Slice.sop_uid
    path       the file that is read, from the source's folder (of several files a slice, the first)
    subtypes   0 or 1 for each of labels.SUBTYPES
    patient_id whose it is, where the source's table says so and the file need not
    num_bytes, modified_ns  size of all its files, and the newest's time, as the folder says
    blood      the file with the mask of its blood, '' where it is known to show none; None where that is not known
    """

    sop_uid: str
    path: str
    subtypes: tuple[int, int, int, int, int]
    num_bytes: int
    modified_ns: int
    patient_id: str = ""
    blood: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A file that can't be used: its path from the source's folder, one word why, the tag, and the message."""

    file: str
    reason: str
    tag: str
    detail: str


class Source(Protocol):
    """A collection of labelled slices. Cheap to construct and to pickle: workers read through a copy."""

    @property
    def name(self) -> str:
        """The name that selects it, in registry.SOURCES."""

    @property
    def label_level(self) -> LabelLevel:
        """What its labels are of. Only a source with labels of slices can be trained on."""

    @property
    def overlap(self) -> str:
        """One sentence: whether its patients are among those of RSNA 2019, which models are mostly trained on."""

    def files(self) -> Sequence[LabelledFile]:
        """Every labelled slice, in a fixed order. Raises DataError for missing or contradicting input."""

    def rejected(self) -> Sequence[Quarantined]:
        """What the tables alone show to be unusable: labels that contradict each other, lack a file, …"""

    def audit(self) -> dict[str, int]:
        """What was found on the way: rows, repeated_rows, slices, labels_without_file, files_without_label."""

    def chosen_series(self) -> Sequence[SeriesChoice]:
        """Where studies have several series of which one is taken: every series. Empty of other sources."""

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError, naming the file, where it can't be used."""
