"""The smallest real pretraining, kill -9 in the middle of one, and the demonstration models made from it."""

import os
import signal
from dataclasses import asdict, replace
from types import SimpleNamespace

import keras
import mlflow
import numpy as np
import pytest

from ich_mlflow.ct.resample import resize_weights
from ich_mlflow.ct.window import BRAIN
from ich_mlflow.errors import DataError, ModelError, OptionError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.pretraining import build_pretraining
from ich_mlflow.models.weights import put_weights, read_weights
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.unfinished import kept_in, what_counts
from ich_mlflow.stages.demonstrate import demonstrate as demonstrate_module
from ich_mlflow.stages.demonstrate.demonstrate import demonstrate
from ich_mlflow.stages.demonstrate.options import DemonstrateOptions
from ich_mlflow.stages.pretrain import pretrain as pretrain_module
from ich_mlflow.stages.pretrain.options import PretrainOptions
from ich_mlflow.stages.pretrain.pretrain import pretrain, pretraining_set
from ich_mlflow.stages.pretrain.results import Pretrained
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.training.initial_weights import initial_backbone
from ich_mlflow.training.pretraining_batches import windowed
from tests.factories import SMALL_ROWS, TINY_PYRAMID, pretraining_process
from tests.printed import check_printed_commands

EPOCHS = 3
OPTIONS = {
    "exams": 40,
    "epochs": EPOCHS,
    "weights": "random",
    "image_sizes": "32,64",
    "batch_size": 8,
    "seed": 4_000_000_005,
}


@pytest.fixture(autouse=True)
def tiny_pyramid(monkeypatch):
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", TINY_PYRAMID)
    monkeypatch.setattr(pretrain_module, "ROWS", SMALL_ROWS)


