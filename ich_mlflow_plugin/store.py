"""Whether MLflow's store can be used, seen before anything long begins."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from ich_mlflow_plugin.new_store import sqlite_file
from ich_mlflow_plugin.troubles import StoreTrouble, local_path, told, without_passwords

#: For the first look alone: MLflow's own patience is four minutes, and later a server that is started again finds it.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_CONNECT_S = 10
#: Those that print a traceback, or each try, of what is said in a line here.
_LOUD = ("mlflow", "urllib3", "alembic")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A store that can be used. is_there: not yet to be made. notes: what is odd about it, a line each."""

    is_there: bool
    notes: tuple[str, ...]


def expect_store(*, name: str, number: str = "", also: Sequence[str] = ()) -> Seen:
    """Raise StoreTrouble where runs can't be kept: no store, no right, a deleted experiment, no folder of artifacts.

    name, number: of the experiment that runs go to where nothing else was chosen. also: experiments that are written to
    beside it.
    """
    import mlflow

    uri = mlflow.get_tracking_uri()
    found: list[Any] = []
    with _impatient(), _quiet():
        try:
            is_there = _is_there(uri)
            if is_there:
                client = mlflow.MlflowClient()
                found = [_chosen(client, name, number), *map(client.get_experiment_by_name, also)]
            registry = mlflow.get_registry_uri()
            if registry != uri and _is_there(registry):
                uri = registry  # whom an error is about
                mlflow.MlflowClient().search_registered_models(max_results=1)
        except StoreTrouble:
            raise
        except Exception as error:
            raise StoreTrouble(told(error, uri=str(uri), surely=True)) from None
    uri, notes = mlflow.get_tracking_uri(), []
    for experiment in found:
        if experiment is not None:
            _expect_experiment(experiment, uri)
            notes.append(_why_copied(experiment, uri))
    return Seen(is_there=is_there, notes=tuple(filter(None, notes)))


def _is_there(uri: str) -> bool:
    """Whether there is a store to ask: a SQLite file that is not there is made later. Raises where it can't be."""
    file = sqlite_file(uri)
    if file is not None and not os.path.lexists(file):
        _expect_writable(file.absolute().parent, f"the store {file} can't be made")
        return False
    _expect_database(uri)
    return True


def _chosen(client: Any, name: str, number: str) -> Any:
    """The experiment that runs go to; None where it is yet to be made."""
    from mlflow.tracking import fluent

    named = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    run = os.environ.get("MLFLOW_RUN_ID")
    number = number or os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    if run:
        number = client.get_run(run).info.experiment_id
    elif fluent._active_experiment_id:
        number = fluent._active_experiment_id
    elif named:
        return client.get_experiment_by_name(named)
    return client.get_experiment(number) if number else client.get_experiment_by_name(name)


def _expect_experiment(experiment: Any, uri: str) -> None:
    number, said = experiment.experiment_id, f"experiment {experiment.name} (id {experiment.experiment_id})"
    if experiment.lifecycle_stage != "active":
        raise StoreTrouble(
            f"{said} was deleted in {without_passwords(uri)}, so no run can begin there: bring it back by mlflow "
            f"experiments restore -x {number}, or remove it and its runs for good by mlflow gc --backend-store-uri "
            f"{without_passwords(_backend(uri))} --tracking-uri {without_passwords(uri)} --experiment-ids {number}"
        )
    folder = local_path(experiment.artifact_location)
    if folder is None:
        return
    _expect_not_moved(folder, said, uri)
    _expect_writable(folder, f"the artifacts of {said} go to {folder}, which can't be made or written")


def _expect_not_moved(folder: Path, said: str, uri: str) -> None:
    """Of a store that was moved, MLflow would make its former folder again and write there."""
    file = sqlite_file(uri)
    if file is None or folder.parent.exists():
        return
    here = file.absolute().parent / folder.parent.name
    if folder.parent.parent.exists() and not (here / folder.name).exists():
        return  # none was written yet
    raise StoreTrouble(
        f"the artifacts of {said} are kept in {folder.parent}, which is not there: was the folder of {file.name} "
        f"moved? Move it back, or let the store follow: {moved_command(file, was=folder.parent, now=here)}"
    )


def _why_copied(experiment: Any, uri: str) -> str:
    """Of a store that was copied with its artifacts: that MLflow goes on writing to the original; '' of any other."""
    file, folder = sqlite_file(uri), local_path(experiment.artifact_location)
    if file is None or folder is None:
        return ""
    here = file.absolute().parent / folder.parent.name
    if not (here / folder.name).is_dir() or here.resolve() == folder.parent.resolve():
        return ""
    return (
        f"the artifacts of experiment {experiment.name} go to {folder.parent} and not to {here}: was the folder of "
        f"{file.name} copied? Let the store follow: {moved_command(file, was=folder.parent, now=here)}"
    )


def moved_command(store: Path, *, was: Path, now: Path) -> str:
    """What makes a store find its artifacts where they lie now."""
    return f"python -m ich_mlflow.tracking.moved {quote(str(store))} {quote(str(was))} {quote(str(now))}"


def _expect_writable(folder: Path, said: str) -> None:
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    why = ""
    if not there.is_dir():
        why = f"{there} is a file" if there.exists() else f"{there} is a link to nothing"
    elif not os.access(there, os.W_OK | os.X_OK):
        why = f"{there} belongs to another user"
    if why:
        raise StoreTrouble(
            f"{said}, since {why}: check its permissions, move what is in its place, or set another store by "
            "MLFLOW_TRACKING_URI=sqlite:///<file>"
        )


def _expect_database(uri: str) -> None:
    """Connect once to a database: MLflow would try for two minutes."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if uri.split(":")[0].split("+")[0] not in DATABASE_ENGINES:
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        uri, connect_args={"connect_timeout": _CONNECT_S} if uri.startswith(("postgresql", "mysql")) else {}
    )
    with engine.connect():
        pass
    engine.dispose()


def _backend(uri: str) -> str:
    """What `mlflow gc` takes: of a server only who runs it knows."""
    return "<the server's database>" if uri.startswith("http") else uri


@contextmanager
def _impatient() -> Iterator[None]:
    """Let MLflow give up soon, where the user has not said when."""
    ours = {name: value for name, value in _IMPATIENT.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            with suppress(KeyError):
                del os.environ[name]


@contextmanager
def _quiet() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in _LOUD}
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
