"""The commands that come next, as stages print them: a shell takes each as it stands."""

from shlex import quote

#: Not 5000, where `mlflow ui` listens.
SERVE_PORT = 5001
#: One worker is up several times sooner than MLflow's four.
LOOK_AT_RUNS = "mlflow ui --workers 1"


def next_command(stage: str, **parameters: object) -> str:
    """`mlflow run . -e <stage>` with those parameters, quoted where a shell needs it: a path may have spaces."""
    return " ".join(
        [
            f"mlflow run . -e {stage}",
            *(f"-P {quote(f'{name}={value}')}" for name, value in parameters.items()),
        ]
    )


def serve_command(model_uri: str) -> str:
    """What serves that model version on this machine."""
    return f"mlflow models serve -m {quote(model_uri)} -p {SERVE_PORT} --env-manager local"
