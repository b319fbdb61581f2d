"""Codestreams decoded in processes whose memory and time are bounded, before they are trusted with ours.

What a stranger sends can keep a native decoder busy for a minute or ask it for ten gigabytes, and Python can't
interrupt it: CharLS loops 2^31 times on some damaged streams, a JPEG 2000 of 2 x 2 precincts takes 32 s.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Seconds of processor that a codestream may take, and by the clock where that can't be told or all cores are busy.
LIMIT_S, CLOCK_LIMIT_S = 1.5, 8.0
#: Bytes that decoding may take beside what the process needs to start: a matrix of 4096 x 4096 takes some 400 MB.
LIMIT_BYTES = 768 * 2**20
#: For the process to start and import what it needs.
_START_S = 60.0
_LOOK_S = 0.25
REQUEST, ANSWER = struct.Struct("<II"), struct.Struct("<c3sII")
_MODULE = "ich_mlflow.dicom.decoder_process"


class Decoders:
    """So many processes, each started when it is first needed. Safe to share by threads."""

    def __init__(self, count: int | None = None, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._free = threading.BoundedSemaphore(count or max(1, min(4, os.cpu_count() or 1)))
        self._idle: list[_Process] = []
        self._lock = threading.Lock()

    def decode(self, frame: bytes, tags: dict[str, Any]) -> np.ndarray:
        """The stored values [H, W] of a codestream, as pixels.decode gives them. tags: of the image's layout.

        Raises ValueError where it can't be decoded within the limits.
        """
        with self._free:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            process = process if process is not None and process.is_alive() else _Process()
            values = process.decode(frame, tags, self._limit_s)
            if values is None:
                process.end()
                raise ValueError("the codestream is damaged, or takes too much time or memory")
            with self._lock:
                self._idle.append(process)
            if not values.size:
                raise ValueError("the codestream can't be decoded")
            return values

    def close(self) -> None:
        """End the processes that have nothing to do; the next codestream starts another."""
        with self._lock:
            for process in self._idle:
                process.end()
            self._idle.clear()


class _Process:
    def __init__(self) -> None:
        places = os.pathsep.join(place or os.getcwd() for place in sys.path)
        self._process = subprocess.Popen(
            # Nothing from the folder that the server was started in, and ours where MLflow has put it.
            [sys.executable, "-P", "-m", _MODULE, str(LIMIT_BYTES)],
            env={**os.environ, "PYTHONPATH": places},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with _Watch(self._process, _START_S, by_clock=True):
            self._read(1)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, frame: bytes, tags: dict[str, Any], limit_s: float) -> np.ndarray | None:
        """The values; empty where the process says that it can't; None where it died or was ended."""
        said = json.dumps(tags).encode()
        try:
            with _Watch(self._process, limit_s) as watch:
                assert self._process.stdin is not None
                self._process.stdin.write(REQUEST.pack(len(said), len(frame)) + said + frame)
                self._process.stdin.flush()
                header = self._read(ANSWER.size)
                if len(header) < ANSWER.size:
                    return None
                answer, kind, rows, columns = ANSWER.unpack(header)
                if answer != b"y":
                    return np.empty((0, 0), np.uint16)
                dtype = np.dtype(kind.decode("ascii"))
                if (rows, columns) != (tags["Rows"], tags["Columns"]):
                    return None
                data = self._read(rows * columns * dtype.itemsize)
            if watch.gave_up or len(data) < rows * columns * dtype.itemsize:
                return None
            return np.frombuffer(data, dtype).reshape(rows, columns)
        except (OSError, TypeError, ValueError):  # it died in the middle of a word
            return None

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(OSError, ValueError):  # what was not written yet
            self._process.communicate()

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.read(count)


class _Watch:
    """Kills the process at the limit. A context: reading a pipe can't be given up, but ends with who writes to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", limit_s: float, *, by_clock: bool = False) -> None:
        self._process, self._limit_s = process, limit_s
        self._clock_limit_s = limit_s if by_clock else max(limit_s, CLOCK_LIMIT_S)
        self._done = threading.Event()
        self.gave_up = False

    def __enter__(self) -> "_Watch":
        self._began, self._used = time.monotonic(), processor_s(self._process.pid)
        self._timer = threading.Timer(self._limit_s, self._look)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._timer.cancel()

    def _look(self) -> None:
        while not self._done.is_set():
            now = processor_s(self._process.pid)
            clock = time.monotonic() - self._began
            busy = None if now is None or self._used is None else now - self._used
            if clock >= self._clock_limit_s or (clock if busy is None else busy) >= self._limit_s:
                self.gave_up = True
                self._process.kill()
                return
            self._done.wait(_LOOK_S)


def processor_s(pid: int) -> float | None:
    """Seconds of processor that a process has used; None where the system has no /proc. Source: proc(5), stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


#: Of this process.
DECODERS = Decoders()
