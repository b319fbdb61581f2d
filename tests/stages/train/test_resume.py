"""kill -9 in the middle of a training, and the same command again: the same run, the same end."""

import json
import os
import signal
from contextlib import ExitStack

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import DataError, ModelError, TrainingError
from ich_mlflow.stages.common import training_job as job_module
from ich_mlflow.stages.common.unfinished import to_resume, what_counts
from ich_mlflow.stages.train import train as train_module
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import TrainedModel, train
from ich_mlflow.system.processes import locked
from ich_mlflow.tracking.registry import full_model_uri
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
        output, run_id = _finish(training_process(workspace, uri, {**options, "resume": True}))
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
    models = [mlflow.keras.load_model(full_model_uri(f"runs:/{run}/keras")) for run in (run_id, whole.run_id)]
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/history.json")
    assert len(table["data"]) == EPOCHS


def test_without_something_to_resume_a_training_begins_and_says_in_what_the_other_differs(
    workspace, training_skipped, options, tmp_path, capsys
):
    other = tmp_path / "checkpoints" / "abc"
    other.mkdir(parents=True)
    note = {"run_id": "abc", "options": {**what_counts(TrainOptions(**options)), "epochs": "9"}}
    (other / "training.json").write_text(json.dumps(note))
    (tmp_path / "checkpoints" / "damaged").mkdir()
    (tmp_path / "checkpoints" / "damaged" / "training.json").write_text("{")
    trained = train(TrainOptions(**{**options, "epochs": "1", "resume": True}))
    assert "(run abc differs in epochs (9, here 1)), so one begins" in capsys.readouterr().out
    assert trained.run_id != "abc"
    assert other.is_dir()  # it is not ours to remove


def test_a_training_that_is_still_running_is_not_resumed(
    workspace, tiny_backbone, options, tmp_path, monkeypatch, capsys
):
    """Asked for in the middle of it: a lock on a file keeps out this process as it does another."""
    whole_fit, found = job_module.fit, []

    def fit(*args, on_epoch, **kwargs):
        def then(epoch, figures):
            on_epoch(epoch, figures)
            if epoch == 1:  # after the first checkpoint
                assert list((tmp_path / "checkpoints").glob("*/state.npz"))
                with ExitStack() as locks:
                    found.append(to_resume(TrainOptions(**options, resume=True), locks))

        return whole_fit(*args, on_epoch=then, **kwargs)

    monkeypatch.setattr(job_module, "fit", fit)
    running = train(TrainOptions(**options))
    assert found == [None]
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("resume:"))
    assert "so one begins" in said
    assert running.run_id not in said


def test_changed_data_are_not_gone_on_with(workspace, tiny_backbone, options, tmp_path):
    run_id = mlflow.MlflowClient().create_run("1").info.run_id
    folder = _killed_before_its_first_epoch(options, tmp_path, run_id)
    (folder / "state.npz").write_bytes(b"never read")
    note = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps({**note, "digest": "0" * 64}))
    with pytest.raises(DataError, match="has changed since run"):
        train(TrainOptions(**options, resume=True))
    assert folder.is_dir()


def test_a_training_that_fails_keeps_its_best_weights_and_says_where(
    workspace, tiny_backbone, options, monkeypatch
):
    whole_fit = job_module.fit

    def fails(*args, on_epoch, **kwargs):
        def then(epoch, figures):
            on_epoch(epoch, figures)
            if epoch == 1:
                raise TrainingError("the training loss of epoch 3 is nan")

        return whole_fit(*args, on_epoch=then, **kwargs)

    monkeypatch.setattr(job_module, "fit", fails)
    with pytest.raises(ModelError, match=r"is nan\. The best epoch's weights are kept: -P weights=") as error:
        train(TrainOptions(**options))
    path = str(error.value).split("-P weights=")[1]
    run = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    assert run.info.status == "FAILED"
    assert [item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "checkpoint")] == [
        "checkpoint/best.keras"
    ]
    monkeypatch.setattr(job_module, "fit", whole_fit)
    again = train(TrainOptions(**{**options, "weights": path, "epochs": "1"}))
    assert mlflow.get_run(again.run_id).data.params["weights.start"] == "file:best.keras"


