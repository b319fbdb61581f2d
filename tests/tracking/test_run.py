from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import DataError
from ich_mlflow.tracking.run import start_run


def _run(run_id):
    return mlflow.MlflowClient().get_run(run_id)


def test_a_run_says_its_stage_and_that_this_is_research_software(workspace):
    with start_run("preprocess") as run:
        run.params({"seed": 1}, prefix="preprocess")
        run.metrics({"val/auc/macro": 0.5}, step=2)
    done = _run(run.run_id)
    assert done.info.status == "FINISHED"
    assert done.data.tags["ich.stage"] == "preprocess"
    assert "not a medical device" in done.data.tags["ich.notice"]
    assert done.data.params["preprocess.seed"] == "1"
    assert done.data.metrics["val/auc/macro"] == 0.5


def test_an_error_marks_the_run_failed_and_keeps_its_reason(workspace):
    with pytest.raises(DataError), start_run("train") as run:
        raise DataError("no such folder")
    done = _run(run.run_id)
    assert done.info.status == "FAILED"
    assert done.data.tags["ich.error"] == "DataError: no such folder"


def test_a_nested_run_is_a_child_of_the_one_around_it(workspace):
    with start_run("main") as parent, start_run("train", nested=True) as child:
        pass
    assert _run(child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_under_mlflow_run_the_first_run_joins_the_projects(workspace, monkeypatch):
    project_run = mlflow.MlflowClient().create_run("1", tags={"from": "mlflow run"})
    monkeypatch.setenv("MLFLOW_RUN_ID", project_run.info.run_id)
    with start_run("train") as run:
        pass
    assert run.run_id == project_run.info.run_id
    assert _run(run.run_id).info.run_name == "train"


def test_a_dataset_is_logged_with_our_digest(workspace, tmp_path):
    with start_run("preprocess") as run:
        run.dataset(
            pd.DataFrame({"a": [1, 2]}), source=tmp_path, name="phantom", digest="d" * 64, context="training"
        )
    logged = _run(run.run_id).inputs.dataset_inputs[0]
    assert (logged.dataset.name, logged.dataset.digest) == ("phantom", "d" * 36)


def test_a_run_is_named_by_what_tells_it_apart_unless_it_was_given_a_name(workspace):
    def name_of(run):
        return mlflow.get_run(run.run_id).info.run_name

    with start_run("train") as run:
        assert name_of(run) == "train"
        run.call("model-3", "4 classes", "", "b0 128")
        assert name_of(run) == "train model-3 · 4 classes · b0 128"
        with start_run("fold", name="fold 0", nested=True) as fold:
            fold.call("anything")
            assert name_of(fold) == "fold 0"


def test_a_data_set_that_another_run_logs_at_the_same_moment_is_logged_all_the_same(workspace, monkeypatch):
    log_input, asked = mlflow.log_input, []

    def clashes(dataset, context):
        asked.append(context)
        if len(asked) == 1:
            raise MlflowException("(psycopg.errors.UniqueViolation) duplicate key value")
        log_input(dataset, context=context)

    monkeypatch.setattr(mlflow, "log_input", clashes)
    with start_run("train") as run:
        run.dataset(pd.DataFrame({"a": [1]}), source=Path("set"), name="a", digest="1", context="test")
    assert asked == ["test", "test"]
    assert mlflow.get_run(run.run_id).inputs.dataset_inputs[0].dataset.name == "a"
