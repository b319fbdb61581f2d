"""Trainings that were cut off: a folder each, so that the same command goes on in the same MLflow run."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError
from ich_mlflow.models.ancestry import ANCESTRY_FILE, Ancestry
from ich_mlflow.models.recipes import FORMER_NAMES
from ich_mlflow.parameters import parameters_of, typed
from ich_mlflow.stages.pretrain.options import PretrainOptions
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.system.processes import locked
from ich_mlflow.system.whole import read_note, write_whole
from ich_mlflow.tracking.run import why_not_resumable
from ich_mlflow.training.checkpoint import STATE_FILE
from ich_mlflow.training.initial_weights import ancestry_of_start

Options = TrainOptions | PretrainOptions
_NOTE = "training.json"
_LOCK = "lock"
#: Options that change where or how fast a training runs, not what it learns.
_ANYHOW = ("resume", "checkpoints", "jit", "engine", "spark_master", "workers")
#: What may change while a search goes on: how far, by whom and where, and what comes after it.
_ANYHOW_TUNING = (
    *(*_ANYHOW, "trials", "search", "storage", "train_best"),
    *("series_smoothing", "mirror", "calibration", "operating_point", "abstention"),
)
#: Where pretraining puts its files; the `out` of a training decides which stored set it makes.
_ANYHOW_PRETRAINING = (*_ANYHOW, "out")


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A training that began and did not end: its MLflow run, its folder, and what it noted (start of the weights)."""

    run_id: str
    folder: Path
    notes: dict[str, Any]

    @property
    def state_path(self) -> Path:
        """The checkpoint, there after the first epoch."""
        return self.folder / STATE_FILE

    @property
    def is_worth_keeping(self) -> bool:
        """Whether there is anything to go on from: an epoch, or an epoch of a fold."""
        return self.state_path.exists() or any(self.folder.glob("fold-*/*.npz"))

    def ancestry(self, start: str) -> Ancestry:
        """What the initial weights have learned from, as it was kept; of a checkpoint of before, what `start` tells."""
        path = self.folder / ANCESTRY_FILE
        return Ancestry.read(path) if path.is_file() else ancestry_of_start(start)

    def keep_ancestry(self, ancestry: Ancestry) -> None:
        """Keep what the initial weights have learned from: their file may be gone when the training goes on."""
        ancestry.write(self.folder / ANCESTRY_FILE)

    def note(self, **values: Any) -> None:
        """Keep a value for the one who goes on."""
        self.notes.update(values)
        write_whole(self.folder / _NOTE, json.dumps({"run_id": self.run_id, **self.notes}, indent=2))

    def remove(self) -> None:
        """What is finished needs no checkpoint: the run has the models."""
        # The note first: without it the rest is no training to go on with.
        (self.folder / _NOTE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def kept_in(folder: Path, run_id: str) -> Unfinished:
    """The training of that run that keeps its checkpoint in the folder, which is made; its notes where it has been
    cut off. For one that no other process may take."""
    folder.mkdir(parents=True, exist_ok=True)
    noted = _read(folder / _NOTE)
    if noted is not None:
        return noted
    unfinished = Unfinished(run_id=run_id, folder=folder, notes={})
    unfinished.state_path.unlink(missing_ok=True)  # without a note nothing tells what began it
    return unfinished


def begin(options: Options, run_id: str, locks: ExitStack) -> Unfinished:
    """The folder of a training that begins in that run, made, noted, and held as long as `locks` are."""
    folder = Path(options.checkpoints) / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locks.enter_context(_held(folder))
        unfinished = Unfinished(run_id=run_id, folder=folder, notes={})
        unfinished.note(options=what_counts(options))
    except OSError as error:
        raise DataError(
            f"{folder} can't be written ({error.strerror}): pass -P checkpoints=<a folder that can>"
        ) from None
    return unfinished


def to_resume(options: Options, locks: ExitStack) -> Unfinished | None:
    """The newest unfinished training with these options, held as long as `locks` are; None without one.

    Passed over are those that a living process holds, and those whose MLflow run can't be gone on with. Says in a line
    what it found, or why the newest does not fit.
    """
    if not options.resume:
        return None
    wanted = what_counts(options)
    reasons = []
    for note in _newest_first(Path(options.checkpoints)):
        with ExitStack() as attempt:
            try:
                attempt.enter_context(_held(note.parent))
            except (OSError, DataError):  # being trained by another process
                continue
            unfinished = _read(note)
            if unfinished is None:  # damaged
                continue
            # an option that came after it began was as its default is
            unsaid = {name: one.default for name, one in parameters_of(options).items() if name in wanted}
            differs = differences({**unsaid, **unfinished.notes.get("options", {})}, wanted)
            reason = f"differs in {differs}" if differs else why_not_resumable(unfinished.run_id)
            if reason is None:
                locks.push(attempt.pop_all())
                print(f"resume: goes on with run {unfinished.run_id}, kept in {unfinished.folder}")
                return unfinished
            reasons.append(f"run {unfinished.run_id} {reason}")
    told = f" ({reasons[0]})" if reasons else ""
    print(f"resume: no unfinished training with these options in {options.checkpoints}/{told}, so one begins")
    return None


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes from going on with it as well."""
    with locked(folder, _LOCK, by="another training"):
        yield


def what_counts(options: Options) -> dict[str, Any]:
    """The options that decide what is learned."""
    anyhow: tuple[str, ...] = _ANYHOW
    if isinstance(options, PretrainOptions):
        anyhow = _ANYHOW_PRETRAINING
    elif isinstance(options, TuneOptions):
        anyhow = _ANYHOW_TUNING
    return {name: value for name, value in typed(options).items() if name not in anyhow}


def _newest_first(folder: Path) -> list[Path]:
    times = {}
    for note in folder.glob(f"*/{_NOTE}"):
        with suppress(OSError):  # finished and removed in this moment
            times[note] = note.stat().st_mtime
    return sorted(times, key=lambda note: times[note], reverse=True)


def _read(note: Path) -> Unfinished | None:
    def unfinished(values: dict[str, Any]) -> Unfinished:
        return Unfinished(run_id=str(values.pop("run_id")), folder=note.parent, notes=values)

    return read_note(note, unfinished)


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The options in which two trainings differ, as a user may read them."""
    found = {FORMER_NAMES.get(name, name): value for name, value in found.items()}
    return ", ".join(
        f"{name} ({found.get(name, 'not said')}, here {value})"
        for name, value in wanted.items()
        if found.get(name) != value
    )
