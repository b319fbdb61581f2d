"""`mlflow run` of this project, from whatever folder: paths are the caller's, runs the project's, troubles a line."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Of the command that `mlflow run` starts: the folder in which the user typed it, and the project as it was typed.
CALLED_FROM, PROJECT_TYPED = "ICH_MLFLOW_CALLED_FROM", "ICH_MLFLOW_PROJECT"
_CHOSEN = ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


def with_caller(run: Callable[..., Any], _: Any, arguments: Any, named: Any) -> Any:
    """`mlflow.projects.run`, which otherwise runs a command in the project's folder as if it had been typed there."""
    uri = str(arguments[0] if arguments else named["uri"])
    with _told_of_caller(uri):
        if not is_ours(uri):
            return run(*arguments, **named)
        return _run_ours(run, arguments, named)


def is_ours(uri: str) -> bool:
    """Whether the URI is a folder of this project. What lies behind a URL is not known before it is fetched."""
    return is_project(Path(uri.removeprefix("file://").split("#")[0]))


def is_project(folder: Path) -> bool:
    """Whether the folder holds this project's MLproject file."""
    from ich_mlflow_plugin import PROJECT_NAME

    try:
        first_line = (folder / "MLproject").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        return False
    return first_line.strip() == f"name: {PROJECT_NAME}"


def _run_ours(run: Callable[..., Any], arguments: Any, named: dict[str, Any]) -> Any:
    import mlflow
    from mlflow.exceptions import ExecutionException

    from ich_mlflow_plugin import PROJECT_NAME, ProjectExperiment
    from ich_mlflow_plugin.store import expect_store
    from ich_mlflow_plugin.troubles import StoreTrouble, told

    try:
        expect_store(
            name=named.get("experiment_name") or PROJECT_NAME, number=named.get("experiment_id") or ""
        )
        if not _has_chosen(named):
            named = {**named, "experiment_id": ProjectExperiment().get_experiment_id()}
        return run(*arguments, **named)
    except ExecutionException:
        raise
    except StoreTrouble as trouble:
        raise ExecutionException(str(trouble)) from None
    except Exception as error:
        said = told(error, uri=mlflow.get_tracking_uri(), only_known=True)
        if said is None:
            raise
        raise ExecutionException(said) from None


def _has_chosen(named: Mapping[str, Any]) -> bool:
    """Whether the user said which experiment, or a run to go on in."""
    from mlflow.tracking import fluent

    said = any(named.get(name) for name in ("experiment_name", "experiment_id", "run_id"))
    return said or bool(fluent._active_experiment_id) or any(os.environ.get(name) for name in _CHOSEN)


@contextmanager
def _told_of_caller(uri: str) -> Iterator[None]:
    """Let the command know where it was typed: it is started in the project's folder."""
    here = os.getcwd()
    ours = {CALLED_FROM: here}
    if not is_project(Path(here)):
        ours[PROJECT_TYPED] = uri
    before = {name: os.environ.get(name) for name in (CALLED_FROM, PROJECT_TYPED)}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