def _killed_before_its_first_epoch(options, tmp_path, run_id):
    """What a training leaves that was killed at once: its folder and note."""
    folder = tmp_path / "checkpoints" / run_id
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(
        json.dumps({"run_id": run_id, "options": what_counts(TrainOptions(**options))})
    )
    return folder


@pytest.fixture
def training_skipped(monkeypatch):
    """train() finds or begins its run, and does not train in it: for tests of which run that is."""

    def at_once(training, unfinished, stored):
        return TrainedModel(
            run_id=training.run.run_id, keras_uri="", serving_uri="", stored_path=stored.path, num_classes=5
        )

    monkeypatch.setattr(train_module, "_train", at_once)


@pytest.mark.parametrize("gone", ["deleted", "elsewhere", "finished", "other experiment"])
def test_a_run_that_nothing_can_go_on_in_is_passed_over_with_its_reason(
    workspace, training_skipped, options, tmp_path, capsys, gone
):
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(f"other {tmp_path}") if gone == "other experiment" else "1"
    run_id = client.create_run(experiment).info.run_id
    if gone == "deleted":
        client.delete_run(run_id)
    if gone == "finished":
        client.set_terminated(run_id)
    _killed_before_its_first_epoch(options, tmp_path, "f" * 32 if gone == "elsewhere" else run_id)
    trained = train(TrainOptions(**{**options, "resume": True}))
    assert trained.run_id != run_id
    said = {
        "deleted": "was deleted", "elsewhere": "is not in sqlite", "finished": "is finished",
        "other experiment": "belongs to another experiment",
    }[gone]  # fmt: skip
    assert said in capsys.readouterr().out


def test_a_training_that_was_cut_off_before_its_first_epoch_gets_all_that_a_run_has(
    workspace, tiny_backbone, options, tmp_path
):
    run_id = mlflow.MlflowClient().create_run("1").info.run_id
    _killed_before_its_first_epoch(options, tmp_path, run_id)
    trained = train(TrainOptions(**{**options, "epochs": options["epochs"], "resume": True}))
    assert trained.run_id == run_id
    run = mlflow.get_run(run_id)
    assert run.data.params["hp.epochs"] == str(EPOCHS)
    assert {entry.tags[0].value for entry in run.inputs.dataset_inputs} == {"training", "validation"}
    models = [m.name for m in mlflow.MlflowClient().search_logged_models(["1"]) if m.source_run_id == run_id]
    assert sorted(models) == ["ich-5class", "ich-5class-keras"]


def test_a_training_that_another_process_holds_is_neither_resumed_nor_harmed(
    workspace, training_skipped, options, tmp_path
):
    run_id = mlflow.MlflowClient().create_run("1").info.run_id
    folder = _killed_before_its_first_epoch(options, tmp_path, run_id)
    with locked(folder, "lock"):
        trained = train(TrainOptions(**{**options, "resume": True}))
    assert trained.run_id != run_id
    assert (folder / "training.json").exists()
    assert mlflow.get_run(run_id).info.status == "RUNNING"


def test_a_checkpoint_that_cannot_be_read_is_said_and_no_weights_are_claimed(
    workspace, tiny_backbone, options, tmp_path
):
    run_id = mlflow.MlflowClient().create_run("1").info.run_id
    folder = _killed_before_its_first_epoch(options, tmp_path, run_id)
    note = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(
        json.dumps({**note, "start": {"name": "random", "said": "at random"}})
    )
    (folder / "state.npz").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="can't be read") as refusal:
        train(TrainOptions(**{**options, "resume": True}))
    assert "kept" not in str(refusal.value)
    assert not (folder / "best.keras").exists()


def test_another_start_than_the_first_attempts_is_refused(workspace, tiny_backbone, options, tmp_path):
    run_id = mlflow.MlflowClient().create_run("1").info.run_id
    folder = _killed_before_its_first_epoch(options, tmp_path, run_id)
    note = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(
        json.dumps({**note, "start": {"name": "imagenet", "said": "from ImageNet"}})
    )
    with pytest.raises(ModelError, match="began with weights imagenet, but would go on with others"):
        train(TrainOptions(**{**options, "resume": True}))
