"""A lesion head from training to the served model, with a tiny pyramid of convolutions."""

from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pydicom
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import DataError
from ich_mlflow.evaluation.blood_threshold import THRESHOLDS
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.lesion_maps import found_blood, found_pixels
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.lesion_batches import lesion_cells
from ich_mlflow.models.slice_cnn.lesion_head import lesion_head_of
from ich_mlflow.phantom.studies import StudySetOptions, write_study_set
from ich_mlflow.serving.packaging import keras_file, load_classifier
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.predict.options import PredictOptions
from ich_mlflow.stages.predict.predict import predict
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from ich_mlflow.training.initial_weights import initial_backbone
from tests.conftest import LABELS
from tests.factories import TINY_PYRAMID, SpotSource

OPTIONS = {
    "image_size": "64",
    "epochs": "12",
    "kept_epoch": "last",  # of labels that nothing tells the best epoch is any
    "batch_size": "8",
    "learning_rate": "0.01",
    "batch_norm_momentum": "0.8",
    "rotation_degrees": "5",
    "weights": "random",
    "lesion_weight": "1",
    "series_smoothing": "none",
}


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """72 slices of 18 patients; of three patients it is not known where their blood is."""
    folder = tmp_path_factory.mktemp("spots")
    source = SpotSource(folder, LABELS, unknown=(0, 7, 14))
    return build_stored_set(source, folder / "set", BuildOptions(seed=0, folds=3, workers=1), progress=False)


@pytest.fixture(scope="module", autouse=True)
def tiny_pyramid(workspace):
    mlflow.set_experiment("lesion heads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY_PYRAMID)
        yield
    mlflow.set_experiment("tests")


@pytest.fixture(scope="module")
def with_head(spots):
    return train(TrainOptions(data=str(spots.path), **OPTIONS))


def test_it_finds_the_blood_of_unseen_patients(with_head, spots):
    classifier = load_classifier(with_head.serving_uri)
    assert classifier.finds_blood
    rows = spots.rows("test")
    lesions = classifier.predict_series(spots.hu(rows), 5.0 * np.arange(len(rows))).lesions
    assert lesions.shape == (len(rows), 16, 16, 5)
    truth = lesion_cells(spots.blood(rows)[0], 16).sum(axis=-1) >= 0.5
    found = found_blood(lesions) > 0
    assert truth.sum() > 50
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.7


def test_its_threshold_is_validations_and_predict_says_millilitres(with_head, spots, tmp_path):
    classifier = load_classifier(with_head.serving_uri)
    rows = spots.rows("validation")
    rows = rows[spots.blood_known(rows)]
    lesions = np.concatenate(
        [classifier.predict_series(spots.hu(rows[[k]]), np.zeros(1)).lesions for k in range(len(rows))]
    )
    truth = spots.blood(rows)[0] > 0
    dice = []
    for threshold in THRESHOLDS:
        found = found_pixels(lesions, threshold=threshold) > 0
        dice.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    chosen = classifier.specification.blood_threshold
    assert dice[int(np.flatnonzero(chosen == THRESHOLDS)[0])] == pytest.approx(max(dice), abs=1e-3)
    patients = spots.table["patient_id"].iloc[rows].nunique()
    assert classifier.specification.blood_patients == patients
    assert mlflow.get_run(with_head.run_id).data.params["chosen.blood_threshold"] == str(chosen)

    write_study_set(tmp_path / "in", StudySetOptions(studies=1, rows=128, exam_rate=1.0, junk=0))
    out = predict(
        PredictOptions(input=str(tmp_path / "in"), model=with_head.serving_uri, out=str(tmp_path / "out"))
    )
    listed = pd.read_csv(out / "worklist.csv")
    assert listed["blood_ml"].ge(0).all()
    exam = pd.read_csv(out / "predictions.csv").iloc[0]
    of_subtypes = [exam[f"blood_ml_{subtype}"] for subtype in SUBTYPES]
    assert exam["blood_ml_any"] == listed["blood_ml"][0] == pytest.approx(sum(of_subtypes), abs=0.3)
    assert "Blood, mL" in (out / "worklist.html").read_text()
    report = pydicom.dcmread(out / listed["dicom"][0] / "findings.dcm")
    assert str(report).count("118565006") == 6


def test_evaluate_measures_it_on_masks_with_intervals_over_patients(with_head, spots):
    found = evaluate(
        EvaluateOptions(model=with_head.serving_uri, data=str(spots.path), resamples=200, heat_maps=4)
    )
    table = found.blood.set_index(["metric", "label"])
    dice = table.loc[("dice", "any")]
    assert 0.7 < dice["value"] <= 1
    assert dice["patients"] == dice["exams"] > 0
    run = mlflow.get_run(found.run_id)
    assert run.data.metrics["test/blood_dice/any"] == dice["value"]
    assert {f"test/blood_{one}/any" for one in ("ml", "ml_error", "ml_bias")} <= set(run.data.metrics)
    pointed = found.pointing.table
    hits = (pointed["rate"] * pointed["slices"]).sum() / pointed["slices"].sum()
    assert hits > pointed["chance"].max()  # of all labels together: of one there may be a single slice
    assert run.data.metrics[f"test/pointing_game/{pointed['label'][0]}"] == pointed["rate"][0]
    report, card = (
        mlflow.artifacts.load_text(f"runs:/{found.run_id}/{name}")
        for name in ("report.html", "model_card.md")
    )
    for text in (report, card):
        assert "Where the blood is" in text
        assert "found where none is, mL" in text
    assert "which had the highest Dice on validation" in report


def test_the_served_maps_are_those_of_keras_and_the_labels_probabilities(with_head, spots):
    classifier = load_classifier(with_head.serving_uri)
    model = keras.models.load_model(keras_file(with_head.serving_uri), compile=False)
    hu = spots.hu(spots.rows("test")[:3])
    probabilities, lesions = (np.asarray(one) for one in model(hu[..., None].astype(np.float32)))
    said, maps = classifier.explained(hu[..., None])
    np.testing.assert_allclose(said, probabilities, atol=1e-4)
    np.testing.assert_allclose(maps, np.moveaxis(lesions, -1, 1), atol=1e-4)
    by_keras = load_classifier(with_head.serving_uri, runtime="keras")
    assert by_keras.finds_blood
    np.testing.assert_allclose(by_keras.explained(hu[..., None])[1], maps, atol=1e-4)


def test_of_a_mirror_image_the_map_is_turned_back(with_head, spots):
    classifier = load_classifier(with_head.serving_uri)
    member = classifier.members[0]
    hu, places = spots.hu(spots.rows("test")[:4]), np.array([5.0, 0, 15, 10])
    object.__setattr__(classifier.specification, "mirror", True)
    straight = member.read(hu, places).lesions
    turned = member.read(hu[:, :, ::-1], places).lesions[:, :, ::-1]
    np.testing.assert_allclose(
        classifier.predict_series(hu, places).lesions, (straight + turned) / 2, atol=1e-6
    )


def test_epochs_log_its_loss_and_the_keras_model_brings_it_to_the_next_training(with_head, spots):
    history = mlflow.MlflowClient().get_metric_history(with_head.run_id, "epoch/lesion_loss")
    assert len(history) == 12
    assert history[-1].value < 0.7 * history[0].value
    start = initial_backbone(str(keras_file(with_head.serving_uri)), image_size=64)
    model = keras.models.load_model(keras_file(with_head.serving_uri), compile=False)
    assert start.lesion_head.keys() == lesion_head_of(model).keys()
    again = train(
        TrainOptions(
            data=str(spots.path),
            **{**OPTIONS, "epochs": "1", "learning_rate": "1e-12", "weights": with_head.keras_uri},
        )
    )
    before, after = (
        lesion_head_of(keras.models.load_model(keras_file(uri), compile=False))
        for uri in (with_head.serving_uri, again.serving_uri)
    )
    for name, weight in before.items():
        if name.split("/")[0].startswith("lesion_norm") and int(name.split("/")[1]) > 1:
            continue  # batch statistics go with the batches, whatever the learning rate
        np.testing.assert_allclose(after[name], weight, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"ema": "0.9", "kept_epoch": "best", "mirror": True},
        {"num_classes": "6", "head": "two_stage", "precision": "mixed_bfloat16"},
        {"num_classes": "4", "context": "1", "jit": True},
    ],
)
def test_it_goes_with_what_else_a_training_can_be(spots, changed):
    trained = train(TrainOptions(data=str(spots.path), **{**OPTIONS, "epochs": "1", **changed}))
    classifier = load_classifier(trained.serving_uri)
    labels = classifier.specification.labels
    hu = spots.hu_with_context(spots.rows("test")[:2], classifier.specification.context)
    said, maps = classifier.explained(hu)
    assert said.shape == (2, len(labels))
    assert maps.shape == (2, len(labels), 16, 16)
    assert ((maps >= 0) & (maps <= 1)).all()


