"""Keep native libraries' and workers' chatter off the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_stderr_muted() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; show it after all where an error leaves the block.

    TensorFlow's C++ parts write there while they load and look for a GPU, past Python's logging and warnings.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Let file descriptors 1 and 2 be that file, at its end: what is started within prints there all its life."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for descriptor, _ in kept:
            os.dup2(log, descriptor)
        yield
    finally:
        os.close(log)
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)
