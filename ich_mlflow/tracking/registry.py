"""Finding runs and models, and registering versions."""

import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import ModelError, PromotionError
from ich_mlflow.tracking.run import STAGE_TAG

CHAMPION = "champion"
MODEL_URI_TAG = "ich.serving_model_uri"


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A finished training run: its id, name, metrics, params, tags and the URI of its serving model."""

    run_id: str
    name: str
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def model_uri(self) -> str:
        return self.tags[MODEL_URI_TAG]


def best_training_run(
    *, num_classes: int, metric: str, lowest: bool = False, but: Container[str] = ()
) -> TrainedRun:
    """The finished training run of that class scheme with the highest metric (or lowest), over all experiments.

    but: ids of runs to pass over. Raises PromotionError where there is none.
    """
    client = MlflowClient()
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        filter_string=(
            f"attributes.status = 'FINISHED' AND tags.`{STAGE_TAG}` = 'train' "
            f"AND params.`hp.num_classes` = '{num_classes}' AND metrics.`{metric}` >= 0"
        ),
        order_by=[f"metrics.`{metric}` {'ASC' if lowest else 'DESC'}"],
        max_results=1000,
    )
    left = [run for run in found if run.info.run_id not in but]
    if not left:
        also = ", but for those that were rolled back" if found else ""
        raise PromotionError(
            f"no finished training run with num_classes={num_classes} and a {metric} in "
            f"{mlflow.get_tracking_uri()}{also}: run mlflow run . -e train -P num_classes={num_classes}"
        )
    return _trained(left[0])


def training_run(run_id: str) -> TrainedRun:
    """The training run with that id. Raises PromotionError where it is no finished training run."""
    try:
        run = MlflowClient().get_run(run_id)
    except MlflowException:
        raise PromotionError(
            f"run {run_id!r} is not in {mlflow.get_tracking_uri()}: take the id of a train run from the UI"
        ) from None
    if run.data.tags.get(STAGE_TAG) != "train" or run.info.status != "FINISHED":
        raise PromotionError(
            f"run {run_id!r} is a {run.data.tags.get(STAGE_TAG, 'foreign')} run and {run.info.status}, "
            "expected a FINISHED train run"
        )
    return _trained(run)


def champion_version(model_name: str) -> str | None:
    """The version number that the alias champion points to, None where there is none."""
    try:
        return str(MlflowClient().get_model_version_by_alias(model_name, CHAMPION).version)
    except MlflowException:
        return None


def register(model_uri: str, *, model_name: str, tags: dict[str, Any], description: str) -> str:
    """Register a logged model as a new version of that name. Returns the version."""
    found = mlflow.register_model(
        model_uri, model_name, tags={name: str(value) for name, value in tags.items()}
    )
    MlflowClient().update_model_version(model_name, found.version, description=description)
    return str(found.version)


def full_model_uri(text: str) -> str:
    """A model URI of what a user types: `ich-5class@champion` and `ich-5class/3` are of the registry.

    An alias becomes the version that it points to now, so that what is written down stays true when it moves.
    """
    uri = f"models:/{text}" if re.fullmatch(r"[\w-]+(@[\w.-]+|/\d+)", text) else text
    alias = re.fullmatch(r"models:/([^/@]+)@([^/@]+)", uri)
    if alias:
        try:
            version = MlflowClient().get_model_version_by_alias(*alias.groups())
        except MlflowException:
            return uri  # whoever loads it says what is wrong
        return f"models:/{alias.group(1)}/{version.version}"
    return uri


def run_of_model(model_uri: str) -> str:
    """The id of the training run that logged the model. Raises ModelError where the model isn't found."""
    try:
        return str(mlflow.models.get_model_info(model_uri).run_id)
    except (MlflowException, OSError) as error:
        raise ModelError(
            f"model {model_uri!r} is not to be found ({_first_line(error)}): expected for example "
            "models:/ich-5class@champion, which promote makes, or runs:/<run id>/serving"
        ) from None


def run_parameters(run_id: str) -> dict[str, str]:
    """The params of a run; none where the run is not in this tracking store (a model may come from elsewhere)."""
    try:
        return dict(MlflowClient().get_run(run_id).data.params)
    except MlflowException:
        return {}


def run_artifact(run_id: str, path: str) -> bytes | None:
    """The bytes of a run's artifact; None where the run or the artifact is not there."""
    try:
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)).read_bytes()
    except (MlflowException, OSError):
        return None


def describe_versions(trained_run: str, description: str) -> list[str]:
    """Give every registered version of that training run the description; return them as `name/version`."""
    client = MlflowClient()
    found = client.search_model_versions(f"tags.`ich.run_id` = '{trained_run}'")
    for version in found:
        client.update_model_version(version.name, version.version, description=description)
    return [f"{version.name}/{version.version}" for version in found]


def evaluation_of(trained_run: str, *, data_digest: str) -> str | None:
    """The id of the newest finished evaluate run of that training run on that data; None where there is none."""
    client = MlflowClient()
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()],
        filter_string=(
            f"attributes.status = 'FINISHED' AND tags.`{STAGE_TAG}` = 'evaluate' "
            f"AND tags.`ich.trained_run` = '{trained_run}' AND params.`data.digest` = '{data_digest}'"
        ),
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0].info.run_id if found else None


def tracking_uri() -> str:
    return mlflow.get_tracking_uri()


def _trained(run: Any) -> TrainedRun:
    return TrainedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
