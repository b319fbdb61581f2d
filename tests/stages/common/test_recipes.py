import json

import mlflow
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters as OfSequence
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


OF_SEQUENCE = Recipe(name="tuned-b", hyperparameters=OfSequence(kind="gru", width=16), about={"trial": 3})


def test_a_recipe_of_another_family_says_which_and_is_varied_in_its_names(tmp_path):
    path = tmp_path / "mine.json"
    OF_SEQUENCE.write(path)
    assert json.loads(path.read_text())["family"] == "exam_sequence"
    assert Recipe.from_text(path.read_text(), said="it") == OF_SEQUENCE
    name, hyperparameters = chosen_hyperparameters(TrainOptions(recipe=str(path), width="64"))
    assert (name, hyperparameters) == ("tuned-b", OfSequence(kind="gru", width=64))


def test_what_the_family_of_a_recipes_file_does_not_have_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "mine.json"
    OF_SEQUENCE.write(path)
    for said, line in (
        (
            {"dropout": "0.1"},
            "dropout is '0.1', but family exam_sequence has no such hyperparameter: leave it out, or pass -P "
            "family=slice_cnn",
        ),
        (
            {"family": "slice_cnn"},
            f"family is 'slice_cnn', but recipe={path} is of family exam_sequence: leave out one of the two",
        ),
    ):
        with pytest.raises(OptionError) as refusal:
            chosen_hyperparameters(TrainOptions(recipe=str(path), **said))
        assert str(refusal.value) == line


def test_a_file_of_a_release_before_is_of_the_slice_cnn(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "old", "hyperparameters": {"warmup_epochs": 1}}))
    assert chosen_hyperparameters(TrainOptions(recipe=str(path))) == ("old", Hyperparameters(frozen_epochs=1))


@pytest.mark.parametrize("family", ["exam_sequence", None])
def test_a_run_says_its_family_and_one_of_a_release_before_is_of_the_slice_cnn(workspace, family):
    values = {"kind": "gru", "width": 16} if family else {"dropout": 0.5}
    with mlflow.start_run() as run:
        told = {"recipe": "mine", "seed": 1, "epochs": 7, **values, **({"family": family} if family else {})}
        mlflow.log_params({f"hp.{name}": value for name, value in told.items()})
    name, hyperparameters = chosen_hyperparameters(TrainOptions(recipe=run.info.run_id))
    assert name == "mine"
    expected = OfSequence if family else Hyperparameters
    assert hyperparameters == expected(epochs=7, **values)


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
        (
            json.dumps({"name": "a", "family": "exam_sequenz", "hyperparameters": {}}),
            r"family is 'exam_sequenz', expected one of slice_cnn, exam_sequence \(did you mean exam_sequence",
        ),
        (
            json.dumps({"name": "a", "family": "exam_sequence", "hyperparameters": {"dropout": 0.1}}),
            "there is no hyperparameter dropout",
        ),
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
