"""Training on several stored sets: home chooses, the others are shown, and nobody is on both sides."""

from dataclasses import replace

import mlflow
import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.mixture import open_sets
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from ich_mlflow.stages.tune.options import TuneOptions
from tests.conftest import LABELS
from tests.factories import TINY, ArraySource

SMALL = {
    "image_size": "32", "epochs": "1", "batch_size": "8", "weights": "random", "series_smoothing": "none",
    "missing_labels": "allow",
}  # fmt: skip


class Elsewhere(ArraySource):
    """Another hospital's patients."""

    name = "elsewhere"

    def read(self, file):
        plain = super().read(file)
        names = {name: f"e-{getattr(plain, name)}" for name in ("patient_id", "study_uid", "series_uid")}
        return replace(plain, **names)


@pytest.fixture(scope="module")
def away(tmp_path_factory):
    folder = tmp_path_factory.mktemp("away")
    source = Elsewhere(folder, LABELS, slices_per_patient=4)
    return build_stored_set(source, folder / "away", BuildOptions(seed=0, workers=1), progress=False)


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    """Home's patients, split otherwise."""
    folder = tmp_path_factory.mktemp("same")
    source = ArraySource(folder, LABELS, slices_per_patient=4)
    return build_stored_set(source, folder / "same", BuildOptions(seed=3, workers=1), progress=False)


@pytest.fixture(scope="module")
def text(stored_set, away, same):
    return ",".join(str(one.path) for one in (stored_set, away, same))


@pytest.fixture(scope="module")
def trained(workspace, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        return train(TrainOptions(data=text, shares="2,1,1", **SMALL))


def test_the_run_says_which_sets_in_which_shares(trained, stored_set, away, same):
    params = mlflow.get_run(trained.run_id).data.params
    assert (params["data.digest"], params["data.source"]) == (stored_set.digest, "array")
    assert (params["data.away.digest"], params["data.away.source"]) == (away.digest, "elsewhere")
    assert [params[f"data.{name}.share"] for name in ("away", "same")] == ["0.25", "0.25"]
    inputs = mlflow.get_run(trained.run_id).inputs.dataset_inputs
    assert {one.dataset.name for one in inputs} == {
        "array-train", "array-validation", "away-train", "same-train",
    }  # fmt: skip


def test_each_set_has_figures_of_its_own_beside_homes(trained):
    metrics = mlflow.get_run(trained.run_id).data.metrics
    for name in ("auc/any", "away/auc/any", "same/auc/any", "away/auc/subdural"):
        assert f"val/{name}" in metrics


def test_the_model_is_homes_and_knows_all_that_it_has_learned_from(trained, stored_set, away):
    model = load_model(trained.serving_uri)
    assert trained.stored_path == stored_set.path
    assert model.specification.trained_on.startswith("array, ")
    assert f"beside it elsewhere, 72 slices of 18 patients, digest {away.digest[:12]}" in (
        model.specification.trained_on
    )
    digests = {one.digest for one in model.ancestry.ancestors}
    assert {stored_set.digest, away.digest} <= digests


def test_homes_test_patients_are_in_no_training_and_evaluate_takes_them(trained, stored_set):
    """Of the set of the same patients those who test at home were left out, though it trains on them."""
    seen = load_classifier(trained.serving_uri).ancestry
    assert isinstance(seen, Ancestry)
    evaluate(EvaluateOptions(model=trained.serving_uri, data=str(stored_set.path), resamples=100))


def test_what_is_left_out_is_said_and_all_folds_train(workspace, text, tiny_backbone, capsys):
    trained = train(TrainOptions(data=text, folds="all", **SMALL))
    said = capsys.readouterr().out
    assert "patients whom another set validates or tests on" in said
    assert mlflow.get_run(trained.run_id).data.params["data.away.share"].startswith("0.333")


def test_a_set_that_changed_is_not_gone_on_with(workspace, text, away, tiny_backbone, tmp_path, monkeypatch):
    from ich_mlflow.stages.common import training_job

    told = TrainOptions(data=text, resume=True, checkpoints=str(tmp_path), **{**SMALL, "epochs": "2"})
    whole = training_job.fit

    def stopped(*args, **kwargs):
        whole(
            *args, **{**kwargs, "on_epoch": lambda epoch, figures: (_ for _ in ()).throw(KeyboardInterrupt)}
        )

    monkeypatch.setattr(training_job, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(told)
    monkeypatch.setattr(training_job, "fit", whole)
    home = open_sets(text)
    changed = replace(home.beside[0], manifest={**away.manifest, "digest": "f" * 64})
    with pytest.raises(DataError, match="has changed since run"):
        train(told, stored=replace(home, beside=(changed, home.beside[1])))
    assert train(told).run_id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": "a,b", "shares": "1"}, "shares is '1', expected 2 numbers"),
        ({"data": "a,b", "shares": "1,0"}, "shares is '1,0', expected numbers above 0"),
        ({"data": "a,b", "shares": "1,x"}, "shares is '1,x', expected auto, or numbers above 0"),
        ({"data": "a", "shares": "1"}, "auto: it is of several stored sets"),
        ({"shares": "1,2"}, "auto: it is of several stored sets"),
    ],
)
def test_shares_that_mean_nothing_are_refused(options, said):
    for kind in (TrainOptions, TuneOptions):
        with pytest.raises(OptionError, match=said.replace("(", r"\(")):
            kind(**options)


def test_other_commands_take_one_set_and_say_so(text):
    with pytest.raises(OptionError, match="expected one stored set"):
        EvaluateOptions(data=text).expect_ready()


def test_a_family_that_reads_series_takes_one_set(workspace, text, trained):
    with pytest.raises(OptionError, match="expected one stored set with family=exam_sequence"):
        train(TrainOptions(data=text, family="exam_sequence", slice_model=trained.serving_uri))


def test_a_set_without_labels_of_slices_is_refused_beside_home(workspace, text, tiny_backbone):
    home = open_sets(text)
    bare = replace(home.beside[0], manifest={**home.beside[0].manifest, "label_level": "study"})
    with pytest.raises(DataError, match="has labels of whole studies"):
        train(TrainOptions(data=text, **SMALL), stored=replace(home, beside=(bare, home.beside[1])))


def test_labels_are_counted_of_all_sets(trained):
    metrics = mlflow.get_run(trained.run_id).data.metrics
    assert all(f"epoch/seen/{label}" in metrics for label in SUBTYPES)
    assert np.isfinite(metrics["epoch/seen/patients"])
