"""Finding runs and models, and registering versions."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import IchError, ModelError, PromotionError, first_line, nearest
from ich_mlflow.tracking.answers import expect_absent
from ich_mlflow.tracking.lock import SUFFIX as LOCK_SUFFIX
from ich_mlflow.tracking.places import why_files_gone
from ich_mlflow.tracking.run import STAGE_TAG

CHAMPION = "champion"
#: Of the models that a run logged: the one that is served, and the Keras model that it was packed from.
MODEL_URI_TAG, KERAS_URI_TAG = "ich.serving_model_uri", "ich.keras_model_uri"
_BY_ROLE = {"serving": MODEL_URI_TAG, "keras": KERAS_URI_TAG}
_PAGE = 1000


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


def finished_trainings(num_classes: int) -> list[TrainedRun]:
    """The finished training runs of that class scheme, of all experiments, the newest first."""
    found = _search(
        f"attributes.status = 'FINISHED' AND tags.`{STAGE_TAG}` = 'train' "
        f"AND params.`hp.num_classes` = '{num_classes}'",
        order_by="attributes.start_time DESC",
    )
    return [_trained(run) for run in found]


def _search(condition: str, *, order_by: str) -> list[Any]:
    """Every run of all experiments that meets it."""
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments, filter_string=condition, order_by=[order_by], max_results=_PAGE, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def expect_run(run_id: str, error: type[IchError], *, wanted: str = "a train run") -> Any:
    """The run with that id. Raises `error` where the tracking store has none, as another store may."""
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException:
        raise error(
            f"run {run_id} is not in {mlflow.get_tracking_uri()}: take the id of {wanted} from the UI, or run where "
            "the run was made, or set MLFLOW_TRACKING_URI"
        ) from None


def training_run(run_id: str) -> TrainedRun:
    """The training run with that id, or the run that recalibrated one's model. Raises PromotionError for others."""
    run = expect_run(run_id, PromotionError)
    if run.data.tags.get(STAGE_TAG) not in ("train", "recalibrate") or run.info.status != "FINISHED":
        raise PromotionError(
            f"run {run_id!r} is a {run.data.tags.get(STAGE_TAG, 'foreign')} run and {run.info.status}, "
            "expected a FINISHED train run"
        )
    return _trained(run)


def alias_version(model_name: str, alias: str) -> str | None:
    """The version number that the alias points to, None where there is none. PromotionError where nobody answers."""
    try:
        return str(MlflowClient().get_model_version_by_alias(model_name, alias).version)
    except MlflowException as error:
        expect_absent(error, model_name)
        return None


def register(model_uri: str, *, model_name: str, tags: dict[str, Any], description: str) -> str:
    """Register a logged model as a new version of that name. Returns the version."""
    found = mlflow.register_model(
        model_uri, model_name, tags={name: str(value) for name, value in tags.items()}
    )
    MlflowClient().update_model_version(model_name, found.version, description=description)
    return str(found.version)


def describe_model(model_name: str, description: str) -> None:
    """Give a registered model its description, where it has none: a user's own words stay."""
    client = MlflowClient()
    if not client.get_registered_model(model_name).description:
        client.update_registered_model(model_name, description)


def full_model_uri(text: str) -> str:
    """A model URI of what a user types: `ich-5class@champion` and `ich-5class/3` are of the registry.

    An alias becomes the version that it points to now, so that what is written down stays true when it moves.
    `runs:/<run id>/serving` and `runs:/<run id>/keras` are what that run logged, whatever its models are called.
    """
    by_role = re.fullmatch(r"runs:/(\w+)/(serving|keras)", text)
    if by_role:
        return _logged_by(*by_role.groups()) or text
    uri = f"models:/{text}" if re.fullmatch(r"[\w-]+(@[\w.-]+|/\d+)", text) else text
    alias = re.fullmatch(r"models:/([^/@]+)@([^/@]+)", uri)
    if alias:
        try:
            version = MlflowClient().get_model_version_by_alias(*alias.groups())
        except MlflowException:
            return uri  # whoever loads it says what is wrong
        return f"models:/{alias.group(1)}/{version.version}"
    return uri


def _logged_by(run_id: str, role: str) -> str:
    """The URI of the model that a run logged in that role; '' where it says of none, as a run of 0.1."""
    try:
        return str(MlflowClient().get_run(run_id).data.tags.get(_BY_ROLE[role], ""))
    except MlflowException:
        return ""  # whoever loads it says what is wrong


def run_of_model(model_uri: str) -> str:
    """The id of the training run that logged the model. Raises ModelError where the model isn't found."""
    try:
        return str(mlflow.models.get_model_info(model_uri).run_id)
    except (MlflowException, OSError) as error:
        if gone := why_files_gone(model_uri):
            raise ModelError(f"model {model_uri!r} is known, but {gone}") from None
        raise ModelError(
            f"model {model_uri!r} is not to be found ({first_line(error)}): expected for example "
            "models:/ich-5class@champion, which promote makes, or runs:/<run id>/serving"
            f"{_nearest_model(model_uri)}"
        ) from None


def _nearest_model(model_uri: str) -> str:
    """What `nearest` says of a registered name that is unknown, or of a known one's alias or version."""
    named = re.fullmatch(r"models:/([^/@]+)[/@].+", model_uri)
    if not named:
        return ""
    name, client = named.group(1), MlflowClient()
    try:
        models = {model.name: model for model in client.search_registered_models(max_results=1000)}
        if name not in models:
            return nearest(name, (known for known in models if LOCK_SUFFIX not in known))
        versions = [
            f"{name}/{version.version}" for version in client.search_model_versions(f"name = '{name}'")
        ]
    except MlflowException:
        return ""
    aliases = [f"{name}@{alias}" for alias in models[name].aliases]
    return nearest(model_uri.removeprefix("models:/"), [*aliases, *versions])


def logged_model_id(model_uri: str) -> str | None:
    """The id of the logged model behind a model URI; None where this tracking store has none, as of another store's."""
    try:
        model_id = mlflow.models.get_model_info(model_uri).model_id
        return str(MlflowClient().get_logged_model(model_id).model_id) if model_id else None
    except (MlflowException, OSError):
        return None


def run_parameters(run_id: str) -> dict[str, str]:
    """The params of a run; none where the run is not in this tracking store (a model may come from elsewhere)."""
    try:
        return dict(MlflowClient().get_run(run_id).data.params)
    except MlflowException:
        return {}


def run_name(run_id: str) -> str:
    """The name of a run; '' where the run is not in this tracking store."""
    try:
        return str(MlflowClient().get_run(run_id).info.run_name)
    except MlflowException:
        return ""


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
    found = _search(
        f"attributes.status = 'FINISHED' AND tags.`{STAGE_TAG}` = 'evaluate' "
        f"AND tags.`ich.trained_run` = '{trained_run}' AND params.`data.digest` = '{data_digest}'",
        order_by="attributes.start_time DESC",
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
