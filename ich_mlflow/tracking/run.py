"""One MLflow run, as the stages see it."""

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.pandas_dataset import from_pandas
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking.fluent import _get_experiment_id

from ich_mlflow import __version__
from ich_mlflow.tracking.killed import PROCESS_TAG, this_process
from ich_mlflow_plugin.troubles import is_of_store

#: ROOT_TAG is of a run within another's: the stage of the outermost, by which the UI finds all of it.
STAGE_TAG, ROOT_TAG = "ich.stage", "ich.root_stage"
NOTICE = "Research software, not a medical device."


#: What the user calls the run of this command; '' where it is named by what it does.
_NAMED: ContextVar[str] = ContextVar("name of the run", default="")


@contextmanager
def run_named(name: str) -> Iterator[None]:
    """Within, the outermost run gets that name, and not one that is made of what it does. '': as ever."""
    before = _NAMED.set(name)
    try:
        yield
    finally:
        _NAMED.reset(before)


class Run:
    """What a stage logs. Metrics that are not estimable are left out by whoever makes the mapping.

    resumed: whether the run was there before; what it was told then stays, and tables are replaced.
    pictures: PNG of each figure logged, by path. status: what MLflow calls the run where no error ends it.
    """

    def __init__(
        self, active: Any, *, resumed: bool = False, stage: str = "", has_name: bool = False
    ) -> None:
        self.run_id: str = active.info.run_id
        self.experiment_id: str = active.info.experiment_id
        self.resumed = resumed
        self._stage, self._has_name = stage, has_name
        self.pictures: dict[str, bytes] = {}
        self._tables: set[str] = set()
        self.status = "FINISHED"
        self._told = dict(active.data.params) if resumed else {}

    def params(self, values: Mapping[str, Any], *, prefix: str) -> None:
        """Log resolved values as `<prefix>.<name>`.

        Without a prefix they would collide with MLproject's parameters, which MLflow has already logged as
        the strings that were typed, and which can't be changed.
        """
        named = {f"{prefix}.{name}": value for name, value in values.items()}
        mlflow.log_params({name: value for name, value in named.items() if name not in self._told})

    def call(self, *parts: object) -> None:
        """Name the run by its stage and those parts, so that runs are told apart in a list.

        One that was given a name keeps it.
        """
        if not self._has_name:
            named = " · ".join(str(part) for part in parts if part)
            mlflow.MlflowClient().update_run(self.run_id, name=f"{self._stage} {named}"[:250])

    def describe(self, *lines: str) -> None:
        """Keep a description with the run, a paragraph a line: what it was told, what it found, what comes next.

        The UI shows it above everything else, as Markdown.
        """
        self.tags({"mlflow.note.content": "\n\n".join((*(line for line in lines if line), NOTICE))})

    def metrics(
        self,
        values: Mapping[str, float],
        *,
        step: int | None = None,
        model_id: str | None = None,
        dataset: Any = None,
    ) -> None:
        """Log figures. model_id, dataset: of the logged model that they are figures of, and of what it was scored on.

        The UI's page of models then has a column for each, by data set.
        """
        figures = {name: float(value) for name, value in values.items()}
        with _no_advice_on_schemas():
            mlflow.log_metrics(figures, step=step, model_id=model_id, dataset=dataset)

    def steps(self, metric: str) -> set[int]:
        """The steps at which the run has that metric."""
        return {point.step for point in mlflow.MlflowClient().get_metric_history(self.run_id, metric)}

    def tags(self, values: Mapping[str, Any]) -> None:
        mlflow.set_tags({name: str(value) for name, value in values.items()})

    def tag(self, name: str) -> str | None:
        """The run's tag of that name, None without one."""
        return mlflow.MlflowClient().get_run(self.run_id).data.tags.get(name)

    @property
    def has_datasets(self) -> bool:
        """Whether data sets were logged on the run, now or before it was resumed."""
        inputs = mlflow.MlflowClient().get_run(self.run_id).inputs
        return inputs is not None and bool(inputs.dataset_inputs)

    def artifact(self, path: str) -> str:
        """Where an artifact of the run is: a file of this machine, or a URI."""
        return mlflow.get_artifact_uri(path).removeprefix("file://")

    def forget_models(self) -> None:
        """Delete the models that an earlier attempt logged on this run."""
        client = mlflow.MlflowClient()
        for model in client.search_logged_models([self.experiment_id]):
            if model.source_run_id == self.run_id:
                client.delete_logged_model(model.model_id)

    def figure(self, figure: Figure, path: str) -> None:
        """Log a figure as PNG; `pictures` keeps it for a report."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
        self.pictures[path] = drawn.getvalue()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_bytes(drawn.getvalue())
            mlflow.log_artifact(str(file), str(Path(path).parent) if "/" in path else None)

    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a frame as JSON that the MLflow UI shows as a table."""
        if self.resumed or path in self._tables:  # MLflow would append
            get_artifact_repository(mlflow.get_artifact_uri()).delete_artifacts(path)
        mlflow.log_table(frame, path)
        self._tables.add(path)

    def frame(self, frame: pd.DataFrame, path: str) -> None:
        """Log a frame as CSV, for other programs."""
        mlflow.log_text(frame.to_csv(index=False), path)

    def text(self, text: str, path: str) -> None:
        """Log a text file."""
        mlflow.log_text(text, path)

    def dictionary(self, values: Mapping[str, Any], path: str) -> None:
        mlflow.log_dict(dict(values), path)

    def file(self, path: Path, *, folder: str | None = None) -> None:
        """Log a file under its own name."""
        mlflow.log_artifact(str(path), folder)

    def dataset(self, frame: pd.DataFrame, *, source: Path, name: str, digest: str, context: str) -> None:
        """Log a data set with our own digest."""
        self.input(dataset_of(frame, source=source, name=name, digest=digest), context=context)

    def input(self, dataset: Any, *, context: str) -> None:
        """Log a data set that dataset_of made.

        Two runs that log one that is new to the store at once clash in it: the later one finds it there the next time.
        """
        with _no_advice_on_schemas():
            try:
                mlflow.log_input(dataset, context=context)
            except MlflowException as error:
                if "unique" not in str(error).lower():
                    raise
                mlflow.log_input(dataset, context=context)


