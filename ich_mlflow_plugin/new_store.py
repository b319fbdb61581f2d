"""The SQLite file that MLflow keeps runs in, made by one process: MLflow itself lets two at once break each other."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import wrapt
from filelock import FileLock

#: Of the lock's name, beside the file: `mlflow.db-lock` while it is made.
SUFFIX = "-lock"


@contextmanager
def made_by_one(store_uri: str) -> Iterator[None]:
    """Within, the store may be opened: where it is no file yet, one process makes it and the others wait.

    Nothing is held for a store that is there, or is no SQLite file. The lock dies with its process.
    """
    file = sqlite_file(store_uri)
    # The lock is there before the file, and until the file is whole.
    if file is None or (file.exists() and not _lock_of(file).exists()):
        yield
        return
    with ExitStack() as held:
        with suppress(OSError):  # a folder that can't be written: MLflow says so
            file.parent.mkdir(parents=True, exist_ok=True)
            # Waits for who makes it. A soft lock would outlive its process.
            held.enter_context(FileLock(_lock_of(file), fallback_to_soft=False))
        yield
        with suppress(OSError):  # Windows removes no file that another process waits for
            _lock_of(file).unlink()


def lock_new_stores(store_module: Any) -> None:
    """Let MLflow's `SqlAlchemyStore` of that module, tracking or registry, be opened within made_by_one."""

    def opened(original: Any, store: Any, arguments: Any, named: Any) -> None:
        with made_by_one(arguments[0] if arguments else named["db_uri"]):
            original(*arguments, **named)

    wrapt.wrap_function_wrapper(store_module, "SqlAlchemyStore.__init__", opened)


def _lock_of(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)


def sqlite_file(store_uri: str) -> Path | None:
    """The file of a `sqlite:` URI; None of another, or of a database in memory."""
    if not store_uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url  # where used: MLflow loads this module with itself

    name = make_url(store_uri).database
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None
