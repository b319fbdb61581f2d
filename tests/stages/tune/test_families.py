"""A search over a family that builds on a model of slices: its plan, and what is seen before the first trial."""

import mlflow
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters
from ich_mlflow.models.registry import FAMILIES
from ich_mlflow.stages.common.initial_weights import models_pinned
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.stages.tune.plan import Plan
from ich_mlflow.stages.tune.tune import _checked, train_command
from ich_mlflow.tuning.search import Search
from ich_mlflow.tuning.storage import open_storage
from tests.printed import check_printed_commands

SEQUENCE = FAMILIES["exam_sequence"]


@pytest.fixture
def options(stored_set, tmp_path):
    return {
        "family": "exam_sequence",
        "data": str(stored_set.path),
        "checkpoints": str(tmp_path / "checkpoints"),
        "search": "s",
    }


def test_the_plan_varies_what_the_sequence_declares_over_its_recipe(options):
    plan = Plan(TuneOptions(**options, width="8|16", depth="1..3", sequence_dropout="0.5", trial_epochs="4"))
    assert (plan.recipe, plan.family) == ("exam-sequence", SEQUENCE)
    assert plan.base == Hyperparameters(monitor="val_auc", sequence_dropout=0.5)
    assert set(plan.space.dimensions) == {"kind", "width", "depth", "learning_rate", "weight_decay"}
    assert (plan.search_options.num_steps, plan.search_options.first_step) == (4, 1)


def test_the_command_that_trains_the_best_names_family_and_slice_model(options, tmp_path):
    plan = Plan(TuneOptions(**options, slice_model="models:/m/1"))
    (words,) = check_printed_commands(train_command(plan, run_id="0" * 32, data=tmp_path))
    assert {"family=exam_sequence", "slice_model=models:/m/1", f"recipe={'0' * 32}"} <= set(words)


def checked(options, stored_set):
    plan = Plan(TuneOptions(**options))
    plan.folder.mkdir(parents=True)
    search = Search(open_storage(plan.storage), plan.search_options)
    with mlflow.start_run() as run:
        pass
    search.begin({"run_id": run.info.run_id})
    return plan, _checked(plan, stored_set, search)


def test_that_the_model_of_the_slices_can_be_loaded_is_seen_before_the_first_trial(
    options, stored_set, trained, capsys
):
    plan, space = checked(options | {"slice_model": trained.serving_uri}, stored_set)
    assert space == plan.space
    said = capsys.readouterr().out
    assert f"the slices' network is {trained.serving_uri}" in said
    assert "they have learned from" in said


def test_a_model_of_the_slices_that_is_not_there_ends_the_search_before_the_first_trial(
    options, stored_set, workspace
):
    with pytest.raises(ModelError, match="'models:/nowhere/1' is not to be found"):
        checked(options | {"slice_model": "models:/nowhere/1"}, stored_set)


def test_models_are_pinned_so_that_an_alias_may_move(trained):
    client = mlflow.MlflowClient()
    mlflow.register_model(trained.serving_uri, "slices")
    client.set_registered_model_alias("slices", "champion", "1")
    for said, pinned in (
        ("slices@champion", "models:/slices/1"),
        (trained.run_id, trained.serving_uri),
    ):
        options = TrainOptions(family="exam_sequence", slice_model=said)
        assert models_pinned(options, SEQUENCE).slice_model == pinned
    client.delete_registered_model("slices")
    of_slices = TrainOptions(weights="random")
    assert models_pinned(of_slices, FAMILIES["slice_cnn"]) == of_slices


def test_auto_is_the_champion_and_where_there_is_none_the_line_says_which_option_names_one(
    workspace, monkeypatch
):
    monkeypatch.setattr("ich_mlflow.stages.common.scoring.alias_version", lambda name, alias: None)
    with pytest.raises(ModelError, match=r"no champion: pass -P slice_model=runs:/<run id>/serving"):
        models_pinned(TrainOptions(family="exam_sequence"), SEQUENCE)
