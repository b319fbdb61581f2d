"""kill -9 in the middle of a training, and the same command again: the same run, the same end."""

import json
import os
import signal

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.options import TrainOptions
from ich_mlflow.workflows import train as module
from ich_mlflow.workflows.train import train
from tests.factories import training_process

EPOCHS = 4


@pytest.fixture
def options(stored_set, tmp_path):
    return {
        "data": str(stored_set.path),
        "image_size": "32",
        "epochs": str(EPOCHS),
        "batch_size": "8",
        "learning_rate": "0.01",
        "weights": "random",
        "checkpoints": str(tmp_path / "checkpoints"),
    }


def _kill_after_epoch(process, epoch):
    for line in process.stdout:
        if line.startswith(f"epoch {epoch}/{EPOCHS}  loss"):  # a progress bar begins alike
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL


def _finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output, next(line.split()[1] for line in output.splitlines() if line.startswith("RUN "))


def test_after_kill_9_the_same_run_goes_on_and_ends_as_an_uninterrupted_one(
    workspace, tiny_backbone, options, tmp_path
):
    uri = mlflow.get_tracking_uri()
    killed = training_process(workspace, uri, options)
    _kill_after_epoch(killed, 2)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    assert mlflow.get_run(folder.name).info.status == "RUNNING"
    # as `mlflow run` does: a run of its own for this process, which only points to the other
    made = mlflow.MlflowClient().create_run("1").info.run_id
    os.environ["MLFLOW_RUN_ID"] = made
    try:
        output, run_id = _finish(training_process(workspace, uri, {**options, "resume": "true"}))
    finally:
        del os.environ["MLFLOW_RUN_ID"]
    assert f"goes on with run {folder.name}" in output
    assert run_id == folder.name
    assert not list((tmp_path / "checkpoints").iterdir())  # finished, so nothing is kept
    assert mlflow.get_run(made).data.tags["ich.resumed_run"] == run_id

    whole = train(TrainOptions(**options))
    client = mlflow.MlflowClient()
    resumed, uninterrupted = client.get_run(run_id), client.get_run(whole.run_id)
    assert resumed.info.status == "FINISHED"
    for metric in ("epoch/loss", "epoch/val_loss"):
        points, expected = (client.get_metric_history(run, metric) for run in (run_id, whole.run_id))
        assert [point.step for point in points] == list(range(EPOCHS))
        np.testing.assert_allclose([p.value for p in points], [p.value for p in expected], rtol=1e-3)
    assert resumed.data.metrics["val/loss"] == pytest.approx(uninterrupted.data.metrics["val/loss"], rel=1e-3)
    models = [mlflow.keras.load_model(f"runs:/{run}/keras") for run in (run_id, whole.run_id)]
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/history.json")
    assert len(table["data"]) == EPOCHS


def test_without_something_to_resume_a_training_begins_and_says_in_what_the_other_differs(
    workspace, tiny_backbone, options, tmp_path, capsys
):
    other = tmp_path / "checkpoints" / "abc"
    other.mkdir(parents=True)
    note = {"run_id": "abc", "options": {**TrainOptions(**options).__dict__, "epochs": "9"}}
    (other / "training.json").write_text(json.dumps(note))
    (tmp_path / "checkpoints" / "damaged").mkdir()
    (tmp_path / "checkpoints" / "damaged" / "training.json").write_text("{")
    trained = train(TrainOptions(**{**options, "epochs": "1", "resume": "true"}))
    assert "(abc differs in epochs (9, here 1)), so one begins" in capsys.readouterr().out
    assert trained.run_id != "abc"
    assert other.is_dir()  # it is not ours to remove


def test_a_training_that_is_still_running_is_not_resumed(workspace, tiny_backbone, options, tmp_path):
    uri = mlflow.get_tracking_uri()
    running = training_process(workspace, uri, {**options, "epochs": "1000", "patience": "1000"})
    try:
        for line in running.stdout:
            if line.startswith("epoch 1/1000  loss"):
                break
        (first,) = (path.name for path in (tmp_path / "checkpoints").iterdir())
        second = training_process(
            workspace, uri, {**options, "epochs": "1000", "patience": "1000", "resume": "true"}
        )
        said = next(line for line in second.stdout if line.startswith("resume:"))
        second.kill()
        second.wait()
    finally:
        running.kill()
        running.wait()
    assert "so one begins" in said
    assert first not in said


def test_changed_data_are_not_gone_on_with(workspace, tiny_backbone, options, tmp_path):
    killed = training_process(workspace, mlflow.get_tracking_uri(), options)
    _kill_after_epoch(killed, 1)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    note = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps({**note, "digest": "0" * 64}))
    with pytest.raises(DataError, match="has changed since run"):
        train(TrainOptions(**options, resume="true"))
    assert folder.is_dir()


def test_a_training_that_fails_keeps_its_best_weights_and_says_where(
    workspace, tiny_backbone, options, monkeypatch
):
    whole_fit = module.fit

    def fails(*args, on_epoch, **kwargs):
        def then(epoch, figures):
            on_epoch(epoch, figures)
            if epoch == 1:
                raise ModelError("the training loss of epoch 3 is nan")

        return whole_fit(*args, on_epoch=then, **kwargs)

    monkeypatch.setattr(module, "fit", fails)
    with pytest.raises(ModelError, match=r"is nan\. The best epoch's weights are kept: -P weights=") as error:
        train(TrainOptions(**options))
    path = str(error.value).split("-P weights=")[1]
    run = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    assert run.info.status == "FAILED"
    assert [item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "checkpoint")] == [
        "checkpoint/best.keras"
    ]
    monkeypatch.setattr(module, "fit", whole_fit)
    again = train(TrainOptions(**{**options, "weights": path, "epochs": "1"}))
    assert mlflow.get_run(again.run_id).data.params["weights.start"] == "file:best.keras"
