import json
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pytest
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.efficientnet_v2 import EfficientNetV2
from sklearn.metrics import roc_auc_score

from ich_mlflow.dataset.mixture import Pool
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import SCHEMES
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.training import training_batches
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common import training_job as job_module
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.common.training_data import training_rows
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from ich_mlflow.tracking.registry import full_model_uri
from tests.factories import training_process


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


def test_the_loss_of_a_run_is_the_recalibrated_one_of_its_best_epoch(trained):
    client, metrics = mlflow.MlflowClient(), _finished(trained).data.metrics
    best = int(metrics["best_epoch"]) - 1
    served, plain = (
        client.get_metric_history(trained.run_id, f"epoch/{name}")[best].value
        for name in ("val_loss", "val_loss_uncalibrated")
    )
    assert metrics["val/loss"] == pytest.approx(served, rel=1e-4)
    assert plain > served + 0.01


def test_metrics_have_the_names_that_compare_in_the_ui(trained):
    metrics = _finished(trained).data.metrics
    for name in ("val/auc/epidural", "val/f1/any", "val/auc/macro", "val/f1/macro", "val/loss"):
        assert name in metrics
    assert "val/accuracy/exact_match" in metrics
    assert metrics["any_auc_val"] == round(metrics["val/auc/any"], 4)
    assert len(metrics) <= 80


def test_the_served_model_has_its_figures_by_the_data_set_that_they_are_of(trained):
    model = mlflow.MlflowClient().get_logged_model(trained.serving_uri.removeprefix("models:/"))
    figures = {metric.key: metric for metric in model.metrics if metric.dataset_name}
    assert figures["any_auc_val"].value == _finished(trained).data.metrics["any_auc_val"]
    assert figures["any_auc_val"].dataset_name.endswith("-validation")


def test_the_description_says_what_was_told_and_found_and_what_comes_next(trained):
    lines = _finished(trained).data.tags["mlflow.note.content"].split("\n\n")
    assert lines[0].startswith("**Told**: ")
    assert lines[1].startswith("**Validation, which chose its thresholds**: any_auc ")
    assert lines[3] == f"**Next**: `mlflow run . -e evaluate -P model=runs:/{trained.run_id}/serving`"


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
        "tables",
        "history.json",
        "serving.json",
    } <= paths
    names = {
        model.name for model in client.search_logged_models(["1"]) if model.source_run_id == trained.run_id
    }
    assert names == {"ich-5class", "ich-5class-keras"}


def test_the_operating_points_are_those_of_the_validation_split(trained):
    path = mlflow.artifacts.download_artifacts(run_id=trained.run_id, artifact_path="serving.json")
    specification = json.loads(Path(path).read_text())
    for unit, prefix in (("slices", "val"), ("exams", "val_exam")):
        points = specification[unit]["operating_points"]["max_f1"]
        assert [point["label"] for point in points] == list(SCHEMES[5].findings)
        table = mlflow.load_table(f"tables/{prefix}_metrics.json", run_ids=[trained.run_id])
        logged = table.set_index("label")["sensitivity"]
        for point in points:
            assert point["sensitivity"] == pytest.approx(logged[point["label"]])


def test_the_null_models_come_from_training_labels(trained, stored_set):
    specification = load_classifier(trained.serving_uri).specification
    rows = stored_set.rows("train")
    np.testing.assert_allclose(
        specification.null_models["prevalence"].shares[0],
        [*stored_set.subtypes[rows].mean(axis=0), stored_set.subtypes[rows].any(axis=1).mean()],
    )
    table = stored_set.table.iloc[rows]
    exams = table.groupby("study_uid")[list(SCHEMES[5].labels)].max()
    np.testing.assert_allclose(
        specification.exam_null_model.shares[0], [*exams.mean(), exams.any(axis=1).mean()]
    )


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
    for newest in mlflow.search_runs(["1"], max_results=1, output_format="list"):
        assert newest.info.status == "FAILED" or "ich.error" not in newest.data.tags


def test_a_folder_that_is_no_stored_set_is_told_from_a_missing_one(workspace, tmp_path):
    (tmp_path / "something").write_text("else")
    with pytest.raises(DataError, match="is no stored set: make one"):
        train(TrainOptions(data=str(tmp_path)))


