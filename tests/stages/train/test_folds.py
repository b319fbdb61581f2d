"""folds=all: a network a fold, one model of their mean, what is finished kept."""

from dataclasses import replace

import mlflow
import numpy as np
import pytest

from ich_mlflow.dataset.split import FOLD, fold_patients
from ich_mlflow.errors import DataError, OptionError, TrainingError
from ich_mlflow.models.ancestry import hashes
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train import folds as folds_module
from ich_mlflow.stages.train.folds import FOLD_TAG, dealt_into_folds
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train

SMALL = {
    "image_size": "32", "epochs": "1", "batch_size": "8", "weights": "random", "series_smoothing": "none",
    "missing_labels": "allow", "folds": "all",
}  # fmt: skip


@pytest.fixture(scope="module")
def three_folds(stored_set):
    table = stored_set.table
    folds = fold_patients(
        table["patient_id"].to_numpy(), stored_set.subtypes, table["split"].to_numpy(), num_folds=3, seed=0
    )
    return replace(stored_set, table=table.assign(**{FOLD: folds}))


@pytest.fixture(scope="module")
def ensemble(workspace, three_folds):
    """Three networks; the third fails at first, so that the same command goes on after two."""
    from ich_mlflow.models.slice_cnn.backbones import BACKBONES
    from tests.factories import TINY

    options = TrainOptions(data=str(three_folds.path), **SMALL, resume=True, checkpoints="folds")
    whole_fit, begun = folds_module.Job.fit, []

    def fit(job, stored):
        begun.append(int(np.sum(stored.table["split"] == "validation")))
        if len(begun) == 3:
            raise TrainingError("the machine is on fire")
        return whole_fit(job, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        patch.setattr(folds_module.Job, "fit", fit)
        with pytest.raises(TrainingError, match="fold 2: the machine is on fire"):
            train(options, stored=three_folds)
        trained = train(options, stored=three_folds)
    assert len(begun) == 4  # the third again, the first two not
    return trained


def test_the_model_says_the_mean_log_odds_of_its_members(ensemble, three_folds):
    classifier = load_classifier(ensemble.serving_uri)
    assert classifier.specification.members == len(classifier.members) == 3
    hu = three_folds.hu(np.arange(3))
    each = [member.outputs(hu).astype(np.float64) for member in classifier.members]
    assert np.abs(each[0] - each[1]).max() > 1e-4
    mean = np.mean([np.log(one / (1 - one)) for one in each], axis=0)
    np.testing.assert_allclose(classifier.uncalibrated(hu), 1 / (1 + np.exp(-mean)), atol=1e-5)
    said, maps = classifier.explained(hu[..., None])
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-mean)), atol=1e-5)
    by_hand = np.mean([member.explained(hu[..., None])[1] for member in classifier.members], axis=0)
    np.testing.assert_allclose(maps, by_hand)


def test_every_patient_outside_test_counts_by_the_network_that_has_not_learned_from_it(ensemble, three_folds):
    classifier = load_classifier(ensemble.serving_uri)
    fold = three_folds.table[FOLD].to_numpy()
    for number, unseen in enumerate(classifier.unseen()):
        patients = three_folds.table["patient_id"][fold == number].unique()
        np.testing.assert_array_equal(unseen, hashes(patients))
    point = next(
        one for one in classifier.specification.slices.operating_points["max_f1"] if one.label == "any"
    )
    outside = three_folds.table[fold >= 0]
    assert point.positive_patients + point.negative_patients == outside["patient_id"].nunique()
    # what was chosen on: each fold's slices as its own member says
    scores = np.zeros(len(fold))
    for number, member in enumerate(classifier.members):
        rows = np.flatnonzero(fold == number)
        scores[rows] = member.outputs(three_folds.hu(rows)).max(axis=1)
    run = mlflow.MlflowClient().get_run(ensemble.run_id)
    positive = three_folds.subtypes[fold >= 0].any(axis=1)
    above = scores[fold >= 0][positive][:, None] - scores[fold >= 0][~positive]
    auc = np.mean((above > 0) + 0.5 * (above == 0))
    assert run.data.metrics["val/auc/any"] == pytest.approx(auc, abs=1e-6)


def test_folds_are_child_runs_with_their_curves(ensemble):
    client = mlflow.MlflowClient()
    parent = client.get_run(ensemble.run_id)
    children = client.search_runs(
        [parent.info.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{ensemble.run_id}'"
    )
    folds = sorted(children, key=lambda run: run.data.tags[FOLD_TAG])
    assert [run.info.run_name for run in folds] == ["fold 0", "fold 1", "fold 2"]
    assert all(run.info.status == "FINISHED" and "epoch/val_loss" in run.data.metrics for run in folds)
    params = parent.data.params
    assert (params["data.folds"], params["hp.image_size"], params["data.source"]) == ("3", "32", "array")


def test_test_patients_are_scored_by_all_members(ensemble, three_folds):
    classifier = load_classifier(ensemble.serving_uri)
    rows = three_folds.rows("test")
    said = score_rows(classifier, three_folds, rows)
    np.testing.assert_allclose(said.slices, classifier.uncalibrated(three_folds.hu(rows)), atol=1e-6)
    assert said.of_series is None
    assert not any(
        np.isin(hashes(three_folds.table["patient_id"].iloc[rows]), seen.seen["patients"]).any()
        for seen in classifier.ancestry.ancestors
        if seen.seen
    )


def test_an_ensemble_is_evaluated_by_its_own_set_as_any_model(ensemble, three_folds):
    evaluated = evaluate(EvaluateOptions(model=ensemble.serving_uri, resamples=100, heat_maps=1))
    assert evaluated.scored.rows.tolist() == three_folds.rows("test").tolist()
    report = mlflow.artifacts.load_text(f"runs:/{evaluated.run_id}/report.html")
    assert "The model is the mean of 3 networks, one for each fold" in report


def test_a_set_without_folds_is_dealt_into_five(stored_set):
    dealt = dealt_into_folds(stored_set)
    folds = dealt.table[FOLD].to_numpy()
    assert set(folds[stored_set.table["split"] != "test"]) == {0, 1, 2, 3, 4}
    assert (folds[stored_set.table["split"] == "test"] == -1).all()
    np.testing.assert_array_equal(folds, dealt_into_folds(stored_set).table[FOLD])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fold": "1"}, "fold is '1', expected auto with folds=all"),
        ({"folds": "every"}, "folds is 'every', expected 0 or all, or 2 to 100"),
        ({"folds": "1"}, "folds is '1', expected 0 or all, or 2 to 100"),
    ],
)
def test_what_means_nothing_is_refused(stored_set, changed, said):
    with pytest.raises(OptionError, match=said):
        TrainOptions(data=str(stored_set.path), **{**SMALL, **changed})


def test_a_fold_that_could_not_be_trained_is_refused_before_the_first(three_folds, workspace, tiny_backbone):
    refusing = {**SMALL, "missing_labels": "refuse"}
    lonely = three_folds.table[FOLD].where(three_folds.table["epidural"] == 0, 0)
    one_fold = replace(three_folds, table=three_folds.table.assign(**{FOLD: lonely}))
    with pytest.raises(DataError, match="no patient with epidural"):
        train(TrainOptions(data=str(three_folds.path), **refusing), stored=one_fold)
