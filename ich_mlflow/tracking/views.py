"""Prepared views of MLflow's UI: a stage's runs with the columns that matter, under "Views" and behind a link.

The UI keeps a saved view in a tag of the experiment, `mlflow.sharedViewState.<key>`: its name, and its state as
deflated JSON in base64 (MLflow 3.17, looked at). It opens as model training only where the link says so.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.commands import LOOK_AT_RUNS
from ich_mlflow.tracking.run import ROOT_TAG, STAGE_TAG

#: Where `mlflow ui` listens on the machine that it is typed on.
LOCAL_UI = "http://127.0.0.1:5000"
_TAG = "mlflow.sharedViewState."
#: The column of the run's name, and widths in pixels.
_NAME, _NAME_WIDTH, _WIDTH = "attributes.`Run Name`", 360, 120
_TRAIN_PARAMS = ("hp.recipe", "hp.num_classes", "hp.backbone", "hp.image_size", "hp.windows", "data.source")


@dataclass(frozen=True, kw_only=True)
class View:
    """Runs of a stage, the newest first: its name in the UI, and the columns beside the run's name and age.

    has_parts: whether the runs within its runs are shown too, which the UI folds up under each.
    """

    name: str
    stage: str
    has_parts: bool = False
    metrics: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of the link: letters and digits, as the UI's own."""
        return f"ich{self.stage}"

    @property
    def search(self) -> str:
        """Of the runs, as typed into the UI."""
        # the UI adds the runs around those that it finds
        return f"tags.`{ROOT_TAG if self.has_parts else STAGE_TAG}` = '{self.stage}'"

    def columns(self) -> list[str]:
        """As the UI names them."""
        of_kind = {"metrics": self.metrics, "params": self.params, "tags": self.tags}
        return [f"{kind}.`{name}`" for kind, names in of_kind.items() for name in names]

    def state(self) -> dict[str, object]:
        """All that the UI needs to draw the page."""
        return {
            "searchFilter": self.search,
            "orderByKey": "attributes.start_time",
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": self.columns(),
            "columnOrder": [_NAME, *self.columns()],
            "columnWidths": {_NAME: _NAME_WIDTH, **dict.fromkeys(self.columns(), _WIDTH)},
            "runsHiddenMode": "FIRST_10_RUNS",
            "hideEmptyCharts": True,
            "useGroupedValuesInCharts": True,
            "groupBy": None,
        }


#: Names of figures are evaluation.logged's.
VIEWS: Mapping[str, View] = {
    view.stage: view
    for view in (
        View(
            name="train: what was told, what validation says",
            stage="train",
            metrics=("any_auc_val", "auc_macro_val", "any_exam_auc_val", "val/loss", "best_epoch"),
            params=_TRAIN_PARAMS,
        ),
        View(
            name="evaluate: figures of test splits",
            stage="evaluate",
            metrics=(
                *("any_auc", "any_auc_low", "any_auc_high", "any_sensitivity", "any_specificity"),
                *("auc_macro", "f1_macro", "accuracy", "any_exam_auc"),
            ),
            params=("data.source",),
            tags=("ich.model_uri", "ich.test_look"),
        ),
        View(
            name="compare: several models on one test split",
            stage="compare",
            params=("data.source",),
            tags=("ich.answer", "ich.test_models"),
        ),
        View(
            name="recalibrate: before and after on local exams",
            stage="recalibrate",
            metrics=(
                *("any_exam_brier_skill_before", "any_exam_brier_skill_after"),
                *("any_exam_sensitivity_before", "any_exam_sensitivity_after"),
                *("any_exam_specificity_before", "any_exam_specificity_after"),
            ),
            params=("local.source",),
            tags=("ich.recalibrated_from", "ich.to"),
        ),
        View(
            name="main: from data to champion",
            stage="main",
            has_parts=True,
            metrics=("any_auc", "auc_macro", "any_exam_auc"),
            params=("main.source", "main.recipe", "main.num_classes"),
        ),
        View(
            name="tune: searches and their trials",
            stage="tune",
            has_parts=True,
            metrics=("value",),
            params=("tune.trials", "tune.recipe", "tune.num_classes"),
        ),
        View(
            name="promote: decisions", stage="promote", tags=("ich.promoted", "ich.why", "ich.from", "ich.to")
        ),
        View(
            name="predict: studies scored",
            stage="predict",
            metrics=("predict/studies", "predict/flagged", "predict/seconds_to_scores"),
            params=("predict.model",),
        ),
        View(
            name="monitor: windows of a deployed model",
            stage="monitor",
            metrics=("monitor/drifted", "monitor/exams", "monitor/flag_rate", "monitor/smallest_p"),
            tags=("ich.answer", "ich.window", "ich.model"),
        ),
    )
}


def prepare(experiment_id: str, view: View) -> None:
    """Keep the view in the experiment, for its link and for the UI's list of views."""
    state = base64.b64encode(zlib.compress(json.dumps(view.state()).encode(), 9)).decode()
    said = {"name": view.name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{state}"}
    MlflowClient().set_experiment_tag(experiment_id, _TAG + view.key, json.dumps(said))


def view_link(experiment_id: str, view: View) -> str:
    """Opens the UI on that view, as model training."""
    return f"{_server()}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={view.key}"


def run_link(experiment_id: str, run_id: str) -> str:
    """Opens the UI on that run, as model training."""
    return f"{_server()}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def last_run_said() -> str:
    """Where the last run of this process can be looked at, its view prepared; '' without one, or if nobody answers."""
    run = mlflow.last_active_run()
    if run is None:
        return ""
    experiment_id, view = run.info.experiment_id, VIEWS.get(run.data.tags.get(STAGE_TAG, ""))
    link = run_link(experiment_id, run.info.run_id)
    try:
        if view is not None:
            prepare(experiment_id, view)
            link = view_link(experiment_id, view)
    except MlflowException:
        return ""
    typed = "" if _is_served() else f"{LOOK_AT_RUNS}, then "
    return f"Look at it:           {typed}{link}"


def _is_served() -> bool:
    return urlsplit(mlflow.get_tracking_uri()).scheme in ("http", "https")


def _server() -> str:
    """Without a user's name and password, which a link must not show."""
    if not _is_served():
        return LOCAL_UI
    uri = urlsplit(mlflow.get_tracking_uri())
    return f"{uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path.rstrip('/')}"
