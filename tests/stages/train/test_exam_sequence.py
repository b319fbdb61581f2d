"""exam_sequence by the commands of every family: train, evaluate, promote, serve, predict."""

import json
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.errors import DataError, ModelError, OptionError
from ich_mlflow.models.exam_sequence.features import model_digest
from ich_mlflow.models.family import Reading
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train


def options(stored_set, trained, **changed):
    return TrainOptions(
        data=str(stored_set.path),
        **{"family": "exam_sequence", "slice_model": trained.serving_uri, "epochs": "2", **changed},
    )


@pytest.fixture(scope="module")
def sequence(workspace, stored_set, trained):
    return train(options(stored_set, trained))


def test_it_says_something_of_slices_and_of_the_exam(sequence, stored_set, trained):
    classifier, slices = load_classifier(sequence.serving_uri), load_classifier(trained.serving_uri)
    specification = classifier.specification
    assert (specification.family, specification.aggregation, specification.reads_series) == (
        "exam_sequence",
        "model",
        True,
    )
    members = stored_set.whole_series(stored_set.rows("test")[:1])[0]
    hu, places = stored_set.hu(members), 5.0 * np.arange(len(members))
    read = classifier.predict_series(hu, places)
    assert isinstance(read, Reading)
    assert read.exam.shape == (5,)
    # turned round, the same head is read from the neck up again
    turned = classifier.predict_series(hu[::-1], places[::-1])
    np.testing.assert_allclose(turned.slices, read.slices[::-1], atol=1e-6)
    np.testing.assert_allclose(turned.exam, read.exam, atol=1e-6)
    # two epochs change little of what the slices' version says
    np.testing.assert_allclose(read.slices, slices.predict_series(hu, places).slices, atol=0.2)
    assert np.abs(read.slices - slices.predict_series(hu, places).slices).max() > 1e-6


def test_what_validation_scored_is_what_is_served(sequence, stored_set):
    classifier = load_classifier(sequence.serving_uri)
    rows = stored_set.rows("validation")
    read = score_rows(classifier, stored_set, rows)
    findings = classifier.specification.scores(read.of_series)
    studies = stored_set.table["study_uid"].to_numpy()[rows]
    first = np.unique(studies, return_index=True)[1]
    positive = np.array([stored_set.subtypes[rows][studies == studies[one]].any() for one in first])
    scores = findings[first, -1]
    above = scores[positive][:, None] - scores[~positive]
    metrics = mlflow.MlflowClient().get_run(sequence.run_id).data.metrics
    assert metrics["val/exam/auc/any"] == pytest.approx(np.mean((above > 0) + 0.5 * (above == 0)), abs=1e-6)


@pytest.mark.parametrize(
    ("num_slices", "position_mm"),
    [
        (1, [0.0]),
        (600, None),
        (3, [0.0, 5.0, 5.0]),
        (3, [7.0, 7.0, 7.0]),
    ],
)
def test_a_series_of_one_of_600_and_with_slices_at_one_place_is_read(
    sequence, stored_set, num_slices, position_mm
):
    classifier = load_classifier(sequence.serving_uri)
    hu = stored_set.hu(np.arange(num_slices) % 4)
    places = 1.0 * np.arange(num_slices) if position_mm is None else np.array(position_mm)
    read = classifier.predict_series(hu, places)
    assert read.slices.shape == (num_slices, 5)
    assert np.isfinite(read.slices).all()
    assert ((read.exam > 0) & (read.exam < 1)).all()


def test_its_run_says_its_family_and_where_the_slices_come_from(sequence, trained):
    params = mlflow.MlflowClient().get_run(sequence.run_id).data.params
    assert (params["hp.family"], params["hp.kind"], params["hp.epochs"]) == ("exam_sequence", "conv", "2")
    assert params["weights.start"] == trained.serving_uri


def test_rest_answers_an_exam_and_a_lone_slice(sequence, stored_set):
    members = stored_set.whole_series(stored_set.rows("test")[:1])[0]
    classifier = load_classifier(sequence.serving_uri)
    model = mlflow.pyfunc.load_model(sequence.serving_uri)
    hu = stored_set.hu(members)
    frame = pd.DataFrame(
        {
            "pixels": [one.tolist() for one in hu],
            "series": ["s"] * len(hu),
            "position_mm": 5.0 * np.arange(len(hu)),
        }
    )
    read = classifier.predict_series(hu, 5.0 * np.arange(len(hu)))
    exam = model.predict(frame, params={"aggregate": "exam"})
    scores = classifier.specification.scores(read.exam[None])[0]
    assert exam["score_any"].tolist() == [pytest.approx(scores[-1], abs=1e-6)]
    slices = model.predict(frame)
    assert slices["series_score_subdural"].tolist() == pytest.approx([read.exam[4]] * len(hu), abs=1e-6)
    alone = model.predict(frame.iloc[:1])
    assert any("no neighbouring slice" in text for text in alone["warnings"][0])
    explained = model.predict(frame.iloc[:1], params={"explain": True})
    assert explained["heat_map_subdural"][0]


