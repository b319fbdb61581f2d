import json

import mlflow
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.hyperparameters import RECIPES, Hyperparameters
from ich_mlflow.stages.common.recipes import RECIPE_FILE, Recipe, chosen_hyperparameters
from ich_mlflow.stages.train.options import TrainOptions

TUNED = Recipe(
    name="tuned-a",
    hyperparameters=Hyperparameters(dropout=0.5, loss="focal", focal_gamma=3.0, windows="40/80"),
    about={"trial": 7},
)


def test_a_recipe_of_ones_own_comes_from_a_file_and_can_be_varied(tmp_path):
    path = tmp_path / "mine.json"
    TUNED.write(path)
    name, hyperparameters = chosen_hyperparameters(TrainOptions(recipe=str(path), epochs="2"))
    assert name == "tuned-a"
    assert (hyperparameters.focal_gamma, hyperparameters.dropout, hyperparameters.epochs) == (3.0, 0.5, 2)
    assert Recipe.from_text(path.read_text(), said="it") == TUNED


def test_a_recipe_comes_from_the_run_that_found_it(workspace):
    with mlflow.start_run() as run:
        mlflow.log_dict(TUNED.to_dict(), RECIPE_FILE)
    assert chosen_hyperparameters(TrainOptions(recipe=run.info.run_id)) == ("tuned-a", TUNED.hyperparameters)


def test_a_training_run_is_a_recipe_too(trained):
    name, hyperparameters = chosen_hyperparameters(TrainOptions(recipe=trained.run_id))
    assert name == "reference"
    assert (hyperparameters.image_size, hyperparameters.epochs, hyperparameters.batch_size) == (32, 2, 8)
    assert hyperparameters.flip is RECIPES["reference"].flip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is no recipe"),
        ("[]", "is no recipe"),
        (json.dumps({"name": "a"}), "is no recipe"),
        (json.dumps({"name": "a", "hyperparameters": {"dropouts": 1}}), "dropouts"),
        (json.dumps({"name": "a", "hyperparameters": {"dropout": 2}}), "dropout is 2, expected 0 or more"),
        (
            json.dumps({"name": "a", "hyperparameters": {"dropout": "much"}}),
            "dropout is 'much', expected a number",
        ),
        (
            json.dumps({"name": "a", "hyperparameters": {"epochs": 2.5}}),
            "epochs is 2.5, expected a whole number",
        ),
        (
            json.dumps({"name": "a", "hyperparameters": {"warmup_epochs": 1, "warmup_augment": "no"}}),
            "frozen_augment is",
        ),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(tmp_path, text, expected):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=expected) as refusal:
        chosen_hyperparameters(TrainOptions(recipe=str(path)))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_or_a_run_that_is_not_there_is_refused(workspace):
    with pytest.raises(OptionError, match=r"nowhere.json can't be read"):
        chosen_hyperparameters(TrainOptions(recipe="nowhere.json"))
    with pytest.raises(
        OptionError, match=r"run 0{32} is not in sqlite:.*take the id of a tune or a train run"
    ):
        chosen_hyperparameters(TrainOptions(recipe="0" * 32))
    with mlflow.start_run() as run:
        pass
    with pytest.raises(OptionError, match=r"neither recipe.json nor hyperparameters"):
        chosen_hyperparameters(TrainOptions(recipe=run.info.run_id))
    with pytest.raises(OptionError, match=r"expected auto, model-1, .* or the id of a tune or train run"):
        TrainOptions(recipe="model-9")