def test_an_ensemble_of_folds_says_the_mean_of_its_maps(spots):
    trained = train(
        TrainOptions(data=str(spots.path), **{**OPTIONS, "epochs": "1"}, folds="all", missing_labels="allow")
    )
    classifier = load_classifier(trained.serving_uri)
    hu, places = spots.hu(spots.rows("test")[:3]), np.arange(3.0)
    each = [member.read(hu, places).lesions for member in classifier.members]
    assert len(each) == 3
    # by the masks of all that no test split keeps apart: 18 patients, three of them without masks
    known = spots.blood_known(np.arange(len(spots.table)))
    outside = known & (spots.table["split"] != "test").to_numpy()
    assert classifier.specification.blood_patients == spots.table["patient_id"][outside].nunique()
    np.testing.assert_allclose(classifier.predict_series(hu, places).lesions, np.mean(each, axis=0))


def test_a_set_without_masks_is_refused(stored_set):
    with pytest.raises(DataError, match=r"lesion_weight is 1, but no training slice .* -P lesion_weight=0"):
        train(TrainOptions(data=str(stored_set.path), **OPTIONS))


def test_without_a_weight_there_is_no_head(spots):
    options = {**OPTIONS, "lesion_weight": "0", "epochs": "1"}
    trained = train(TrainOptions(data=str(spots.path), **options))
    assert not load_classifier(trained.serving_uri).finds_blood
    assert Path(keras_file(trained.serving_uri)).stat().st_size > 0
