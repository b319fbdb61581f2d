"""Files that appear whole or not at all, whatever happens to process or power."""

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

#: The suffix of what is being written. What bears it after a crash is rubbish.
PART = ".part"


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a name of its own, flush to the disk, then rename.

    Not through a memory map: a full disk must be an error, not a SIGBUS. The name is unlike any other, since
    processes of several machines may write the same file (Spark runs some tasks twice).
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """As write_whole, UTF-8."""
    write_whole(path, lambda file: file.write(text.encode("utf-8")))


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries (new files, renames) to the disk."""
    if os.name == "nt":  # opens no folders, and writes entries through its journal
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some mounted file systems flush no folders
            os.fsync(handle)
    finally:
        os.close(handle)
