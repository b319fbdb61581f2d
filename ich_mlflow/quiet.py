"""Keep native libraries' chatter off the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


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
