"""Try a JPEG-LS codestream in a process that can be ended, before it is decoded in one that can't.

CharLS, which every decoder at hand is made of, loops 2^31 times on some damaged streams (a run context whose shifted
counter overflows; versions 2.4.3 and before): 3 s in which a server answers nobody. Python can't interrupt it.
"""

import contextlib
import struct
import subprocess
import sys
import threading
from pathlib import Path

#: The largest matrix that is read takes 0.3 s, and more where all cores are busy.
LIMIT_S = 1.5
#: For the process to start and import what it needs.
_START_S = 30.0
_PROGRAM = Path(__file__).with_name("probe_process.py")
_SIZE = struct.Struct("<Q")


class Probe:
    """A process that decodes what it is sent, started when it is first needed. Safe to share by threads."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def decodes(self, codestream: bytes) -> bool:
        """Whether it can be decoded, and within the limit."""
        with self._lock:
            process = self._ready()
            try:
                assert process.stdin is not None
                process.stdin.write(_SIZE.pack(len(codestream)) + codestream)
                process.stdin.flush()
                said = _byte(process, self._limit_s)
            except OSError:  # it died
                said = b""
            if not said:
                self._end()
            return said == b"y"

    def close(self) -> None:
        """End the process; the next codestream starts another."""
        with self._lock:
            self._end()

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            _byte(self._process, _START_S)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(OSError):  # what was not written yet
                self._process.communicate()
            self._process = None


def _byte(process: subprocess.Popen[bytes], limit_s: float) -> bytes:
    """The next byte that the process says; b'' where it ends, or says none in time, for which it is killed.

    Reading a pipe can't be given up on every system, but ends everywhere with the process that writes to it.
    """
    assert process.stdout is not None
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit_s, give_up)
    timer.start()
    try:
        said = process.stdout.read(1)
    finally:
        timer.cancel()
        timer.join()
    return b"" if late.is_set() else said


#: Of this process.
PROBE = Probe()
