"""Where trials are kept: a journal file, or a database that tells by itself which worker is dead."""

import time
from pathlib import Path

from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalStorage

from ich_mlflow.errors import DataError, first_line

#: How often a trial whose process died is tried again.
MAX_RETRIES = 2
#: A worker of a server's storage says every so many seconds that it lives, and is held dead after the second number.
HEARTBEAT_S, GRACE_S = 30, 120
_WAIT_S = 1.0


def open_storage(where: str) -> BaseStorage:
    """A journal file's storage, or a database's of a URL such as postgresql://user@host/name.

    Raises DataError where it can't be opened.
    """
    if "://" not in where:
        try:
            Path(where).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(where))
        except OSError as error:
            raise DataError(
                f"storage {where} can't be written ({error.strerror}): pass -P storage=<a file that can, or a URL>"
            ) from None
    try:
        return _database(_with_driver(where))
    except Exception as error:  # SQLAlchemy and the drivers raise many kinds
        raise DataError(
            f"storage {without_password(where)} can't be opened ({first_line(error)}): expected the URL of a running "
            "database, as postgresql://user@host:5432/name"
        ) from None


def _database(url: str) -> RDBStorage:
    for attempt in range(5):
        try:
            return RDBStorage(
                url,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=MAX_RETRIES),
            )
        except Exception:
            # Two that make the tables of an empty database at once get in each other's way.
            if attempt == 4:
                raise
            time.sleep(_WAIT_S)
    raise AssertionError


def _with_driver(url: str) -> str:
    """SQLAlchemy's default driver for PostgreSQL is another package than the one that comes with this project."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def without_password(url: str) -> str:
    """The URL of a database as it may be shown; a file's path as it stands."""
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}{at}{host}"
