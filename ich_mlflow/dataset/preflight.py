"""Before the work: how much there is, whether the disk holds it, and how long it will take."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ich_mlflow.dataset.codec import SLICE_BYTES, codec_named
from ich_mlflow.dataset.plan import Plan
from ich_mlflow.dataset.shard import read_one
from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import LabelledFile, Quarantined, Source

#: Read twice, here and in the work itself: enough to tell minutes from hours.
SAMPLE_FILES = 24
#: A compressed slice may be larger than those of the sample.
_MARGIN = 1.15
#: Beside the pixels: journal, table and list.
_EXTRA_BYTES_PER_SLICE = 1024


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What is ahead.

    num_slices       to be read
    num_slices_done  that stand there from an earlier run
    bytes_to_read, bytes_to_write, bytes_free
    seconds          expected, by the pace of a sample times the processes; None where none could be read
    """

    num_slices: int
    num_slices_done: int
    bytes_to_read: int
    bytes_to_write: int
    bytes_free: int
    seconds: float | None
    workers: int

    def __str__(self) -> str:
        done = f" ({self.num_slices_done:,} are there from an earlier run)" if self.num_slices_done else ""
        time_ = "time unknown" if self.seconds is None else f"about {duration(self.seconds)}"
        processes = "1 process" if self.workers == 1 else f"{self.workers} processes"
        return (
            f"pre-flight: {self.num_slices:,} slices to read{done}, {size(self.bytes_to_read)} to read, "
            f"{size(self.bytes_to_write)} to write, {size(self.bytes_free)} free; {time_} with {processes}"
        )


def preflight(source: Source, plan: Plan, folder: Path, *, workers: int) -> Preflight:
    """Count, time a sample, and check the disk. Raises DataError where the set would not fit."""
    files = [file for task in plan.todo for file in task.files]
    together = getattr(source, "neighbours_share", False)
    seconds, slice_bytes = _time_sample(
        source, files[:SAMPLE_FILES] if together else _sample(files), plan.storage
    )
    to_write = len(files) * (slice_bytes + _EXTRA_BYTES_PER_SLICE)
    free = shutil.disk_usage(folder).free
    if to_write > free:
        raise DataError(
            f"{folder} needs {size(to_write)}, {size(free)} are free: free some, choose an output folder on another "
            "disk, or pass -P compress=true"
        )
    return Preflight(
        num_slices=len(files),
        num_slices_done=plan.num_slices_done,
        bytes_to_read=sum(file.num_bytes for file in files),
        bytes_to_write=to_write,
        bytes_free=free,
        seconds=None if seconds is None else seconds * len(files) / workers,
        workers=workers,
    )


def size(num_bytes: float) -> str:
    """`98.7 GB`, decimal, as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def duration(seconds: float) -> str:
    """`16 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _sample(files: Sequence[LabelledFile]) -> Sequence[LabelledFile]:
    """Files from all over the list: neighbours would lie beside each other on the disk."""
    return files[:: max(1, len(files) // SAMPLE_FILES)][:SAMPLE_FILES]


def _time_sample(source: Source, sample: Sequence[LabelledFile], storage: str) -> tuple[float | None, int]:
    """(seconds a slice or None, bytes a stored slice)."""
    codec = codec_named(storage)
    start = time.perf_counter()
    read = [one for file in sample if not isinstance(one := read_one(source, file, codec), Quarantined)]
    if not read:
        return None, SLICE_BYTES
    largest = _MARGIN * sum(len(one.data) for one in read) / len(read)
    return (time.perf_counter() - start) / len(sample), min(SLICE_BYTES, round(largest))