def test_it_is_evaluated_as_any_model(sequence, stored_set):
    evaluated = evaluate(EvaluateOptions(model=sequence.serving_uri, resamples=100, heat_maps=2))
    assert evaluated.exams.predictions.unit == "exams"
    read = score_rows(load_classifier(sequence.serving_uri), stored_set, evaluated.scored.rows)
    np.testing.assert_allclose(evaluated.scored.outputs, read.slices)


def test_labels_of_exams_alone_are_enough(stored_set, trained, workspace):
    by_study = stored_set.table.copy()
    subtypes = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
    by_study[subtypes] = by_study.groupby("study_uid")[subtypes].transform("max")
    of_studies = replace(stored_set, table=by_study, manifest={**stored_set.manifest, "label_level": "study"})
    found = train(options(of_studies, trained, checkpoints="of-studies"), stored=of_studies)
    classifier, slices = load_classifier(found.serving_uri), load_classifier(trained.serving_uri)
    # of slices it says what their version says, with its calibration and thresholds
    assert classifier.specification.slices == slices.specification.slices
    members = stored_set.whole_series(stored_set.rows("test")[:1])[0]
    hu, places = stored_set.hu(members), 5.0 * np.arange(len(members))
    np.testing.assert_allclose(
        classifier.predict_series(hu, places).slices, slices.predict_series(hu, places).slices, atol=1e-6
    )
    metrics = mlflow.MlflowClient().get_run(found.run_id).data.metrics
    assert "val/exam/auc/any" in metrics
    assert "val/auc/any" not in metrics


def test_a_slice_cnn_cannot_learn_from_exams(stored_set, tiny_backbone, workspace):
    of_studies = replace(stored_set, manifest={**stored_set.manifest, "label_level": "study"})
    with pytest.raises(DataError, match="family=exam_sequence can learn from it"):
        train(TrainOptions(data=str(stored_set.path), weights="random", epochs="1"), stored=of_studies)


def test_features_are_kept_and_refused_where_they_are_anothers(sequence, stored_set, trained, workspace):
    (about,) = workspace.glob(f"data/features/{stored_set.digest[:12]}-*/about.json")
    kept = sorted(about.parent.glob("inputs-*.npz"))
    assert kept
    times = [path.stat().st_mtime_ns for path in kept]
    train(options(stored_set, trained, seed=1))
    assert [path.stat().st_mtime_ns for path in kept] == times
    whole = about.read_text()
    about.write_text(json.dumps({**json.loads(whole), "data_digest": "0" * 64}))
    with pytest.raises(ModelError, match="are of stored set 000000000000"):
        train(options(stored_set, trained, seed=2))
    about.write_text(whole)
    before = kept[0].read_bytes()
    kept[0].write_bytes(before[:100])
    with pytest.raises(ModelError, match=r"inputs-00000\.npz is damaged"):
        train(options(stored_set, trained, seed=3))
    kept[0].write_bytes(before)


def test_another_fold_reads_the_features_that_are_kept(sequence, stored_set, trained, workspace):
    place = next(workspace.glob(f"data/features/{stored_set.digest[:12]}-*"))
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    turned = stored_set.table["split"].replace({"train": "validation", "validation": "train"})
    other_split = replace(stored_set, table=stored_set.table.assign(split=turned))
    train(options(stored_set, trained, epochs="1", missing_labels="allow"), stored=other_split)
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_features_are_of_the_models_files_and_not_of_the_run_that_it_names(tmp_path):
    # the package's own models all name one run
    for name, said in (("a", b"one"), ("b", b"another"), ("c", b"one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "serving.json").write_text('{"run_id": "demonstration"}')
        (tmp_path / name / "classifier.tflite").write_bytes(said)
    a, b, c = (model_digest(tmp_path / name) for name in "abc")
    assert a == c != b


def test_it_says_where_the_slices_networks_know_the_patients(stored_set, trained, capsys):
    train(options(stored_set, trained, seed=4, epochs="1"))
    known = stored_set.table.loc[stored_set.table["split"] == "train", "patient_id"].nunique()
    assert f"has learned from {known} of the {known} patients" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"mirror": True}, OptionError, "false with family=exam_sequence"),
        ({"series_smoothing": "15mm"}, OptionError, "none with family=exam_sequence"),
        ({"folds": "all"}, OptionError, "expected family=slice_cnn"),
        ({"num_classes": "4"}, ModelError, "pass -P num_classes=5"),
    ],
)
def test_what_it_does_not_take_is_refused(stored_set, trained, workspace, changed, error, said):
    with pytest.raises(error, match=said):
        train(options(stored_set, trained, **changed))


def test_a_network_over_series_cannot_build_on_one(sequence, stored_set):
    with pytest.raises(ModelError, match="slice_model is of family exam_sequence, expected slice_cnn"):
        train(options(stored_set, sequence))
