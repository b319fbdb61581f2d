"""The rim between MLflow's store and a stage: what the store can't do is a line, and never a traceback."""

import logging

import mlflow

from ich_mlflow.errors import StoreError
from ich_mlflow.system.counting import counted
from ich_mlflow.tracking.audit import EXPERIMENT as AUDIT
from ich_mlflow.tracking.killed import end_killed_runs
from ich_mlflow_plugin import PROJECT_NAME, ProjectExperiment
from ich_mlflow_plugin.store import expect_store as expect_usable
from ich_mlflow_plugin.troubles import StoreTrouble, told

#: Stages that write into the audit trail.
_PROMOTING = ("promote", "main")


def expect_store(stage: str) -> None:
    """Raise StoreError where the store can't be used, before the stage begins.

    From here on runs belong to the project's experiment, in whatever folder the command was typed, and those that a
    killed process left are ended.
    """
    # It prints a traceback of what ends as a line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    ProjectExperiment.is_launched = True
    try:
        seen = expect_usable(name=PROJECT_NAME, also=(AUDIT,) if stage in _PROMOTING else ())
        for note in seen.notes:
            print(f"note: {note}")
        if seen.is_there and (killed := end_killed_runs()):
            print(f"note: {counted(killed, 'run')} whose process was killed: ended as KILLED")
    except StoreTrouble as trouble:
        raise StoreError(str(trouble)) from None


def in_one_line(error: Exception) -> str | None:
    """What a store's error says, and what to look at; None of a mistake in code, which keeps its traceback."""
    return told(error, uri=mlflow.get_tracking_uri())
