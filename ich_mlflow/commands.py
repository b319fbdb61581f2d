"""The commands that come next, as stages print them: a shell takes each as it stands."""

import os
from shlex import quote

#: By ich_mlflow_plugin: the project as it was typed, where `mlflow run` was called from another folder.
_PROJECT = "ICH_MLFLOW_PROJECT"

#: Not 5000, where `mlflow ui` listens.
SERVE_PORT = 5001
#: One worker is up several times sooner than MLflow's four.
LOOK_AT_RUNS = "mlflow ui --workers 1"


def next_command(stage: str, **parameters: object) -> str:
    """`mlflow run . -e <stage>` with those parameters, quoted where a shell needs it: a path may have spaces.

    From another folder than the project's, with the project as it was typed.
    """
    return " ".join(
        [
            f"mlflow run {quote(os.environ.get(_PROJECT, '.'))} -e {stage}",
            *(f"-P {quote(f'{name}={value}')}" for name, value in parameters.items()),
        ]
    )


def serve_command(model_uri: str) -> str:
    """What serves that model version on this machine."""
    return f"mlflow models serve -m {quote(model_uri)} -p {SERVE_PORT} --env-manager local"
