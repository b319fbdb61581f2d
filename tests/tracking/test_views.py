"""Prepared views of the UI: what the tag holds, and the links."""

import base64
import json
import zlib

import mlflow
import pytest

from ich_mlflow.tracking.run import run_named, start_run
from ich_mlflow.tracking.views import VIEWS, last_run_said, run_link, view_link


@pytest.fixture(autouse=True)
def _workspace(workspace):
    pass


def kept_view(experiment_id, key):
    said = json.loads(mlflow.get_experiment(experiment_id).tags[f"mlflow.sharedViewState.{key}"])
    method, state = said["state"].split(";")
    assert method == "deflate"
    return said["name"], json.loads(zlib.decompress(base64.b64decode(state)))


def test_what_was_done_is_said_with_a_link_to_a_view_that_is_there():
    with start_run("evaluate") as run:
        pass
    said = last_run_said()
    link = (
        f"/#/experiments/{run.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=ichevaluate"
    )
    assert said == f"Look at it:           mlflow ui --workers 1, then http://127.0.0.1:5000{link}"
    name, state = kept_view(run.experiment_id, "ichevaluate")
    assert name == "evaluate: figures of test splits"
    assert state["searchFilter"] == "tags.`ich.stage` = 'evaluate'"
    assert state["selectedColumns"][:2] == ["metrics.`any_auc`", "metrics.`any_auc_low`"]


def test_a_stage_without_a_view_is_linked_by_its_run():
    with start_run("preprocess") as run:
        pass
    assert last_run_said().endswith(
        f"/#/experiments/{run.experiment_id}/runs/{run.run_id}?workflowType=machine_learning"
    )


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("http://somebody:secret@mlflow.hospital:8080/", "http://mlflow.hospital:8080"),
        ("https://mlflow.hospital/team", "https://mlflow.hospital/team"),
    ],
)
def test_a_link_to_a_server_has_its_address_and_no_password(monkeypatch, uri, server):
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    assert run_link("3", "abc") == f"{server}/#/experiments/3/runs/abc?workflowType=machine_learning"
    assert view_link("3", VIEWS["train"]).startswith(f"{server}/#/experiments/3/runs?")


def test_every_view_has_a_key_of_its_own_and_columns():
    assert len({view.key for view in VIEWS.values()}) == len(VIEWS)
    assert all(view.columns() and view.key.isalnum() for view in VIEWS.values())


def test_the_name_that_a_user_gave_is_the_outermost_runs_and_stays():
    with run_named("mine"), start_run("main") as outer:
        outer.call("other", "words")
        with start_run("train", nested=True) as inner:
            inner.call("recipe")
    assert mlflow.get_run(outer.run_id).info.run_name == "mine"
    assert mlflow.get_run(inner.run_id).info.run_name == "train recipe"


def test_a_description_is_what_the_ui_shows():
    with start_run("train") as run:
        run.describe("**Told**: much", "", "**Next**: more")
    assert mlflow.get_run(run.run_id).data.tags["mlflow.note.content"] == (
        "**Told**: much\n\n**Next**: more\n\nResearch software, not a medical device."
    )


def test_the_view_of_main_finds_its_parts_and_that_of_train_those_of_a_main():
    with (
        start_run("main") as outer,
        start_run("train", nested=True) as inner,
        start_run("preprocess", nested=True) as innermost,
    ):
        pass
    with start_run("train") as alone:
        pass

    def found(stage):
        runs = mlflow.search_runs(filter_string=VIEWS[stage].search, output_format="list")
        return {run.info.run_id for run in runs}

    assert {inner.run_id, innermost.run_id} <= found("main")
    assert not {outer.run_id, alone.run_id} & found("main")  # the UI adds the outer one
    assert {inner.run_id, alone.run_id} <= found("train")
