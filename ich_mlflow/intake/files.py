"""The files that a user points at: one, a folder of them, or a zip."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ich_mlflow.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """A file of the input: the name it has there, with '/', where it lies now, and its size."""

    name: str
    path: Path
    num_bytes: int


def files_of(path: Path, *, but: Path | None = None) -> list[InputFile]:
    """A lone file, or all below a folder, by name. Hidden ones too; links to folders are not followed.

    but: a folder below it to leave out. Raises DataError where there is nothing, or a folder can't be listed.
    """
    if path.is_file():
        return [InputFile(name=path.name, path=path, num_bytes=path.stat().st_size)]
    if not path.is_dir():
        raise DataError(
            f"input {path} is not there, expected a DICOM file, a folder or a zip: pass -P input=<path>"
        )
    found: list[InputFile] = []

    def refuse(error: OSError) -> None:
        raise DataError(f"a folder below {path} can't be listed ({error.strerror}): check its permissions")

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = [name for name in folders if but is None or Path(folder, name) != but]
        for name in names:
            full = Path(folder, name)
            try:
                size = full.stat().st_size
            except OSError:  # a link to nothing: reading it will say so
                size = 0
            found.append(InputFile(name=full.relative_to(path).as_posix(), path=full, num_bytes=size))
    if not found:
        raise DataError(f"{path} holds no files, expected DICOM files: pass another folder")
    return sorted(found, key=lambda file: file.name)


def files_digest(path: Path, *, but: Path | None = None) -> str:
    """What tells whether a file, or anything below a folder, has changed: by names, sizes and times.

    but and errors as files_of has them.
    """
    digest = hashlib.sha256()
    for file in files_of(path, but=but):
        try:
            changed = file.path.stat().st_mtime_ns
        except OSError:
            changed = 0
        digest.update(f"{file.name}\0{file.num_bytes}\0{changed}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
