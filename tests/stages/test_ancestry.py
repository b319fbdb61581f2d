"""Patients of the trainings that weights come from: real trainings one after another, refused by the real evaluate."""

from dataclasses import replace

import mlflow
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import ModelError, OptionError, TrainingError
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.parameters import expect_inputs
from ich_mlflow.serving.packaging import keras_file, load_classifier
from ich_mlflow.stages.common import training_job as job_module
from ich_mlflow.stages.common.initial_weights import pinned
from ich_mlflow.stages.evaluate import evaluate as evaluate_module
from ich_mlflow.stages.evaluate.evaluate import evaluate
from ich_mlflow.stages.evaluate.options import EvaluateOptions
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from tests.conftest import LABELS
from tests.factories import ArraySource

pytestmark = pytest.mark.usefixtures("tiny_backbone")


class _Renamed(ArraySource):
    """The same slices of patients by other names."""

    def read(self, file):
        one = super().read(file)
        names = {name: f"new {getattr(one, name)}" for name in ("patient_id", "study_uid", "series_uid")}
        return replace(one, **names)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A set of 18 patients of whom none is one of stored_set's."""
    folder = tmp_path_factory.mktemp("others")
    source = _Renamed(folder, LABELS, slices_per_patient=4)
    return build_stored_set(source, folder / "set", BuildOptions(seed=3, workers=1), progress=False)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """The patients of stored_set, split with another seed."""
    folder = tmp_path_factory.mktemp("shuffled")
    source = ArraySource(folder, LABELS, slices_per_patient=4)
    return build_stored_set(source, folder / "set", BuildOptions(seed=7, workers=1), progress=False)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(evaluate_module, "log_figures", lambda *told, **more: None)


def started_from(weights, stored, **more):
    """A training of the smallest kind from those weights."""
    told = {"image_size": "32", "epochs": "1", "batch_size": "8", "data": str(stored.path), **more}
    return train(TrainOptions(weights=str(weights), **told))


def ancestors(trained):
    """Names of all that the logged models have learned from, which both say alike."""
    found = load_classifier(trained.serving_uri).ancestry
    carried = job_module.initial_weights(trained.keras_uri, name="efficientnet-b0", image_size=32).ancestry
    assert carried.said == found.said
    return [one.name for one in found.ancestors]


def test_a_model_is_refused_on_patients_that_its_weights_learned_from(
    trained, stored_set, others, shuffled, no_figures, capsys
):
    second = started_from(keras_file(trained.serving_uri), others)
    assert ancestors(second) == [f"run {trained.run_id}", f"run {second.run_id}"]
    said = capsys.readouterr().out
    patients = stored_set.table.loc[stored_set.table["split"] != "test", "patient_id"].nunique()
    assert f"weights: they have learned from run {trained.run_id} ({patients} patients of array" in said
    assert "so evaluate will refuse it" not in said
    # a copy of the first one's patients, split otherwise; the first one's set need not be on this machine
    with pytest.raises(ModelError) as refusal:
        evaluate(EvaluateOptions(model=second.serving_uri, data=str(shuffled.path)))
    seen = set(stored_set.table.loc[stored_set.table["split"] != "test", "patient_id"])
    shared = len(seen & set(shuffled.table.loc[shuffled.table["split"] == "test", "patient_id"]))
    assert f"{shared} patients of the test split of {shuffled.path} were in the training" in str(
        refusal.value
    )
    assert f"of what the weights of {second.serving_uri} come from, run {trained.run_id}" in str(
        refusal.value
    )
    assert "\n" not in str(refusal.value)
    # patients whom neither has learned from
    for data in (others, stored_set):
        told = {"model": second.serving_uri, "data": str(data.path), "resamples": 100, "heat_maps": 0}
        assert evaluate(EvaluateOptions(**told)).unseen_checked


def test_a_models_own_test_split_is_refused_where_its_weights_learned_from_it(trained, shuffled, capsys):
    second = started_from(trained.run_id, shuffled)
    said = capsys.readouterr().out
    assert f"of the test split of {shuffled.path} (run {trained.run_id}" in said
    assert "so evaluate will refuse it" in said
    with pytest.raises(ModelError, match=r"of what the weights of .* come from"):
        evaluate(EvaluateOptions(model=second.serving_uri))


def test_a_model_as_a_baseline_is_looked_at_too(trained, stored_set, shuffled, others):
    other = started_from("random", others)
    told = {"model": other.serving_uri, "baseline": trained.serving_uri, "data": str(shuffled.path)}
    with pytest.raises(
        ModelError, match=rf"were in the training or validation split of {trained.serving_uri}"
    ):
        evaluate(EvaluateOptions(**told))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_what_a_foreign_file_learned_from_is_not_known_and_that_is_said(
    workspace, others, tmp_path, no_figures, capsys, suffix
):
    foreign, backbone = tmp_path / f"foreign{suffix}", build_backbone(image_size=32)
    backbone.save(foreign) if suffix == ".keras" else backbone.save_weights(foreign)
    trained = started_from(foreign, others)
    name = f"file:{foreign.name}"
    assert f"note: it is not known what {name} learned from" in capsys.readouterr().out
    assert ancestors(trained) == [name, f"run {trained.run_id}"]
    # and so of what is made from that
    second = started_from(trained.keras_uri, others)
    found = evaluate(EvaluateOptions(model=second.serving_uri, resamples=100, heat_maps=0))
    assert not found.unseen_checked
    unknown = f"it is not known what {name} learned from, so shared patients can't be ruled out"
    assert f"note: {unknown}" in capsys.readouterr().out
    card = mlflow.artifacts.load_text(f"runs:/{found.run_id}/model_card.md")
    assert f"as far as is known: {unknown}" in card
    assert f"{name} (what it learned from is not known)" in card


