"""The folder that records are kept in: a file a process, of bounded size, and the site's key."""

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ich_mlflow.errors import DataError
from ich_mlflow.monitoring.record import FORMAT, Record, Site

#: Folder of the server's log: off where it is not set. And the site's key, in place of the folder's own.
FOLDER_VARIABLE, KEY_VARIABLE = "ICH_MONITOR_DIR", "ICH_MONITOR_KEY"
KEY_FILE = "site.key"
PREFIX, SUFFIX = "seen-", ".jsonl"
#: A file is followed by the next when it is so large; of all together the oldest are deleted beyond so much, which is
#: some 300,000 exams.
MAX_FILE_BYTES = 8 * 2**20
MAX_FOLDER_BYTES = 256 * 2**20
#: Shorter ones could be guessed.
MIN_KEY_LENGTH = 16
_KEY_BYTES = 32
#: How long one waits for another process that is writing the key.
_KEY_PATIENCE_S = 2.0


def site_of(folder: Path, *, make: bool = True) -> Site:
    """The site whose logs stand in the folder, by KEY_VARIABLE or the folder's own key, which is made where missing.

    Raises DataError for a key that is too short, or where there is none and `make` is false; OSError where it can't be
    read or made.
    """
    said = os.environ.get(KEY_VARIABLE, "")
    if said:
        return Site(_expected(said, KEY_VARIABLE))
    path = folder / KEY_FILE
    if not path.exists():
        if not make:
            raise DataError(
                f"{folder} has no {KEY_FILE}, by which UIDs are hashed: set {KEY_VARIABLE}, or name studies by the "
                "hash that the logs have"
            )
        _make_key(path)
    return Site(_expected(_written(path), str(path)))


def _make_key(path: Path) -> None:
    # another process may be at it: the first makes it
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, secrets.token_hex(_KEY_BYTES).encode())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def _written(path: Path) -> str:
    until = time.monotonic() + _KEY_PATIENCE_S
    while True:
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if len(text) >= MIN_KEY_LENGTH or time.monotonic() > until:
            return text
        time.sleep(0.02)


def _expected(key: str, name: str) -> bytes:
    if len(key) < MIN_KEY_LENGTH:
        raise DataError(
            f"the key in {name} has {len(key)} characters, expected {MIN_KEY_LENGTH} or more, drawn at random"
        )
    return key.encode()


class LogFolder:
    """Appends records to a file of its own in the folder. Not to be shared by threads.

    After an error the next call begins another file, so that a line that was cut stays the last of its file.
    """

    def __init__(
        self, path: Path, *, max_file_bytes: int = MAX_FILE_BYTES, max_folder_bytes: int = MAX_FOLDER_BYTES
    ) -> None:
        self.path = path
        self._limits = max_file_bytes, max_folder_bytes
        self._site: Site | None = None
        self._file: Path | None = None
        self._size = 0

    @property
    def site(self) -> Site:
        """Raises as site_of."""
        if self._site is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._site = site_of(self.path)
        return self._site

    def append(self, records: Sequence[Record]) -> None:
        """Write them, whole lines at a time. Raises OSError where the disk or the folder refuses."""
        self._write("".join(f"{one.to_line()}\n" for one in records))

    def note_lost(self, count: int) -> None:
        """Write that so many exams are not in the log."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(f'{{"format":{FORMAT},"lost":{count},"time":"{now}","site":"{self.site.name}"}}\n')

    def _write(self, text: str) -> None:
        data = text.encode("ascii")
        max_file, _ = self._limits
        if self._file is None or (self._size and self._size + len(data) > max_file):
            self._begin()
        file = self._file
        assert file is not None
        try:
            # opened anew each time: a folder that was moved or a disk that came back is met as it is
            with os.fdopen(
                os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0
            ) as to:
                written = to.write(data)
            if written != len(data):
                raise OSError(28, "No space left on device")
        except OSError:
            self._file = None
            raise
        self._size += len(data)

    def _begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._forget_oldest()
        name = f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._file, self._size = self.path / name, 0

    def _forget_oldest(self) -> None:
        """Make room for one more file."""
        max_file, max_folder = self._limits
        with contextlib.suppress(OSError):  # another process may be at it
            files = sorted((one.stat().st_mtime, one.stat().st_size, one) for one in log_files(self.path))
            total = sum(size for _, size, _ in files)
            for _, size, path in files:
                if total + max_file <= max_folder:
                    break
                path.unlink(missing_ok=True)
                total -= size


def log_files(path: Path) -> list[Path]:
    """The files of records in a folder and below, or the one that the path is."""
    return sorted(path.rglob(f"{PREFIX}*{SUFFIX}")) if path.is_dir() else [path]
