"""The files that a user points at: one, a folder of them, or a zip."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ich_mlflow.dicom.image_header import read_image_header
from ich_mlflow.errors import DataError, SliceError


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """A file of the input.

    name       the one it has there, with '/'; bytes that are no UTF-8 are written out
    path       where it lies now
    num_bytes  its size; stamp: what changes when it is written anew (a time, or a zip's checksum)
    leads_out  it is a link to what lies outside the folder, which nobody asked to follow
    """

    name: str
    path: Path
    num_bytes: int
    stamp: int = 0
    leads_out: bool = False


def files_of(path: Path, *, but: Iterable[Path] = (), follow_links: bool = False) -> list[InputFile]:
    """A lone file, or all below a folder, by name. Hidden ones too; links to folders are not followed.

    but: files and folders below it to leave out. follow_links: links to files outside the folder are its files too, and
    not marked as leading out. Raises DataError where there is nothing, or a folder can't be listed.
    """
    if path.is_file():
        return [_file(path, path.parent)]
    if not path.is_dir():
        raise DataError(
            f"input {path} is not there, expected a DICOM file, a folder or a zip: pass -P input=<path>"
        )
    left_out = {os.path.realpath(one) for one in but}
    root = None if follow_links else Path(os.path.realpath(path))
    found: list[InputFile] = []

    def refuse(error: OSError) -> None:
        raise DataError(f"a folder below {path} can't be listed ({error.strerror}): check its permissions")

    for folder, folders, names in os.walk(path, onerror=refuse):
        real = os.path.realpath(folder)
        folders[:] = [name for name in folders if os.path.join(real, name) not in left_out]
        found += [
            _file(Path(folder, name), path, within=root)
            for name in names
            if os.path.join(real, name) not in left_out
        ]
    if not found:
        raise DataError(f"{path} holds no files, expected DICOM files: pass another folder")
    return sorted(found, key=lambda file: file.name)


def is_dicomdir(path: Path) -> bool:
    """Whether it is a file that lists the images of the folder it stands in."""
    if not path.is_file():
        return False
    try:
        read_image_header(path)
    except SliceError as error:
        return error.reason == "dicomdir"
    return False


def files_digest(files: Iterable[InputFile]) -> str:
    """What tells whether any of the files has changed."""
    digest = hashlib.sha256()
    for file in files:
        out = "\0leads out" if file.leads_out else ""
        digest.update(f"{file.name}\0{file.num_bytes}\0{file.stamp}{out}\n".encode())
    return digest.hexdigest()[:16]


def _file(path: Path, root: Path, *, within: Path | None = None) -> InputFile:
    try:
        status = path.stat()
        size, changed = status.st_size, status.st_mtime_ns
    except OSError:  # a link to nothing: reading it will say so
        size, changed = 0, 0
    name = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
    leads_out = (
        within is not None and path.is_symlink() and within not in Path(os.path.realpath(path)).parents
    )
    return InputFile(name=name, path=path, num_bytes=size, stamp=changed, leads_out=leads_out)