@pytest.fixture(scope="module")
def pretrained(workspace):
    """The file of weights of a pretraining of 40 small exams, and its run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY_PYRAMID)
        patch.setattr(pretrain_module, "ROWS", SMALL_ROWS)
        path = pretrain(PretrainOptions(**OPTIONS, out="pretrained", checkpoints="checkpoints-whole"))
    run = mlflow.search_runs(search_all_experiments=True, filter_string="tags.`ich.stage` = 'pretrain'")
    return workspace / path, run.iloc[0]["run_id"]


def test_the_file_says_how_it_was_made_and_starts_a_backbone(pretrained):
    path, run_id = pretrained
    weights = read_weights(path)
    about = weights.about
    assert {name: about[name] for name in OPTIONS} == OPTIONS
    assert about["made_from"] == "weights: EfficientNet-B0 starts at random"
    assert len(about["cohort_digest"]) == 64
    assert about["demonstration_image_size"] == 64
    figures = mlflow.get_run(run_id).data.metrics
    assert about["test/auc/macro"] == pytest.approx(figures["test/auc/macro"], abs=1e-4)
    # the lesion head is dropped
    layers = {name.split("/")[0] for name in weights.arrays}
    of_lesions = {name for name in layers if name.startswith("lesion")}
    assert layers - of_lesions == {"stem_conv", *TINY_PYRAMID.taps, "dense", "probabilities"}
    assert "lesions" in of_lesions  # a classifier with lesion_weight starts from them
    start = initial_backbone(str(path), image_size=32)
    np.testing.assert_array_equal(start.backbone.get_layer("last").get_weights()[0], weights.arrays["last/0"])


def test_the_file_says_whom_it_learned_from_and_so_does_what_is_pretrained_from_it(pretrained, tmp_path):
    path, run_id = pretrained
    patients = pretraining_set(PretrainOptions(**OPTIONS)).table
    num_seen = patients.loc[patients["split"] != "test", "patient_id"].nunique()
    said = f"run {run_id} ({num_seen} patients of phantom, digest "
    assert read_weights(path).ancestry.said.startswith(said)
    began = pretrain_module._start(
        PretrainOptions(**{**OPTIONS, "weights": str(path)}), kept_in(tmp_path, "r")
    )
    assert began.ancestry.said.startswith(said)
    network = build_pretraining(name="efficientnet-b0", backbone=began.backbone)
    stored = SimpleNamespace(table=patients, manifest={"source": "phantom"}, digest="e" * 64)
    again = Pretrained(
        run=SimpleNamespace(run_id="2", file=lambda path: None, dictionary=lambda about, path: None),
        options=PretrainOptions(**OPTIONS, out=str(tmp_path)),
        stored=stored,
        network=network,
        start=began.said,
        before=began.ancestry,
        history=[],
    )
    written = read_weights(again.write_weights({}, image_size=32)).ancestry
    assert [one.name for one in written.ancestors] == [f"run {run_id}", "run 2"]


def test_a_pretraining_that_goes_on_knows_what_its_start_had_learned_from(pretrained, tmp_path):
    path, run_id = pretrained
    options = PretrainOptions(**{**OPTIONS, "weights": str(tmp_path / "gone.npz")})
    unfinished = kept_in(tmp_path, "r")
    unfinished.keep_ancestry(read_weights(path).ancestry)
    unfinished.note(start="weights: from gone.npz")
    unfinished.state_path.write_bytes(b"of one epoch")
    assert pretrain_module._start(options, unfinished).ancestry.said.startswith(f"run {run_id} (")
    # the checkpoint of a version that kept nothing: a start without patients is known by its name, a file is not
    (tmp_path / "ancestry.npz").unlink()
    assert pretrain_module._start(options, unfinished).ancestry.unknown == (str(tmp_path / "gone.npz"),)
    from_lite0 = PretrainOptions(**{**OPTIONS, "weights": "lite0"})
    assert pretrain_module._start(from_lite0, unfinished).ancestry.said == "ImageNet (no patients)"


def test_the_run_has_a_curve_its_data_and_the_files(pretrained):
    path, run_id = pretrained
    run = mlflow.get_run(run_id)
    points = mlflow.MlflowClient().get_metric_history(run_id, "epoch/val_dice")
    assert [point.step for point in points] == list(range(EPOCHS))
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["phantom-pretraining"]
    artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id)}
    assert {
        path.name,
        "about.json",
        *(f"efficientnet-b0-phantom-{n}class.json" for n in (4, 5, 6)),
    } <= artifacts
    pictures = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "figures")}
    assert pictures == {"figures/training_curves.png", "figures/lesions.png"}
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/history.json")
    assert {"loss", "lesion_loss", "val_loss", "val_loss_uncalibrated", "val_dice"} <= set(table["columns"])
    assert not list((path.parents[1] / "checkpoints-whole").iterdir())


def test_after_kill_9_the_same_command_goes_on_in_the_same_run_and_ends_the_same(
    workspace, pretrained, tmp_path
):
    _, whole = pretrained
    options = {**OPTIONS, "out": str(tmp_path / "out"), "checkpoints": str(tmp_path / "checkpoints")}
    uri = mlflow.get_tracking_uri()
    killed = pretraining_process(workspace, uri, options)
    for line in killed.stdout:
        if line.startswith(f"epoch 1/{EPOCHS}  loss"):
            os.kill(killed.pid, signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    (folder,) = (tmp_path / "checkpoints").iterdir()
    again = pretraining_process(workspace, uri, options)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert f"goes on with run {folder.name}" in output
    assert [words[4] for words in check_printed_commands(output)] == ["train"]
    client = mlflow.MlflowClient()
    assert client.get_run(folder.name).info.status == "FINISHED"
    for metric in ("epoch/loss", "epoch/val_loss"):
        ours, theirs = (client.get_metric_history(run, metric) for run in (folder.name, whole))
        assert [point.step for point in ours] == list(range(EPOCHS))
        np.testing.assert_allclose([p.value for p in ours], [p.value for p in theirs], rtol=1e-3)
    about = read_weights(tmp_path / "out" / "efficientnet-b0-phantom.npz").about
    assert about["made_from"] == "weights: EfficientNet-B0 starts at random"
    assert about["hours"] >= 0


@pytest.fixture
def shipped(pretrained, monkeypatch):
    """The package comes with what was just pretrained."""
    path, _ = pretrained
    monkeypatch.setattr(demonstrate_module, "shipped_path", lambda name: path.with_name(f"{name}.npz"))
    return path


@pytest.mark.parametrize("num_classes", [4, 5, 6])
def test_a_demonstration_model_answers_as_the_pretrained_network(shipped, num_classes, capsys):
    uri = demonstrate(DemonstrateOptions(num_classes=num_classes, learned_from="phantom"))
    said = capsys.readouterr().out
    # Other tests of the session may have registered one before.
    name, version_number = uri.removeprefix("models:/").split("/")
    assert name == f"ich-{num_classes}class-phantom-demo"
    assert f"mlflow models serve -m {uri} -p 5001 --env-manager local" in said
    assert len(check_printed_commands(said)) == 1
    assert "not for patients" in said
    classifier = load_classifier(uri)
    labels = class_scheme(num_classes).labels
    assert classifier.specification.labels == labels
    assert classifier.specification.weights == "phantom"
    weights = read_weights(shipped).arrays
    hu = np.random.default_rng(0).integers(0, 80, size=(2, 256, 256)).astype(np.int16)
    network = build_pretraining(name="efficientnet-b0")
    put_weights(keras.Model(network.input, network.output["labels"]), weights)
    smaller = resize_weights(256, 64)
    pixels = windowed(smaller @ hu.astype(np.float32) @ smaller.T, [(BRAIN,)] * 2)
    expected = np.asarray(network(pixels)["labels"])
    places = [class_scheme(6).labels.index(label) for label in labels]
    np.testing.assert_allclose(classifier.uncalibrated(hu), expected[:, places], atol=1e-4)
    assert weights["probabilities/0"].shape == (128, 6)
    version = mlflow.MlflowClient().get_model_version(name, version_number)
    assert "not a medical device" in version.description
    assert "Trained on phantoms" in version.description


def test_a_specification_that_is_missing_is_one_line(shipped):
    path = shipped.with_name("efficientnet-b0-phantom-4class.json")
    kept = path.read_text()
    assert Specification.read(path).labels == class_scheme(4).labels
    path.unlink()
    try:
        with pytest.raises(ModelError, match=r"4class\.json is missing: install ich_mlflow again"):
            demonstrate(DemonstrateOptions(num_classes=4, learned_from="phantom"))
    finally:
        path.write_text(kept)


def test_mistakes_show_before_the_hours(workspace, tmp_path, monkeypatch):
    def hours(options):
        raise AssertionError("the cohort was made")

    monkeypatch.setattr(pretrain_module, "pretraining_set", hours)
    (tmp_path / "file").write_text("")
    places = {"checkpoints": str(tmp_path / "checkpoints")}
    with pytest.raises(DataError, match=r"file/out can't be written \(Not a directory\): pass -P out="):
        pretrain(PretrainOptions(**OPTIONS, **places, out=str(tmp_path / "file" / "out")))
    assert not (tmp_path / "checkpoints").exists()
    nowhere = {**OPTIONS, **places, "out": str(tmp_path), "weights": "nowhere.keras"}
    with pytest.raises(ModelError, match=r"weights file nowhere\.keras does not exist"):
        pretrain(PretrainOptions(**nowhere))


def test_a_pretraining_goes_on_with_another_out_and_a_training_does_not():
    here, there = ({"out": folder} for folder in ("here", "there"))
    assert what_counts(PretrainOptions(**here)) == what_counts(PretrainOptions(**there))
    assert what_counts(TrainOptions(**here)) != what_counts(TrainOptions(**there))


def test_a_cohort_without_a_subtype_is_refused(pretrained):
    stored = pretraining_set(PretrainOptions(**OPTIONS))
    subtypes = np.array(stored.subtypes)
    subtypes[stored.rows("train"), 0] = 0
    without = SimpleNamespace(path="set", subtypes=subtypes, rows=stored.rows)
    with pytest.raises(DataError, match="train split of set has no slices with and without epidural: pass"):
        pretrain_module._expect_bleeds(without)
    subtypes[:] = stored.subtypes
    subtypes[stored.rows("test")] = 0
    with pytest.raises(
        DataError, match="the test split of set has no slices with and without epidural, intra"
    ):
        pretrain_module._expect_bleeds(without)


def test_masks_are_found_where_the_project_was_moved(pretrained):
    options = PretrainOptions(**OPTIONS)
    stored = pretraining_set(options)
    moved = replace(stored, manifest={**stored.manifest, "source_path": "/where/it/was"})
    batches = pretrain_module._batches(moved, options, "train")
    assert sum(batches[number][1][1].sum() for number in range(3)) > 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"backbone": "convnext-tiny"}, "expected efficientnet-b0 or efficientnet-lite0"),
        ({"weights": "phantom"}, "expected lite0, imagenet or random, or a .keras"),
        ({"weights": "auto"}, "expected lite0, imagenet or random, or a .keras"),
        ({"image_sizes": "96,100"}, "multiples of 32 from 32 to 512"),
        ({"image_sizes": "96,96,128"}, "each once"),
        ({"exams": 10}, "expected 40 to 100000"),
        ({"lesion_weight": -1.0}, "expected 0 to 1000"),
        ({"lesion_weight": float("inf")}, "expected 0 to 1000"),
        ({"seed": 7}, "expected 4000000000 to 4294967295"),
    ],
)
def test_options_out_of_range_are_refused(said, expected):
    with pytest.raises(OptionError, match=expected):
        PretrainOptions(**said)
    assert asdict(PretrainOptions())["seed"] == 4_000_000_007
