"""One MLflow run, as the workflows see it."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.pandas_dataset import from_pandas

from ich_mlflow import __version__

STAGE_TAG = "ich.stage"
NOTICE = "Research software, not a medical device."


class Run:
    """What a workflow logs. Metrics that are not estimable are left out by whoever makes the mapping."""

    def __init__(self, active: Any) -> None:
        self.run_id: str = active.info.run_id
        self.experiment_id: str = active.info.experiment_id

    def params(self, values: Mapping[str, Any], *, prefix: str) -> None:
        """Log resolved values as `<prefix>.<name>`.

        Without a prefix they would collide with MLproject's parameters, which MLflow has already logged as
        the strings that were typed, and which can't be changed.
        """
        mlflow.log_params({f"{prefix}.{name}": value for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        mlflow.log_metrics({name: float(value) for name, value in values.items()}, step=step)

    def tags(self, values: Mapping[str, Any]) -> None:
        mlflow.set_tags({name: str(value) for name, value in values.items()})

    def figure(self, figure: Figure, path: str) -> None:
        mlflow.log_figure(figure, path)

    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a frame as JSON that the MLflow UI shows as a table."""
        mlflow.log_table(frame, path)

    def dictionary(self, values: Mapping[str, Any], path: str) -> None:
        mlflow.log_dict(dict(values), path)

    def file(self, path: Path) -> None:
        """Log a file under its own name."""
        mlflow.log_artifact(str(path))

    def dataset(self, frame: pd.DataFrame, *, source: Path, name: str, digest: str, context: str) -> None:
        """Log a data set with our own digest (MLflow takes 36 characters of it at most)."""
        with warnings.catch_warnings():
            # MLflow wonders which kind of local path it is, and whether integers may be missing: neither matters.
            warnings.simplefilter("ignore", UserWarning)
            data = from_pandas(frame, source=str(source), name=name, digest=digest[:36])
            mlflow.log_input(data, context=context)


@contextmanager
def start_run(stage: str, *, nested: bool = False, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
    """A run of that stage: FINISHED at the end, FAILED with its reason as a tag where an error leaves it.

    Under `mlflow run` the outermost call joins the run that MLflow has already started.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # its advice is not about us
    with mlflow.start_run(run_name=stage, nested=nested) as active:
        # A run that was joined has a made-up name.
        mlflow.MlflowClient().update_run(active.info.run_id, name=stage)
        run = Run(active)
        run.tags({STAGE_TAG: stage, "ich.version": __version__, "ich.notice": NOTICE, **(tags or {})})
        try:
            yield run
        except BaseException as error:
            run.tags({"ich.error": f"{type(error).__name__}: {error}"[:5000]})
            raise
