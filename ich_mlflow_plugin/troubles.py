"""What MLflow's store, its database, its server or its artifacts can't do, as one line: what, why, what to type."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Packages whose errors are the store's and not this project's.
_OF_STORES = frozenset(
    (
        *("mlflow", "sqlalchemy", "alembic", "sqlite3", "psycopg", "psycopg2", "pymysql", "MySQLdb"),
        *("requests", "urllib3", "boto3", "botocore", "azure", "google", "paramiko", "databricks"),
    )
)
#: What only a mistake in code raises; MLflow wraps it, too.
_MISTAKES = (TypeError, AttributeError, NameError, LookupError, AssertionError, ArithmeticError)
_LONGEST = 200


class StoreTrouble(Exception):
    """The store can't be used. The message is one line: what, why, what to type."""


@dataclass(frozen=True)
class _Known:
    """A trouble that is told by its message.

    advice: what to type, with {uri} of the store and {found} of the match. said: instead of a long message.
    """

    pattern: str
    advice: str
    said: str = ""


#: The first that fits counts.
_KNOWN = (
    _Known(
        r"current state is deleted|state is deleted|lifecycle_stage.*deleted",
        "what it needs was deleted: bring it back by mlflow experiments restore -x <id> (a run: mlflow runs restore "
        "--run-id <id>)",
    ),
    _Known(
        r"out-of-date database schema|can't locate revision",
        "another MLflow made the store: take a backup of it, then type mlflow db upgrade {uri}; where that fails, a "
        "newer MLflow made it: install that one",
        said="its schema is another version's",
    ),
    _Known(
        r"maintenance mode|filestore",
        "this MLflow keeps no runs in one: set MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or unset it; mlflow "
        "migrate-filestore --help says how to take over what the folder holds",
        said="it is a folder of files",
    ),
    _Known(
        r"unsupported uri|model registry functionality is unavailable",
        "set MLFLOW_TRACKING_URI to sqlite:///<file>, postgresql://<user>@<host>/<name> or http://<server>:5000, or "
        "unset it",
        said="no kind of store that MLflow knows",
    ),
    _Known(
        r"no module named '(?P<found>[\w.]+)'",
        "the store needs a package that is not installed: pip install {found}, or what its maker calls it, or "
        "set MLFLOW_TRACKING_URI to a store that needs none",
    ),
    _Known(
        r"\b401\b|unauthenticated|not authenticated|unauthorized|password authentication|no password supplied",
        "it does not know who asks: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN (of a database, its user in the URI and the password in ~/.pgpass)",
        said="not authenticated",
    ),
    _Known(
        r"\b403\b|permission_denied|permission denied for|forbidden|invalid host header",
        "this user may not do that: ask the server's administrator for permission (to edit the experiment and "
        "the registered models), or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of one who may",
    ),
    _Known(
        r"too many 5\d\d|error code 5\d\d",
        "the server or the database fails: look at its log, and type the same again",
    ),
    *(
        _Known(
            pattern,
            "nothing answers there: start the server, or set MLFLOW_TRACKING_URI to the one that runs (unset, it is "
            "mlflow.db in this folder)",
            said=said,
        )
        for pattern, said in (
            (r"connection refused|errno 111", "connection refused"),
            (
                r"name resolution|nameresolution|name or service not known|translate host",
                "no machine has that name",
            ),
            (r"timed out|timeout exce|timeout expired", "no answer in time"),
            (r"max retries exceeded|connection failed|connection (reset|aborted)|closed the connection", ""),
            (r"network is unreachable|no route to host", "no way to that machine"),
            (r"invalid url", "no address of a server"),
        )
    ),
    _Known(
        r"is not a database|malformed|disk image",
        "the file is no database of MLflow: move it away, or set MLFLOW_TRACKING_URI=sqlite:///<another file>",
    ),
    _Known(r"database is locked", "another program writes there: wait for it, and type the same again"),
    _Known(
        r"unable to open database|readonly database|attempt to write a readonly",
        "the file of the store can't be opened or written: check its permissions and its folder's, or set "
        "MLFLOW_TRACKING_URI=sqlite:///<another file>",
    ),
    _Known(
        r"disk is full|no space left|disk quota",
        "a disk is full: make room, and type the same again",
    ),
    _Known(
        r"permission denied|not a directory|is a directory|read-only file system|file exists|operation not permitted",
        "a folder of artifacts can't be written: check its permissions, and that no file is in its place",
    ),
    _Known(
        r"no such file|no such artifact",
        "was the folder of the store moved, or its mlruns removed? Move it back, or let the store follow: python -m "
        "ich_mlflow.tracking.moved --help",
    ),
    _Known(
        r"no experiment with id|experiment id",
        "unset MLFLOW_EXPERIMENT_ID, or set it to one that mlflow experiments search lists; or is it another store's?",
    ),
    _Known(r"run with id=\S+ not found", "is it another store's? Set MLFLOW_TRACKING_URI to that one"),
    _Known(
        r"\b404\b|endpoint_not_found|valid json|expecting value|jsondecode|failed to parse",
        "what answers there is no MLflow server: set MLFLOW_TRACKING_URI to one, as http://<server>:5000",
    ),
)
_ELSE = "look at MLFLOW_TRACKING_URI, and at the log of the server or the database"


def told(error: BaseException, *, uri: str, surely: bool = False, only_known: bool = False) -> str | None:
    """The trouble in one line; None where the error is no trouble of a store, but a mistake in code.

    uri: of the store. surely: nothing but the store can have raised it. only_known: None too where nothing is known
    about it, as where a message is clear by itself.
    """
    if not (surely or is_of_store(error)):
        return None
    said = _first_line(error)
    whole = f"{said} {error} {getattr(error, 'error_code', '')}".lower()
    advice = _ELSE
    for known in _KNOWN:
        match = re.search(known.pattern, whole)
        if match:
            package = match.groupdict().get("found") or ""
            advice = known.advice.replace("{uri}", uri).replace("{found}", package)
            said = known.said or said
            break
    else:
        if only_known:
            return None
    return without_passwords(f"MLflow can't go on with {uri} ({_short(said)}): {advice}")


def is_of_store(error: BaseException) -> bool:
    """Whether the error is the store's: of one of its packages, or the system's answer to one of them."""
    if not isinstance(error, Exception) or isinstance(_inner(error), _MISTAKES):
        return False
    if any(_package(kind) in _OF_STORES for kind in type(error).__mro__):
        return True
    return isinstance(error, OSError | ImportError) and any(
        _root(frame.f_globals.get("__name__", "")) in _OF_STORES
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def without_passwords(text: str) -> str:
    """URIs in the text without the passwords in them."""
    return re.sub(r"(://[^:/@\s]*):[^@/\s]+@", r"\1:***@", text)


def _inner(error: BaseException) -> object:
    """What MLflow wrapped: it gives an error as another's message."""
    return error.__cause__ or next((one for one in error.args if isinstance(one, BaseException)), None)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _package(kind: type[Any]) -> str:
    return _root(kind.__module__)


def _root(module: str) -> str:
    return module.split(".")[0]


def local_path(uri: str) -> Path | None:
    """The folder that a URI of artifacts names on this machine; None of one elsewhere."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    if not is_local_uri(uri, is_tracking_or_registry_uri=False):
        return None
    return Path(local_file_uri_to_path(uri))
