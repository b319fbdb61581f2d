"""Where the files of a model lie, and what is wrong where they are not there."""

import re
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow_plugin.new_store import sqlite_file
from ich_mlflow_plugin.store import moved_command
from ich_mlflow_plugin.troubles import local_path


def why_files_gone(model_uri: str) -> str:
    """That a model's folder is missing on this machine, which one, and how to mend it; '' where it is not."""
    try:
        place = _place(MlflowClient(), model_uri)
    except MlflowException:
        return ""
    folder = local_path(place) if place else None
    if folder is None or folder.exists():
        return ""
    return f"its files are not in {folder}: {_mend(folder)}"


def _mend(folder: Path) -> str:
    file = sqlite_file(mlflow.get_tracking_uri())
    kept = folder.parents[3] if len(folder.parents) > 3 else folder  # mlruns/1/models/m-…/artifacts
    if file is not None:
        here = file.absolute().parent / kept.name
        if here != kept and (here / folder.relative_to(kept)).exists():
            return (
                f"{kept} was moved or copied to {here}; move it back, or let the store follow: "
                f"{moved_command(file, was=kept, now=here)}"
            )
    return (
        "were they moved or removed? Move them back, or let the store follow (python -m ich_mlflow.tracking.moved "
        "--help), or take another model"
    )


def _place(client: MlflowClient, model_uri: str) -> str | None:
    """The URI of the model's files; None where it is of an unknown form. Raises MlflowException where it is unknown."""
    if named := re.fullmatch(r"models:/([^/@]+)([/@])([^/@]+)", model_uri):
        name, mark, which = named.groups()
        version = (
            client.get_model_version_by_alias(name, which)
            if mark == "@"
            else client.get_model_version(name, which)
        )
        source = str(version.source)
        return _place(client, source) if source.startswith(("models:", "runs:")) else source
    if logged := re.fullmatch(r"models:/(m-\w+)", model_uri):
        return str(client.get_logged_model(logged.group(1)).artifact_location)
    if of_run := re.fullmatch(r"runs:/(\w+)/(.+)", model_uri):
        run = client.get_run(of_run.group(1))
        outputs = run.outputs.model_outputs if run.outputs else []
        for model in (client.get_logged_model(one.model_id) for one in outputs):
            if model.name == of_run.group(2):
                return str(model.artifact_location)
    return None
