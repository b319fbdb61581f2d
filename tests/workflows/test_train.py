import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import SCHEMES
from ich_mlflow.options import TrainOptions
from ich_mlflow.workflows.train import train
from ich_mlflow.workflows.training_data import training_rows


def _finished(trained):
    return mlflow.MlflowClient().get_run(trained.run_id)


def test_a_training_run_logs_what_it_was_told_and_what_it_did(trained, stored_set):
    run = _finished(trained)
    assert run.info.status == "FINISHED"
    params = run.data.params
    assert (params["hp.num_classes"], params["hp.image_size"], params["hp.epochs"]) == ("5", "32", "2")
    assert (params["weights.start"], params["data.digest"]) == ("random", stored_set.digest)
    assert params["data.epidural_only_dropped"] == "0"


def test_every_epoch_is_a_step(trained):
    history = mlflow.MlflowClient().get_metric_history(trained.run_id, "epoch/val_loss")
    assert [metric.step for metric in history] == [0, 1]


def test_metrics_have_the_names_that_compare_in_the_ui(trained):
    metrics = _finished(trained).data.metrics
    for name in ("val/auc/epidural", "val/f1/subdural", "val/auc/macro", "val/f1/macro", "val/loss"):
        assert name in metrics
    assert "val/accuracy/exact_match" in metrics


def test_figures_tables_and_both_models_are_logged(trained):
    client = mlflow.MlflowClient()
    paths = {
        item.path for folder in ("", "figures") for item in client.list_artifacts(trained.run_id, folder)
    }
    assert {
        "figures/training_curves.png",
        "figures/val_confusion.png",
        "figures/val_cooccurrence.png",
        "figures/augmented.png",
        "val_metrics.json",
        "history.json",
        "operating_points.json",
    } <= paths
    names = {
        model.name for model in client.search_logged_models(["1"]) if model.source_run_id == trained.run_id
    }
    assert names == {"keras", "serving"}


def test_the_operating_points_are_those_of_the_validation_split(trained):
    path = mlflow.artifacts.download_artifacts(run_id=trained.run_id, artifact_path="operating_points.json")
    points = json.loads(Path(path).read_text())["operating_points"]
    assert [point["label"] for point in points] == list(SCHEMES[5].labels)
    metrics = _finished(trained).data.metrics
    for point in points:
        assert point["sensitivity"] == pytest.approx(metrics[f"val/sensitivity/{point['label']}"])


def test_with_four_classes_slices_with_only_epidural_blood_leave_training_and_are_counted(stored_set):
    rows, dropped = training_rows(stored_set, SCHEMES[4], epidural_only="drop")
    train_rows = stored_set.rows("train")
    epidural = stored_set.subtypes[train_rows][:, 0] == 1  # in this set no slice has two subtypes
    assert dropped == epidural.sum() > 0
    np.testing.assert_array_equal(rows, train_rows[~epidural])
    kept, none = training_rows(stored_set, SCHEMES[4], epidural_only="keep")
    assert none == 0
    np.testing.assert_array_equal(kept, train_rows)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"num_classes": "7", "data": "x"}, OptionError, "num_classes is 7"),
        ({"windows": "liver", "data": "x"}, OptionError, "window 'liver' is unknown"),
        ({"epochs": "few", "data": "x"}, OptionError, "epochs is 'few', expected a whole number"),
        ({"recipe": "model-3", "num_classes": "5"}, OptionError, "recipe=model-3 means num_classes=4"),
        ({"data": "missing-folder"}, DataError, "missing-folder"),
        ({"source": "rsna"}, OptionError, "pass -P data="),
        ({"source": "rsna", "data": "missing-folder"}, DataError, "missing-folder"),
    ],
)
def test_a_mistake_is_one_line_and_the_run_is_failed(workspace, options, error, said):
    before = set(workspace.glob("data/*"))
    with pytest.raises(error, match=said) as refusal:
        train(TrainOptions(weights="random", **options))
    assert "\n" not in str(refusal.value)
    assert set(workspace.glob("data/*")) == before
    newest = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    if newest.data.tags.get("ich.error"):
        assert newest.info.status == "FAILED"


def test_a_folder_that_is_no_stored_set_is_told_from_a_missing_one(workspace, tmp_path):
    (tmp_path / "something").write_text("else")
    with pytest.raises(DataError, match="is no stored set: make one"):
        train(TrainOptions(data=str(tmp_path)))


def test_loss_schedule_clipping_and_bias_are_used_and_logged(workspace, stored_set):
    options = TrainOptions(
        data=str(stored_set.path),
        image_size="32",
        epochs="1",
        batch_size="8",
        weights="random",
        learning_rate="1e-9",  # nothing moves, so that the start is seen at the end
        loss="weighted_bce",
        label_smoothing="0.05",
        schedule="cosine",
        clip_norm="1",
        prior_bias="true",
    )
    trained = train(options)
    params = _finished(trained).data.params
    said = {
        name: params[f"hp.{name}"]
        for name in ("loss", "label_smoothing", "schedule", "clip_norm", "prior_bias")
    }
    assert said == {
        "loss": "weighted_bce", "label_smoothing": "0.05", "schedule": "cosine", "clip_norm": "1.0",
        "prior_bias": "True",
    }  # fmt: skip
    model = mlflow.keras.load_model(trained.keras_uri)
    rows = stored_set.rows("train")
    share = stored_set.subtypes[rows].mean(axis=0)
    expected = np.log(np.clip(share, 1e-4, None) / (1 - share))
    np.testing.assert_allclose(np.asarray(model.get_layer("probabilities").bias), expected, atol=1e-3)
    assert model.loss.label_smoothing == 0.05
    assert model.optimizer.global_clipnorm == 1.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prior_bias": "maybe"}, "prior_bias is 'maybe', expected true, false or auto"),
        ({"loss": "log_loss_rsna"}, "num_classes=6"),
        ({"clip_norm": "much"}, "clip_norm is 'much', expected a number or auto"),
    ],
)
def test_a_mistake_in_the_levers_is_refused_before_anything_is_done(changed, said):
    with pytest.raises(OptionError, match=said):
        train(TrainOptions(data="nowhere", **changed))
