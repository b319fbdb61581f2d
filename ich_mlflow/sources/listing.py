"""What every source does with its folder: find it, and keep what has both a file and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import LabelledFile

Subtypes = tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The labelled files of a source, sorted by sop_uid, and what was found on the way (name -> count)."""

    files: tuple[LabelledFile, ...]
    counts: dict[str, int]


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
