"""The folder of a prediction: what is in it, whose it is, and where a crashed one goes on."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError, IchError
from ich_mlflow.system.processes import locked
from ich_mlflow.system.whole import read_note, write_whole

PAGE, WORKLIST, PREDICTIONS = "worklist.html", "worklist.csv", "predictions.csv"
SERIES, SKIPPED, SUMMARY = "series.csv", "skipped.csv", "summary.json"
DICOM_FOLDER = "dicom"
#: Among the settings: which files the input has.
FILES = "files"
#: In the summary: whether something was lost that may be there at another try; and the results, by their names.
MAY_PASS, RESULTS = "may_pass", "results"
#: How the names of notes of studies begin; those of series are their keys.
STUDY_NOTE = "study-"
_WORK, _SETTINGS, _LOCK = ".work", "settings.json", "writer.lock"


@dataclass(frozen=True)
class OutFolder:
    """Results in `path`; while it is made, notes and what was unpacked in `path`/.work, which goes at the end.

    It stays where something was lost that may be there at another try, which then goes on from it.

    Only its owner may look into it: it holds identifiers of patients.
    """

    path: Path

    @property
    def work(self) -> Path:
        return self.path / _WORK

    @property
    def notes(self) -> Path:
        """Scores of series, and what was made of studies."""
        return self.work / "notes"

    @property
    def unpacked(self) -> Path:
        return self.work / "unpacked"

    @property
    def pictures(self) -> Path:
        return self.work / "pictures"

    def study_folder(self, number: int) -> Path:
        """The DICOM files made for a study."""
        return self.path / DICOM_FOLDER / f"study-{number:04d}"

    def finished(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The summary of a prediction that was made here with those settings; None where none was finished.

        None too where one was, but its results are not all there, or another try may find more.
        Raises DataError where another one was, or the folder holds anything else.
        """
        summary = read_note(self.path / SUMMARY, dict)
        if summary is None:
            if self.path.exists() and not self.path.is_dir():
                raise DataError(f"{self.path} is a file: choose a folder, -P out=<folder>")
            broken = (self.path / SUMMARY).exists() and (self.path / PAGE).exists()
            ours = self.work.is_dir() or broken
            if self.path.is_dir() and any(self.path.iterdir()) and not ours:
                raise DataError(
                    f"{self.path} is not empty and holds no prediction: choose another folder, -P out=<folder>"
                )
            return None
        if summary.get("settings") != dict(settings):
            raise DataError(
                f"{self.path} holds the prediction of other files, options or another model ({SUMMARY}): choose "
                "another folder, or remove it"
            )
        results = summary.get(RESULTS, [])
        if summary.get(MAY_PASS) or not all((self.path / name).is_file() for name in results):
            return None
        shutil.rmtree(self.work, ignore_errors=True)  # of a start that was killed at its very end
        return summary

    @contextmanager
    def open(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Begin here, or go on. Raises DataError where another process writes, or one with other settings began.

        The input may have changed meanwhile: what was scored of it is told by its files.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for folder in (self.work, self.notes, self.pictures):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataError(f"{self.path} can't be written ({error.strerror}): choose another out=") from None
        with locked(self.work, _LOCK, by="another predict"):
            begun = read_note(self.work / _SETTINGS, dict)
            if begun is None:  # nothing tells which model and options the notes that may be there are of
                self.forget_studies()
                for path in self.notes.iterdir():
                    path.unlink()
            if begun is not None and _but_files(begun) != _but_files(settings):
                raise DataError(
                    f"{self.path} holds an unfinished prediction with other options or another model: choose another "
                    "folder, or remove it"
                )
            if begun is not None and begun.get(FILES) != settings.get(FILES):
                self.forget_studies()
            write_whole(self.work / _SETTINGS, json.dumps(settings))
            try:
                yield
            except IchError:
                if not any(self.notes.iterdir()):  # nothing to go on from: another input may be tried here
                    shutil.rmtree(self.work, ignore_errors=True)
                raise

    def forget_studies(self) -> None:
        """What was made of studies bears their numbers, which change with the input. Scores of series stay."""
        shutil.rmtree(self.path / DICOM_FOLDER, ignore_errors=True)
        for path in (*self.notes.glob(f"{STUDY_NOTE}*"), *self.pictures.iterdir()):
            path.unlink()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary last, then remove what was only needed on the way, if nothing is left to try again."""
        files = [
            path
            for path in self.path.rglob("*")
            if path.is_file() and self.work not in path.parents and path.name != SUMMARY
        ]
        for path in files:  # also where the folder is copied to one that others may look into
            path.chmod(0o600)
        results = sorted(path.relative_to(self.path).as_posix() for path in files)
        write_whole(self.path / SUMMARY, json.dumps({**summary, RESULTS: results}, indent=2) + "\n")
        (self.path / SUMMARY).chmod(0o600)
        if not summary.get(MAY_PASS):
            shutil.rmtree(self.work, ignore_errors=True)


def _but_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != FILES}


def digest_of(*parts: object) -> str:
    """Eight hexadecimal digits that tell things apart."""
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:8]
