"""The folder a source reads: a local path, or a URL of object storage (s3://, gs://, abfs://, hdfs://, file://)."""

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pyarrow import ArrowInvalid, ArrowNotImplementedError, fs

from ich_mlflow.errors import DataError, SliceError

#: Seconds between the tries to read a file.
_PAUSES = (0.2, 2.0)


class Entry(NamedTuple):
    """A file below a folder: its path from there, with '/', its size, and when it was last changed."""

    path: str
    num_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Folder:
    """A folder by path or URL. Cheap to construct and to pickle; a URL goes through pyarrow's file systems.

    Credentials come from where each storage's own tools look: the environment, ~/.aws, a service account.
    """

    root: str

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or folder. Raises DataError where the storage can't be asked."""
        if not is_url(self.root):
            return Path(self.root, path).exists()
        filesystem, base = _filesystem(self.root)
        try:
            return filesystem.get_file_info(_join(base, path)).type != fs.FileType.NotFound
        except OSError as error:
            raise DataError(_storage_message(self.root, error)) from None

    def files(self, path: str, suffix: str, *, recursive: bool = False) -> list[Entry]:
        """The files below `path` whose names end in `suffix` ('': all of them), in no fixed order.

        Raises DataError where a folder can't be listed.
        """
        if is_url(self.root):
            return self._remote_files(path, suffix, recursive)
        found, folders = [], [path]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(Path(self.root, folder)) as entries:
                    for entry in entries:
                        if recursive and entry.is_dir():
                            folders.append(_join(folder, entry.name))
                        elif entry.name.endswith(suffix):
                            found.append(_entry(folder, entry))
            except OSError as error:
                raise DataError(
                    f"{self.name(folder)} can't be listed ({error.strerror}): check that it is a folder and may be read"
                ) from None
        return found

    def read(self, path: str, *, num_bytes: int | None = None) -> bytes:
        """A file's bytes, or its first so many. Raises SliceError, naming the file, where it can't be read."""
        try:
            return self._read_patiently(path, num_bytes)
        except OSError as error:
            said = error.strerror or str(error).splitlines()[0]
            raise SliceError(
                f"{self.name(path)} can't be read ({said}): check its path and permissions",
                reason="unreadable",
            ) from None

    def _read_patiently(self, path: str, num_bytes: int | None) -> bytes:
        """The bytes; what may be a storage's bad moment, and not the file's, is tried again."""
        for pause in (*_PAUSES, None):
            try:
                if not is_url(self.root):
                    with open(os.path.join(self.root, path), "rb", buffering=0) as file:
                        return file.readall() if num_bytes is None else file.read(num_bytes)
                filesystem, base = _filesystem(self.root)
                with filesystem.open_input_stream(_join(base, path)) as stream:
                    return stream.read(num_bytes)
            except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError):
                raise
            except OSError:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def name(self, path: str = "") -> str:
        """The whole path or URL, for messages."""
        if os.path.isabs(path):  # a table may name files elsewhere
            return path
        return _join(self.root.rstrip("/") or "/", path)

    def _remote_files(self, path: str, suffix: str, recursive: bool) -> list[Entry]:
        filesystem, base = _filesystem(self.root)
        selector = fs.FileSelector(_join(base, path), recursive=recursive)
        try:
            found = filesystem.get_file_info(selector)
        except OSError as error:
            raise DataError(_storage_message(self.root, error)) from None
        start = len(base.rstrip("/")) + 1
        return [
            Entry(info.path[start:], info.size, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File and info.path.endswith(suffix)
        ]


def _entry(folder: str, entry: os.DirEntry[str]) -> Entry:
    path = _join(folder, entry.name)
    try:
        status = entry.stat()
    except OSError:  # a link to nothing: reading it will say so
        return Entry(path, 0, 0)
    return Entry(path, status.st_size, status.st_mtime_ns)


def is_url(root: str) -> bool:
    """Whether `root` names object storage and not a local path."""
    return "://" in root


def _join(folder: str, path: str) -> str:
    return f"{folder.rstrip('/')}/{path}" if folder and path else folder or path


@lru_cache(maxsize=4)
def _filesystem(root: str) -> tuple[fs.FileSystem, str]:
    """pyarrow's file system for a URL, and the path in it. Once a process: clients hold connections."""
    try:
        return fs.FileSystem.from_uri(root)
    except (ArrowInvalid, ArrowNotImplementedError, OSError) as error:
        raise DataError(_storage_message(root, error)) from None


def _storage_message(root: str, error: Exception) -> str:
    said = str(error).splitlines()[0][:200]
    return (
        f"{root} can't be opened ({said}), expected s3://, gs://, abfs://, hdfs:// or file:// and credentials "
        "for it: check both, or mount it and pass the path"
    )
