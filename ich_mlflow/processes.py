"""Worker processes that behave, and folders that one process at a time writes to."""

import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path

from ich_mlflow.errors import DataError


def num_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


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
    with (folder / name).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder} is being written by {by}: wait for it, or choose another output folder"
            ) from None
        except OSError:
            pass
        yield


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
