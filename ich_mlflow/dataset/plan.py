"""What is to be done: the files in shards, and which of them an earlier run has left whole."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

import ich_mlflow
from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.dataset.codec import codec_named
from ich_mlflow.dataset.quarantine import QUARANTINE
from ich_mlflow.dataset.shard import (
    JOURNAL,
    ShardTask,
    ShardWork,
    can_be_used_now,
    journal_path,
    read_journal,
)
from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import LabelledFile, Quarantined
from ich_mlflow.system.processes import locked
from ich_mlflow.system.whole import PART, read_note, write_whole

PLAN = "plan.json"
LOCK = "writer.lock"
#: 128 MiB of pixels: what a killed process loses at most, and what a Spark task returns in seconds.
MAX_SLICES_PER_SHARD = 1024
_MIN_SLICES_PER_SHARD = 32
#: Small sets are cut into about so many, so that every core has work to the end.
_SHARDS_WANTED = 32


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every shard of a set, and the journals of those that are whole.

    The cut depends on the number of files alone, never on the engine or the number of processes, so that
    the set comes out the same, bit by bit.
    """

    source: str
    storage: str
    tasks: tuple[ShardTask, ...]
    done: dict[int, pa.Table] = field(default_factory=dict)

    @property
    def todo(self) -> list[ShardTask]:
        """The shards that are still to be written."""
        return [task for task in self.tasks if task.number not in self.done]

    @property
    def num_slices_done(self) -> int:
        return sum(len(self.tasks[number].files) for number in self.done)


def make_plan(source: str, files: Sequence[LabelledFile], storage: str) -> Plan:
    """Cut the files into shards."""
    size = slices_per_shard(len(files))
    cuts = [files[start : start + size] for start in range(0, len(files), size)]
    tasks = (
        ShardTask(number=number, files=cut, fingerprint=_fingerprint(cut, times=True))
        for number, cut in enumerate(cuts)
    )
    return Plan(source=source, storage=storage, tasks=tuple(tasks))


def slices_per_shard(num_slices: int) -> int:
    """Slices a shard of a set of so many files holds, 32 to 1,024."""
    return min(MAX_SLICES_PER_SHARD, max(_MIN_SLICES_PER_SHARD, -(-num_slices // _SHARDS_WANTED)))


def fingerprint(plan: Plan, rejected: Sequence[Quarantined]) -> str:
    """SHA-256 over file names, sizes, labels and what was rejected.

    Not over times: a copy of the data is the same data. dataset.build looks at some pixels as well.
    """
    total = hashlib.sha256("".join(_fingerprint(task.files, times=False) for task in plan.tasks).encode())
    for one in rejected:
        total.update(f"{one.file}\x1f{one.reason}\x1e".encode(errors="surrogateescape"))
    return total.hexdigest()


def partial_folder(out: Path) -> Path:
    """Where the set that will be `out` is written until it is whole."""
    return out.with_name(out.name + ".partial")


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """The unfinished set's folder, made where there is none, locked against a second writer.

    Raises DataError where `out` holds something, can't be renamed to, or another process writes to it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and isn't empty: choose another output folder, or remove it")
    if os.path.ismount(out):
        raise DataError(
            f"{out} is where a disk is mounted, expected a folder on it: pass for example {out}/set"
        )
    folder = partial_folder(out)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, LOCK):
        try:
            yield folder
        finally:
            if new and not any((folder / JOURNAL).glob("*")) and not (folder / QUARANTINE).exists():
                shutil.rmtree(folder, ignore_errors=True)  # nothing was done that could be gone on with


def resume(plan: Plan, folder: Path, work: ShardWork) -> Plan:
    """The plan with the shards that stand in `folder` whole, made from the same files.

    Files that could not be used are tried again: where one can be used now, its shard is not whole.
    Raises DataError where an unfinished set of another kind, or something else, stands there.
    """
    wanted = {
        "ich_mlflow": ich_mlflow.__version__,
        "source": plan.source,
        "storage": plan.storage,
        "stored_size": STORED_SIZE,
    }
    _check_or_write(folder, wanted)
    for left_over in folder.rglob(f"*{PART}"):
        left_over.unlink(missing_ok=True)
    codec = codec_named(plan.storage)
    (folder / JOURNAL).mkdir(exist_ok=True)
    done = {}
    for task in plan.tasks:
        journal = read_journal(folder, task, codec)
        if journal is not None and not can_be_used_now(journal, task, work):
            done[task.number] = journal
    wanted_journals = {journal_path(folder, number) for number in done}
    for journal_file in (folder / JOURNAL).glob("*.parquet"):
        if journal_file not in wanted_journals:
            journal_file.unlink()  # of other files, or of a shard that is cut short: it is written again
    return Plan(source=plan.source, storage=plan.storage, tasks=plan.tasks, done=done)


def _check_or_write(folder: Path, wanted: dict[str, object]) -> None:
    path = folder / PLAN
    remove = "remove it, or choose another output folder"
    found = read_note(path, dict)
    if found is None:
        if path.exists():  # broken: nothing tells how the shards were made
            shutil.rmtree(folder / JOURNAL, ignore_errors=True)
        elif any(file.name != LOCK and file.suffix != PART for file in folder.iterdir()):
            raise DataError(f"{folder} holds something that is no unfinished stored set: {remove}")
        write_whole(path, json.dumps(wanted, indent=2) + "\n")
        return
    differing = [name for name, value in wanted.items() if found.get(name) != value]
    if differing:
        said = ", ".join(f"{name} {found.get(name)!r} and not {wanted[name]!r}" for name in differing)
        raise DataError(f"{folder} is an unfinished set that was begun with {said}: {remove}")


def _fingerprint(files: Sequence[LabelledFile], *, times: bool) -> str:
    total = hashlib.sha256()
    for file in files:
        labels = "".join(map(str, file.subtypes))
        row = [file.sop_uid, file.path, str(file.num_bytes), labels, str(file.modified_ns) if times else ""]
        if file.patient_id:  # most sources have it in the file: theirs stay what they were
            row.append(file.patient_id)
        if (
            times and file.blood is not None
        ):  # a shard without masks is not gone on with; a whole set without is one
            row.append(file.blood)
        # Linux allows file names that are no UTF-8.
        total.update("\x1f".join(row).encode(errors="surrogateescape") + b"\x1e")
    return total.hexdigest()
