"""What a reading process does: a chunk of files to stored-size slices.

It imports little, since each process pays for it.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.sources.base import LabelledFile, Source


@dataclass(frozen=True, kw_only=True)
class SliceRecord:
    """What the table holds of one slice, but for what only the whole set tells (split, position_fraction).

    row_spacing_mm, column_spacing_mm  distance between rows, columns of the stored 256x256; NaN where unknown
    subtypes                           0 or 1 for each of labels.SUBTYPES
    """

    sop_uid: str
    patient_id: str
    study_uid: str
    series_uid: str
    position_mm: float
    row_spacing_mm: float
    column_spacing_mm: float
    subtypes: tuple[int, int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Slices in the order of their files: hu int16 [n, 256, 256], records [n]."""

    hu: np.ndarray
    records: list[SliceRecord]


def read_chunk(source: Source, files: Sequence[LabelledFile]) -> Chunk:
    """Read and resample these files. Raises SliceError at the first that can't be used."""
    hu = np.empty((len(files), STORED_SIZE, STORED_SIZE), dtype=np.int16)
    records = []
    for number, file in enumerate(files):
        ct_slice = source.read(file)
        hu[number] = to_stored_size(ct_slice.hu)
        records.append(_record(ct_slice, file))
    return Chunk(hu=hu, records=records)


_source: Source | None = None


def start_worker(source: Source) -> None:
    """Set a reading process up: one OpenCV thread, and Ctrl-C is left to the parent."""
    global _source
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _source = source


def read_chunk_in_worker(files: Sequence[LabelledFile]) -> Chunk:
    """As read_chunk, with the source given to start_worker."""
    if _source is None:
        raise RuntimeError("start_worker has not run in this process")
    return read_chunk(_source, files)


def _record(ct_slice: Slice, file: LabelledFile) -> SliceRecord:
    # A slice is padded to a square before it is resampled, so both directions shrink by the longer side.
    shrink = max(ct_slice.hu.shape) / STORED_SIZE
    rows, columns = ct_slice.pixel_spacing_mm or (np.nan, np.nan)
    return SliceRecord(
        sop_uid=file.sop_uid,
        patient_id=ct_slice.patient_id,
        study_uid=ct_slice.study_uid,
        series_uid=ct_slice.series_uid,
        position_mm=ct_slice.position_mm,
        row_spacing_mm=rows * shrink,
        column_spacing_mm=columns * shrink,
        subtypes=file.subtypes,
    )
