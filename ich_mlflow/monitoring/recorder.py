"""A log beside a server: it takes what was seen at once, and writes it when it can. No answer waits for it or fails."""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from ich_mlflow.monitoring.log import FOLDER_VARIABLE, LogFolder
from ich_mlflow.monitoring.record import Record, Site, soft_tissue

_logger = logging.getLogger(__name__)
#: Answers that wait to be written: beyond these they are counted as lost.
MAX_WAITING = 1000
#: How long the end of the process waits for the last of them.
LAST_WAIT_S = 2.0
#: What makes the records of an answer, in the log's own thread.
Make = Callable[[Site], Sequence[Record]]


class Recorder:
    """A queue and a thread that writes from it.

    Where the folder can't be written, or too much waits, answers are counted as lost: said once by the process' own
    log, and in the folder as soon as it can be written again.
    """

    def __init__(self, folder: LogFolder, *, max_waiting: int = MAX_WAITING) -> None:
        self._folder = folder
        # a Queue has a lock, for which an answer might wait
        self._waiting: SimpleQueue[Make | threading.Event] = SimpleQueue()
        self._max_waiting = max_waiting
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._process = os.getpid()
        self._lost = 0
        self._has_said = False
        self._start()  # not while an answer waits

    def put(self, prepare: Callable[[], Make]) -> None:
        """Take what one answer is noted by, called here at once. It neither waits nor raises."""
        try:
            if self._process != os.getpid():
                self._start()
            if self._waiting.qsize() >= self._max_waiting:
                self._lost += 1
                return
            self._waiting.put(prepare())
        except Exception as error:  # an answer is worth more than its note
            self._lost += 1
            self._say(error)

    def flush(self, timeout_s: float = LAST_WAIT_S) -> None:
        """Wait until what was taken is written, or that long."""
        reached = threading.Event()
        self._waiting.put(reached)
        reached.wait(timeout_s)

    @property
    def lost(self) -> int:
        """Answers that are not in the log, and of which it doesn't say so yet."""
        return self._lost

    def _start(self) -> None:
        """Once a process: a thread does not survive a fork."""
        with self._starting:
            if self._thread is not None and self._process == os.getpid():
                return
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
            self._thread.start()
            atexit.register(self.flush)

    def _run(self) -> None:
        with suppress(
            Exception
        ):  # what is first used takes a tenth of a second, which no answer is to wait for
            self._folder.site.hashed("1")
            soft_tissue([np.ones((2, 2))])
        while True:
            make = self._waiting.get()
            if isinstance(make, threading.Event):
                make.set()
                continue
            try:
                self._write(make)
            except Exception as error:
                self._lost += 1
                self._say(error)

    def _write(self, make: Make) -> None:
        lost = self._lost
        if lost:
            self._folder.note_lost(lost)
            self._lost -= lost
            self._has_said = False
        self._folder.append(make(self._folder.site))

    def _say(self, error: Exception) -> None:
        if not self._has_said:
            self._has_said = True
            why = getattr(error, "strerror", None) or type(error).__name__
            _logger.warning(
                "what is seen can't be noted for the monitor (%s): answers go on without; check %s",
                why,
                FOLDER_VARIABLE,
            )


def recorder_from_environment() -> Recorder | None:
    """A recorder into the folder that FOLDER_VARIABLE names; None where it is not set."""
    folder = os.environ.get(FOLDER_VARIABLE, "").strip()
    return Recorder(LogFolder(Path(os.path.expanduser(folder)).absolute())) if folder else None