def test_loss_schedule_clipping_and_bias_are_used_and_logged(
    workspace, tiny_backbone, stored_set, monkeypatch
):
    whole_fit, used = job_module.fit, {}

    def fit(model, **told):
        result = whole_fit(model, **told)
        used.update(loss=model.loss, optimizer=model.optimizer)
        return result

    monkeypatch.setattr(job_module, "fit", fit)
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
    assert used["loss"].label_smoothing == 0.05
    assert used["optimizer"].global_clipnorm == 1.0
    # the optimiser's moments would be two thirds of the file
    assert not model.compiled


def test_two_stages_begin_at_their_prevalences_and_are_served_as_they_were_trained(two_stage, stored_set):
    model = mlflow.keras.load_model(two_stage.keras_uri)
    subtypes = stored_set.subtypes[stored_set.rows("train")]
    bleeds = subtypes.any(axis=1)
    shares = np.array([*subtypes[bleeds].mean(axis=0), bleeds.mean()])
    np.testing.assert_allclose(
        np.asarray(model.get_layer("logits").bias), np.log(shares / (1 - shares)), atol=1e-3
    )
    rows = stored_set.rows("test")
    expected = np.asarray(model(stored_set.hu(rows)[..., None].astype(np.float32)))
    assert (expected[:, :5] <= expected[:, 5:]).all()
    served = load_classifier(two_stage.serving_uri)
    np.testing.assert_allclose(score_rows(served, stored_set, rows).slices, expected, atol=1e-4)
    by_keras = load_classifier(two_stage.serving_uri, runtime="keras")
    np.testing.assert_allclose(score_rows(by_keras, stored_set, rows).slices, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prior_bias": "maybe"}, "prior_bias is 'maybe', expected true or false"),
        ({"loss": "log_loss_rsna"}, "num_classes=6"),
        ({"clip_norm": "much"}, "clip_norm is 'much', expected a number"),
    ],
)
def test_a_mistake_in_the_hyperparameters_is_refused_before_anything_is_done(changed, said):
    with pytest.raises(OptionError, match=said):
        train(TrainOptions(data="nowhere", **changed))


SMALL = {"image_size": "32", "epochs": "1", "batch_size": "8", "weights": "random"}


def test_context_windows_precision_and_frozen_epochs_reach_the_served_model(
    workspace, tiny_backbone, stored_set
):
    trained = train(
        TrainOptions(
            data=str(stored_set.path),
            **SMALL,
            context="1",
            windows="brain,subdural,bone",
            precision="mixed_bfloat16",
            frozen_epochs="1",
            frozen_learning_rate="0.01",
            ema="0.5",
            sampling="class_balanced",
            sampling_rate="0.15",
            rotation_degrees="0",
            shift="0",
            zoom="0",
            flip="false",
        )
    )
    run = _finished(trained)
    params = run.data.params
    assert (params["hp.context"], params["hp.ema"], params["train.precision"]) == (
        "1",
        "0.5",
        "mixed_bfloat16",
    )
    assert (params["hp.shift"], params["hp.flip"]) == ("0.0", "False")
    model = mlflow.keras.load_model(trained.keras_uri)
    assert model.input_shape == (None, 256, 256, 3)
    assert model.get_layer("tiny").input_shape == (None, 32, 32, 9)
    assert {layer.compute_dtype for layer in model.layers} == {
        "float32"
    }  # what is served computes in float32
    # the same slices, with their neighbours, through what is served
    served = load_classifier(trained.serving_uri)
    rows = stored_set.rows("validation")
    expected = np.asarray(model(stored_set.hu_with_context(rows, 1).astype(np.float32)))
    np.testing.assert_allclose(score_rows(served, stored_set, rows).slices, expected, atol=1e-4)
    np.testing.assert_allclose(
        served.uncalibrated(stored_set.hu(rows)),
        np.asarray(model(np.repeat(stored_set.hu(rows)[..., None], 3, axis=-1).astype(np.float32))),
        atol=1e-4,
    )
    # one frozen epoch and one of fine-tuning, and what each showed
    client = mlflow.MlflowClient()
    for label in SCHEMES[5].labels:
        shares = [point.value for point in client.get_metric_history(trained.run_id, f"epoch/seen/{label}")]
        assert len(shares) == 2
        assert shares == pytest.approx([0.15] * 2, abs=0.04)  # 6 groups in some 50 slices
    assert run.data.metrics["epoch/seen/patients"] <= 18


