"""`python -m ich_mlflow.tracking.moved <mlflow.db> <mlruns as it was> <as it is>`: a store finds its artifacts again.

MLflow notes the place of every run's and model's files as an absolute path, so a folder that was moved or copied has a
store that points to where it was.
"""

import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ich_mlflow.errors import DataError, IchError, OptionError, StoreError

#: Where MLflow 3 notes the place of files: a table and its column.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
BACKUP = ".before-moved"


def follow(store: Path, *, was: str, now: Path) -> int:
    """Let every path of the store that begins with `was` begin with `now`; return how many did.

    A copy of the store as it was is left beside it. Raises DataError where a file or folder is not there, StoreError
    where the file is no store.
    """
    if not store.is_file():
        raise DataError(f"{store} is not there, expected the mlflow.db that was moved")
    if not now.is_dir():
        raise DataError(f"{now} is no folder, expected the one where the artifacts lie now")
    was, here = was.rstrip("/\\"), str(now.resolve())
    try:
        with closing(sqlite3.connect(store)) as database:
            with closing(sqlite3.connect(f"{store}{BACKUP}")) as copy:
                database.backup(copy)
            with database:
                return sum(
                    _replace(database, *place, was=f"{scheme}{was}", now=f"{scheme}{here}")
                    for place in _PLACES
                    for scheme in ("", "file://")
                )
    except sqlite3.Error as error:
        raise StoreError(f"{store} is no store of this MLflow ({error}): nothing was changed") from None


def _replace(database: sqlite3.Connection, table: str, column: str, *, was: str, now: str) -> int:
    length = len(was)
    done = database.execute(
        f"update {table} set {column} = ? || substr({column}, ?) "
        f"where substr({column}, 1, ?) = ? and substr({column}, ?, 1) in ('', '/', '\\')",
        (now, length + 1, length, was, length + 1),
    )
    return done.rowcount


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 1 where it could not be done, which is said in a line."""
    if list(arguments) in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        if len(arguments) != 3:
            raise OptionError(
                "expected three paths: the mlflow.db, where its mlruns folder was, and where that is now"
            )
        store, was, now = arguments
        count = follow(Path(store), was=was, now=Path(now))
    except IchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{count:,} places of {store} point to {now} now; the store as it was is kept as {store}{BACKUP}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