def test_a_model_of_the_registry_is_named_by_its_version(trained, others):
    client = mlflow.MlflowClient()
    name = "ancestry-5class"
    version = mlflow.register_model(trained.serving_uri, name).version
    client.set_registered_model_alias(name, "champion", version)
    second = started_from(f"{name}@champion", others)
    params = mlflow.get_run(second.run_id).data.params
    assert params["weights.start"] == f"models:/{name}/{version}"
    assert params["weights.said"] == f"weights: EfficientNet-B0 starts from models:/{name}/{version}"
    assert load_classifier(second.serving_uri).specification.weights == f"models:/{name}/{version}"
    assert ancestors(second)[0] == f"run {trained.run_id}"
    assert pinned(f"{name}/{version}") == f"models:/{name}/{version}"
    with pytest.raises(ModelError, match=r"is not to be found .*did you mean ancestry-5class@champion"):
        started_from(f"{name}@champoin", others)
    client.delete_registered_model(name)


def test_a_run_is_named_by_its_id(trained):
    assert pinned(trained.run_id) == pinned(f"runs:/{trained.run_id}/keras") == trained.keras_uri
    assert pinned(trained.keras_uri) == trained.keras_uri
    for text in ("auto", "random", "phantom", "some/file.keras", "data/3.npz"):
        assert pinned(text) == text
    with pytest.raises(ModelError, match=r"run 0{32} is not in sqlite"):
        pinned("0" * 32)
    with pytest.raises(ModelError, match="is not to be found"):
        pinned(f"runs:/{trained.run_id}/kears")


def test_only_a_file_that_is_here_is_looked_for_before_anything_begins(tmp_path):
    for text in ("ich-5class/3", "runs:/0/checkpoint/best.keras", "models:/m/1"):
        expect_inputs(TrainOptions(weights=text))
    with pytest.raises(OptionError, match="expected a file or folder that is there"):
        expect_inputs(TrainOptions(weights=str(tmp_path / "none.keras")))


@pytest.mark.parametrize("text", ["imagnet", "model:/ich-5class/3", "runs:/", "ich 5class@champion"])
def test_what_names_no_weights_is_refused(text):
    with pytest.raises(OptionError, match=r"expected auto, imagenet, phantom or random, or a \.keras"):
        TrainOptions(weights=text)


def test_the_best_weights_of_a_training_that_failed_say_what_it_learned_from(
    trained, stored_set, others, monkeypatch, tmp_path
):
    stopped = stopped_after_an_epoch(monkeypatch, TrainingError("the loss is nan"))
    with pytest.raises(ModelError, match="are kept: -P weights="):
        started_from(trained.run_id, stored_set, checkpoints=str(tmp_path), epochs="2")
    monkeypatch.setattr(job_module, "fit", stopped)
    failed = mlflow.search_runs(["1"], max_results=1, output_format="list")[0].info.run_id
    (best,) = tmp_path.rglob("best.keras")
    for weights in (best, f"runs:/{failed}/checkpoint/best.keras"):
        again = started_from(weights, others)
        # the failed one learned from the same patients as the first: one ancestor, the newer
        assert ancestors(again) == [f"run {failed}", f"run {again.run_id}"]


def test_a_training_that_was_cut_off_remembers_what_its_weights_had_learned_from(
    trained, others, monkeypatch, tmp_path, capsys
):
    weights = tmp_path / "weights.keras"
    weights.write_bytes(keras_file(trained.serving_uri).read_bytes())
    told = {"checkpoints": str(tmp_path / "checkpoints"), "epochs": "2"}
    whole = stopped_after_an_epoch(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        started_from(weights, others, **told)
    monkeypatch.setattr(job_module, "fit", whole)
    weights.unlink()
    resumed = started_from(weights, others, **told, resume=True)
    assert f"goes on with run {resumed.run_id}" in capsys.readouterr().out
    assert ancestors(resumed) == [f"run {trained.run_id}", f"run {resumed.run_id}"]


def stopped_after_an_epoch(monkeypatch, error):
    """Let trainings end with the error after their first epoch; return the fit that does not."""
    whole = job_module.fit

    def stops(*args, on_epoch, **kwargs):
        def then(epoch, figures):
            on_epoch(epoch, figures)
            raise error

        return whole(*args, on_epoch=then, **kwargs)

    monkeypatch.setattr(job_module, "fit", stops)
    return whole
