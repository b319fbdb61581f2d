"""Files that appear whole or not at all, whatever happens to process or power, and notes read without trust."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

#: The suffix of what is being written. What bears it after a crash is rubbish.
PART = ".part"
Made = TypeVar("Made")


def write_whole(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write to a name of its own, flush to the disk, then rename, and flush the folder.

    content: text (written as UTF-8), bytes, or a function that writes to the open file. Not through a memory map: a
    full disk must be an error, not a SIGBUS. The name is unlike any other, since processes of several machines may
    write the same file (Spark runs some tasks twice).
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    flush_folder(path.parent)


def read_note(path: Path, make: Callable[[dict[str, Any]], Made]) -> Made | None:
    """What `make` makes of the JSON object in the file; None where there is no such file, or nothing to be made of it.

    For notes of what has been done: one that is unreadable, empty or broken says nothing, so that the work is done
    again. `make` gets a fresh dictionary, and may raise KeyError, TypeError, ValueError or AttributeError.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return make(values) if isinstance(values, dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries (new files, renames) to the disk, where the system can: Windows opens no folders."""
    with contextlib.suppress(OSError):  # and some mounted file systems flush none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
