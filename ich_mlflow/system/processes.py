"""Worker processes that behave, and folders that one process at a time writes to."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from ich_mlflow.errors import DataError

#: The locks that this process holds, by their files.
_HELD: dict[Path, FileLock] = {}


def num_cores() -> int:
    """The cores this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS binds no process to cores
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def behave() -> None:
    """Set a worker process up: Ctrl-C is left to the parent, and without a parent there is nothing to do.

    A parent that was killed with -9 can't stop its processes: they would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started here ignore Ctrl-C from their first instruction, and print no traceback at it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def locked(folder: Path, name: str, *, by: str = "another preprocess") -> Iterator[None]:
    """Hold the file `name` in the folder against a second process. The lock dies with its process.

    Raises DataError where another holds it, which the message calls `by`. A file system without locks, as some
    mounted buckets are, has none.
    """
    folder.stat()  # filelock would make one that is not there
    path = folder / name
    lock = FileLock(path, blocking=False, fallback_to_soft=False)  # a soft lock would outlive its process
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{folder} is being written by {by}: wait for it, or choose another output folder"
        ) from None
    except PermissionError:
        raise
    except OSError:
        pass
    _HELD[path] = lock
    try:
        yield
    finally:
        del _HELD[path]
        lock.release()


def let_go_to_rename(folder: Path) -> None:
    """Release the locks in a folder that is whole and about to be renamed, where it can't be renamed otherwise.

    Windows renames no folder with an open file in it. A second process that takes the lock in that moment finds the
    folder gone and ends with an error; elsewhere the lock is held until the folder has its name.
    """
    if os.name == "nt":
        for path in [path for path in _HELD if path.parent == folder]:
            _HELD[path].release()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
