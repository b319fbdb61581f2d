"""Trainings that were cut off: a folder each, so that the same command goes on in the same MLflow run."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.dataset.whole import write_text
from ich_mlflow.errors import DataError
from ich_mlflow.options import TrainOptions, is_true
from ich_mlflow.processes import locked
from ich_mlflow.training.checkpoint import STATE_FILE

_NOTE = "training.json"
_LOCK = "lock"
#: Options that change where or how fast a training runs, not what it learns.
_ANYHOW = ("resume", "checkpoints", "jit", "engine", "spark_master", "workers")


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

    def note(self, **values: Any) -> None:
        """Keep a value for the one who goes on."""
        self.notes.update(values)
        write_text(self.folder / _NOTE, json.dumps({"run_id": self.run_id, **self.notes}, indent=2))

    def remove(self) -> None:
        """What is finished needs no checkpoint: the run has the models."""
        shutil.rmtree(self.folder, ignore_errors=True)


def begin(options: TrainOptions, run_id: str) -> Unfinished:
    """The folder of a training that begins in that run, made and noted."""
    folder = Path(options.checkpoints) / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Unfinished(run_id=run_id, folder=folder, notes={})
        unfinished.note(options=what_counts(options))
    except OSError as error:
        raise DataError(
            f"{folder} can't be written ({error.strerror}): pass -P checkpoints=<a folder that can>"
        ) from None
    return unfinished


def to_resume(options: TrainOptions) -> Unfinished | None:
    """The newest unfinished training with these options, which no living process holds; None without one.

    Says in a line what it found, and for the newest that does not fit, in what it differs.
    """
    if not is_true(options.resume):
        return None
    wanted = what_counts(options)
    others = []
    for unfinished in _newest_first(Path(options.checkpoints)):
        differs = _differences(unfinished.notes.get("options", {}), wanted)
        if not differs:
            print(f"resume: goes on with run {unfinished.run_id}, kept in {unfinished.folder}")
            return unfinished
        others.append(f"{unfinished.run_id} differs in {differs}")
    told = f" ({others[0]})" if others else ""
    print(f"resume: no unfinished training with these options in {options.checkpoints}/{told}, so one begins")
    return None


@contextmanager
def held(unfinished: Unfinished) -> Iterator[None]:
    """Keep other processes from going on with it as well."""
    with locked(unfinished.folder, _LOCK, by="another training"):
        yield


def what_counts(options: TrainOptions) -> dict[str, Any]:
    """The options that decide what is learned."""
    return {
        name: value
        for name, value in asdict(options).items()
        if name in TrainOptions.__dataclass_fields__ and name not in _ANYHOW
    }


def _newest_first(folder: Path) -> Iterator[Unfinished]:
    notes = sorted(folder.glob(f"*/{_NOTE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for note in notes:
        try:
            values = json.loads(note.read_text(encoding="utf-8"))
            unfinished = Unfinished(run_id=values.pop("run_id"), folder=note.parent, notes=values)
            with held(unfinished):
                pass
        except (OSError, ValueError, KeyError, DataError):  # damaged, or being trained by another process
            continue
        yield unfinished


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} ({found.get(name, 'not said')}, here {value})"
        for name, value in wanted.items()
        if found.get(name) != value
    )