def test_the_machine_the_versions_and_the_commit_are_logged(trained):
    run = _finished(trained)
    assert run.data.params["version.tensorflow"] == version("tensorflow")
    assert run.data.params["version.python"].startswith("3.11")
    assert run.data.params["machine.devices"]
    assert run.data.params["machine.replicas"] == "1"
    assert run.data.params["train.deterministic"] == "false"
    assert len(run.data.tags["ich.git_commit"].removesuffix("-dirty")) in (40, len("unknown"))
    assert 0.1 < run.data.metrics["machine/peak_memory_gib"] < 100
    assert run.data.metrics["machine/slices_per_second"] > 0


def test_system_metrics_are_logged_while_a_training_lasts(workspace, tiny_backbone, stored_set):
    mlflow.set_system_metrics_sampling_interval(0.2)
    mlflow.set_system_metrics_samples_before_logging(1)
    try:
        trained = train(TrainOptions(data=str(stored_set.path), **SMALL))
    finally:
        mlflow.set_system_metrics_sampling_interval(None)
        mlflow.set_system_metrics_samples_before_logging(None)
    assert "system/cpu_utilization_percentage" in _finished(trained).data.metrics


def test_a_label_without_a_patient_in_validation_is_refused_unless_it_is_allowed(
    workspace, tiny_backbone, stored_set, tmp_path
):
    patients = stored_set.table["patient_id"]
    subdural = patients[stored_set.table["subdural"] == 1].unique()
    table = stored_set.table.copy()
    table.loc[patients.isin(subdural), "split"] = "train"
    lacking = replace(stored_set, table=table)
    with pytest.raises(
        DataError, match=r"validation split .* has no patient with subdural.*missing_labels=allow"
    ):
        train(TrainOptions(data="x", **SMALL), stored=lacking)
    run = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    assert run.info.status == "FAILED"
    trained = train(TrainOptions(data="x", missing_labels="allow", **SMALL), stored=lacking)
    assert "val/auc/subdural" not in _finished(trained).data.metrics
    assert "val/auc/epidural" in _finished(trained).data.metrics
    table.loc[patients.isin(subdural), "split"] = "test"
    untaught = replace(stored_set, table=table)
    with pytest.raises(DataError, match=r"the train split of .* has no patient with subdural"):
        train(TrainOptions(data="x", missing_labels="allow", **SMALL), stored=untaught)


def test_two_deterministic_trainings_agree_to_the_bit(workspace, stored_set):
    options = {
        **SMALL,
        "data": str(stored_set.path),
        "epochs": "2",
        "deterministic": True,
        "learning_rate": "0.01",
    }
    # in a process of their own: what makes TensorFlow deterministic can't be taken back
    process = training_process(workspace, mlflow.get_tracking_uri(), options, times=2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    runs = [line.split()[1] for line in output.splitlines() if line.startswith("RUN ")]
    assert len(set(runs)) == 2
    for run_id in runs:
        assert mlflow.get_run(run_id).data.params["train.deterministic"] == "true"
    weights = [
        mlflow.keras.load_model(full_model_uri(f"runs:/{run_id}/keras")).get_weights() for run_id in runs
    ]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"precision": "float16"}, "precision is 'float16', expected float32"),
        ({"jit": True, "deterministic": True}, "jit is true, expected false with deterministic"),
        ({"resume": "yes"}, "resume is 'yes', expected true or false"),
        ({"missing_labels": "no"}, "missing_labels is 'no', expected refuse or allow"),
        ({"backbone": "resnet"}, "backbone is 'resnet', expected efficientnet-b0"),
        ({"context": "2"}, "context is 2, expected 0 or 1"),
        ({"sampling_rate": "0.3"}, "sampling_rate is 0.3, expected with sampling=class_balanced"),
        ({"sampling": "class_balanced", "sampling_rate": "1"}, "sampling_rate is 1.0"),
        ({"image_size": "1024"}, "image_size is 1024, expected 32 to 512"),
        ({"ema": "1"}, "ema is 1.0"),
        ({"frozen_epochs": "-1"}, "frozen_epochs is -1"),
        ({"seed": 2**32}, "seed is 4294967296, expected 0 to 4294967295"),
    ],
)
def test_what_a_run_cannot_be_told_is_refused(changed, said):
    with pytest.raises(OptionError, match=said):
        train(TrainOptions(data="nowhere", **changed))