def dataset_of(frame: pd.DataFrame, *, source: Path, name: str, digest: str) -> Any:
    """A data set as MLflow knows it, without logging it. Of our own digest it takes 36 characters at most."""
    with _no_advice_on_schemas():
        return from_pandas(frame, source=str(source), name=name, digest=digest[:36])


@contextmanager
def _no_advice_on_schemas() -> Iterator[None]:
    """MLflow wonders which kind of local path a data set is, and whether integers may be missing: neither matters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@contextmanager
def start_run(
    stage: str,
    *,
    nested: bool = False,
    tags: Mapping[str, Any] | None = None,
    resume: str | None = None,
    system_metrics: bool = False,
    name: str | None = None,
    parent: str | None = None,
    private: bool = False,
) -> Iterator[Run]:
    """A run of that stage: FINISHED at the end, FAILED with its reason as a tag where an error leaves it.

    Under `mlflow run` the outermost call joins the run that MLflow has already started. resume: id of a run to go
    on in instead; then MLflow's own one only points to it. system_metrics: log CPU, memory, disk, network and GPU.
    name: the user's, by run_named, where None, or the stage's, until Run.call says more. parent: id of a run of another
    process that this one is a child of; the tags are there from the run's first moment. private: of an error only its
    kind is kept, since messages name paths.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # its advice is not about us
    root = _root_of(parent or _active_id() if nested or parent else None)
    if not nested and parent is None:
        name = name or _NAMED.get() or None
    if resume:  # before it is RUNNING again, lest it be taken for the killed process's
        mlflow.MlflowClient().set_tag(resume, PROCESS_TAG, this_process())
    with mlflow.start_run(
        run_id=resume,
        run_name=None if resume else name or stage,
        nested=nested or parent is not None,
        parent_run_id=None if resume else parent,
        tags=None if resume else dict(tags or {}),
        log_system_metrics=system_metrics,
    ) as active:
        if resume:
            _point_to(resume)
        # A run that was joined has a made-up name.
        mlflow.MlflowClient().update_run(active.info.run_id, name=name or stage)
        run = Run(active, resumed=resume is not None, stage=stage, has_name=name is not None)
        about = {STAGE_TAG: stage, "ich.version": __version__, "ich.notice": NOTICE, **root}
        run.tags({**about, PROCESS_TAG: this_process(), **(tags or {})})
        try:
            yield run
        except BaseException as error:
            said = type(error).__name__ if private else f"{type(error).__name__}: {error}"
            if is_of_store(error):  # MLflow has tried for minutes, and would for as long to end the run
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            _tag_failed(said)
            raise
        with suppress(MlflowException):  # a search is one run of several machines: another has done it
            mlflow.delete_tag(PROCESS_TAG)
        if "ich.error" in active.data.tags:  # of the attempt before
            mlflow.delete_tag("ich.error")
    if run.status != "FINISHED":
        mlflow.MlflowClient().set_terminated(run.run_id, run.status)


def _tag_failed(said: str) -> None:
    """Say on the active run why it failed. That this can't be said must not hide it."""
    with suppress(MlflowException):
        mlflow.set_tag("ich.error", said[:5000])
        mlflow.delete_tag(PROCESS_TAG)


def _active_id() -> str | None:
    active = mlflow.active_run()
    return None if active is None else str(active.info.run_id)


def _root_of(around: str | None) -> dict[str, str]:
    """The tag of a run within that one; none of an outermost run."""
    if around is None:
        return {}
    tags = mlflow.MlflowClient().get_run(around).data.tags
    return {ROOT_TAG: tags.get(ROOT_TAG) or tags.get(STAGE_TAG, "")}


def join_tracking(uri: str, experiment_id: str) -> None:
    """In a worker process: log where the parent logs, and into runs of one's own, not into the parent's."""
    os.environ.pop("MLFLOW_RUN_ID", None)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(experiment_id=experiment_id)


def child_run(parent: str, experiment_id: str, *, tag: str, value: object) -> str | None:
    """The id of the child run that bears the tag with that value; None where there is none."""
    found = mlflow.MlflowClient().search_runs(
        [experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}' AND tags.`{tag}` = '{value}'",
        max_results=1,
    )
    return found[0].info.run_id if found else None


def why_not_resumable(run_id: str, *, finished: bool = False) -> str | None:
    """Why nothing can go on in that run, in a few words; None where it can. finished: a finished one may too."""
    try:
        run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException:
        return f"is not in {mlflow.get_tracking_uri()}"
    if run.info.lifecycle_stage != "active":
        return "was deleted"
    if run.info.status == "FINISHED" and not finished:
        return "is finished"
    if run.info.experiment_id != _get_experiment_id():
        return "belongs to another experiment"
    return None


def _point_to(run_id: str) -> None:
    """Say on the run that `mlflow run` has made for this process, if it has, which run the work is done in."""
    made = os.environ.pop("MLFLOW_RUN_ID", None)
    if made and made != run_id:
        client = mlflow.MlflowClient()
        client.set_tag(made, "ich.resumed_run", run_id)
        client.set_tag(made, "mlflow.note.content", f"Goes on in run {run_id}.")
        client.update_run(made, name=f"resumes {run_id[:8]}")
