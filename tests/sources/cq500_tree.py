"""A small CQ500 folder: exams, their series as DICOM, and the readers' table. Every value is made up."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset

from tests.factories import write_dicom

LABELS = ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH", "BleedLocation-Left", "Fracture")
READERS = ("R1", "R2", "R3")
HEADER = ",".join(["name", "Category", *(f"{reader}:{label}" for reader in READERS for label in LABELS)])
SUBDURAL = ("ICH", "SDH")


def read_row(number: int, *reads: Sequence[str]) -> str:
    """A row of reads.csv: what each of the three readers saw."""
    cells = [str(int(label in read)) for read in reads for label in LABELS]
    return ",".join([f"CQ500-CT-{number}", "B1", *cells])


def write_reads(root: Path, rows: Sequence[str], *, header: str = HEADER) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "reads.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_series(
    root: Path,
    exam: int,
    name: str,
    *,
    slices: int = 20,
    step_mm: float = 6.0,
    tilt_degrees: float = 0.0,
    at_each: int = 1,
    parent: str = "",
    uid: str = "",
    first: int = 1,
    tags: dict[str, Any] | None = None,
) -> Path:
    """A series of 4x4 slices as files CT000001.dcm …, from the head down; `at_each` images at each position."""
    folder = root / parent / f"CQ500CT{exam} CQ500CT{exam}" / "Unknown Study" / name
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or f"1.{exam}.{sum(map(ord, str(folder)))}.{len(str(folder))}"
    tilt = math.radians(tilt_degrees)
    down, through = [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]
    for number in range(first, first + slices):

        def describe(dataset: FileDataset, number: int = number) -> None:
            dataset.SOPInstanceUID = f"{uid}.{number}"
            dataset.SeriesInstanceUID = uid
            dataset.StudyInstanceUID = f"1.{exam}"
            dataset.PatientID = ""
            dataset.ImageOrientationPatient = [1, 0, 0, *down]
            dataset.ImagePositionPatient = [-((number - 1) // at_each) * step_mm * part for part in through]
            for keyword, value in (tags or {}).items():
                setattr(dataset, keyword, value)

        values = np.full((4, 4), 1024 + number)
        values[-1, -1] = 0  # a blank slice would be quarantined
        write_dicom(folder / f"CT{number:06d}.dcm", values, change=describe)
    return folder