def test_a_batch_that_the_gpus_cannot_share_is_refused(stored_set):
    pool = Pool([(stored_set, stored_set.rows("train"))])
    hyperparameters = Hyperparameters(batch_size=32)
    with pytest.raises(DataError, match=r"batch_size is 32 .* multiple of the 3 GPUs: pass -P batch_size=30"):
        training_batches(pool, SCHEMES[5], hyperparameters, seed=0, replicas=3)
    batches = training_batches(pool, SCHEMES[5], hyperparameters, seed=0, replicas=4)
    assert batches.num_slices % 4 == 0


#: Every kind of block once: of blocks a network repeats, tracing and converting take a minute of a core.
SHALLOW = {
    "efficientnetv2-b0": partial(EfficientNetV2, 1.0, 0.1, 224, name="efficientnetv2-b0"),
    "convnext-tiny": partial(ConvNeXt, (1, 1, 1, 1), (24, 48, 96, 192), name="convnext_tiny"),
}


@pytest.mark.parametrize("backbone", SHALLOW)
def test_the_other_backbones_train_and_are_served(workspace, stored_set, backbone, monkeypatch):
    monkeypatch.setitem(BACKBONES, backbone, replace(BACKBONES[backbone], build=SHALLOW[backbone]))
    trained = train(TrainOptions(data=str(stored_set.path), backbone=backbone, **SMALL))
    assert _finished(trained).data.params["hp.backbone"] == backbone
    classifier = load_classifier(trained.serving_uri)  # it is logged only where it answers as Keras does
    assert classifier.uncalibrated(stored_set.hu(np.arange(2))).shape == (2, 5)


def test_a_checkpoint_folder_that_cannot_be_written_is_one_line(workspace, stored_set, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"can't be written.*-P checkpoints="):
        train(TrainOptions(data=str(stored_set.path), checkpoints=str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("recipe", "num_labels", "sampling"),
    [("model-1", 5, "natural"), ("model-2", 5, "class_balanced"), ("model-3", 4, "natural")],
)
def test_each_reference_model_trains_from_its_recipe(
    workspace, tiny_backbone, stored_set, recipe, num_labels, sampling
):
    trained = train(TrainOptions(data=str(stored_set.path), recipe=recipe, epochs="1", weights="random"))
    params = _finished(trained).data.params
    assert (params["hp.recipe"], params["hp.sampling"]) == (recipe, sampling)
    assert (params["hp.image_size"], params["hp.learning_rate"], params["hp.windows"]) == (
        "224",
        "0.0001",
        "brain",
    )
    classifier = load_classifier(trained.serving_uri)
    assert classifier.uncalibrated(stored_set.hu(np.arange(1))).shape == (1, num_labels)


def test_smoothing_and_the_mirror_image_are_in_the_version_and_in_what_validation_chose(
    workspace, tiny_backbone, stored_set
):
    trained = train(TrainOptions(data=str(stored_set.path), **SMALL, series_smoothing="20mm", mirror=True))
    run, classifier = _finished(trained), load_classifier(trained.serving_uri)
    assert (classifier.specification.series_smoothing, classifier.specification.mirror) == ("20mm", True)
    assert run.data.params["chosen.series_smoothing"] == "20mm"
    # what validation was scored with is what is served
    rows = stored_set.rows("validation")
    scores = classifier.specification.scores(score_rows(classifier, stored_set, rows).slices)
    any_bleed = stored_set.subtypes[rows].any(axis=1)
    assert run.data.metrics["val/auc/any"] == pytest.approx(roc_auc_score(any_bleed, scores[:, 5]))
    plain = classifier.members[0].read(stored_set.hu(rows), np.zeros(len(rows))).slices
    assert np.abs(score_rows(classifier, stored_set, rows).slices - plain).max() > 1e-4
