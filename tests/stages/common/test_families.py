import pytest

from ich_mlflow.cli import options_of, parse
from ich_mlflow.errors import OptionError
from ich_mlflow.models.registry import FAMILIES
from ich_mlflow.parameters import AUTO, declared, parameters_of
from ich_mlflow.stages.common.families import family_said, recipe_name
from ich_mlflow.stages.common.options import WEIGHTS_MODEL
from ich_mlflow.stages.common.recipes import chosen_hyperparameters
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions

TRAINING = [options_of(stage) for stage in ("train", "tune", "main")]


@pytest.mark.parametrize(
    ("said", "recipe", "family"),
    [
        ({}, "demo", "slice_cnn"),
        ({"data": "x"}, "reference", "slice_cnn"),
        ({"family": "slice_cnn"}, "demo", "slice_cnn"),
        ({"family": "exam_sequence"}, "exam-sequence", "exam_sequence"),
        ({"family": "exam_sequence", "data": "x"}, "exam-sequence", "exam_sequence"),
        ({"recipe": "exam-sequence"}, "exam-sequence", "exam_sequence"),
        ({"recipe": "exam-sequence", "family": "exam_sequence"}, "exam-sequence", "exam_sequence"),
    ],
)
def test_a_family_is_said_by_its_name_or_by_a_recipes(said, recipe, family):
    for options in (options_class(**said) for options_class in TRAINING):
        assert recipe_name(options) == recipe
        assert family_said(options) is FAMILIES[family]


def test_of_a_recipe_of_ones_own_the_family_is_known_when_it_is_read():
    assert family_said(TrainOptions(recipe="mine.json")) is None
    assert family_said(TrainOptions(recipe="mine.json", family="exam_sequence")) is FAMILIES["exam_sequence"]


OF_SLICES = "but family exam_sequence has no such hyperparameter: leave it out, or pass -P family=slice_cnn"
OF_SEQUENCES = (
    "but family slice_cnn has no such hyperparameter: leave it out, or pass -P family=exam_sequence"
)


@pytest.mark.parametrize("options_class", TRAINING)
@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            {"family": "exam_sequence", "backbone": "efficientnet-b0"},
            f"backbone is 'efficientnet-b0', {OF_SLICES}",
        ),
        ({"recipe": "exam-sequence", "flip": "false"}, f"flip is 'false', {OF_SLICES}"),
        ({"kind": "gru"}, f"kind is 'gru', {OF_SEQUENCES}"),
        ({"recipe": "model-1", "width": "16"}, f"width is '16', {OF_SEQUENCES}"),
        (
            {"family": "exam_sequence", "recipe": "model-1"},
            "family is 'exam_sequence', but recipe=model-1 is of family slice_cnn: leave out one of the two",
        ),
        (
            {"family": "slice_cnn", "recipe": "exam-sequence"},
            "family is 'slice_cnn', but recipe=exam-sequence is of family exam_sequence: leave out one of the two",
        ),
        (
            {"family": "exam_sequenz"},
            "family is 'exam_sequenz', expected auto, slice_cnn or exam_sequence (did you mean exam_sequence?): pass "
            "-P family=…",
        ),
        (
            {"slice_model": "ich-5class@champion"},
            "slice_model is 'ich-5class@champion', but family slice_cnn has no such option: leave it out, or pass -P "
            "family=exam_sequence",
        ),
        (
            {"family": "exam_sequence", "weights": "random"},
            "weights is 'random', but family exam_sequence has no such option: leave it out, or pass -P "
            "family=slice_cnn",
        ),
        (
            {"family": "exam_sequence", "slice_model": "the best"},
            "slice_model is 'the best', expected auto, or a model: ich-5class@champion, models:/<name>/<version>, "
            "runs:/<run id>/serving or a train run's id: pass -P slice_model=…",
        ),
        (
            {"family": "exam_sequence", "kind": "grue"},
            "kind is 'grue', expected conv, gru or attention (did you mean gru?): pass -P kind=…",
        ),
        (
            {"family": "exam_sequence", "kind": "gru", "depth": "3"},
            "depth is 3, expected with kind=conv or attention, or 2: pass -P depth=…",
        ),
    ],
)
def test_what_does_not_go_with_the_family_is_refused_in_one_line(options_class, said, line):
    with pytest.raises(OptionError) as refusal:
        options_class(**said)
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            {"augmentation": "0..2"},
            "augmentation is '0..2', but family exam_sequence has no such option: leave it out, or pass -P "
            "family=slice_cnn",
        ),
        ({"dropout": "0.1..0.5"}, f"dropout is '0.1..0.5', {OF_SLICES}"),
        ({"width": "2..64"}, "width is 2, expected 4 to 256: pass -P width=…"),
        ({"kind": "conv|lstm"}, "kind is 'lstm', expected conv, gru or attention: pass -P kind=…"),
    ],
)
def test_a_search_over_the_sequence_is_said_in_its_own_names(said, line):
    with pytest.raises(OptionError) as refusal:
        TuneOptions(family="exam_sequence", **said)
    assert str(refusal.value) == line


@pytest.mark.parametrize("options_class", TRAINING)
@pytest.mark.parametrize(
    "model",
    ["ich-5class@champion", "ich-5class/3", "models:/ich-5class/3", f"runs:/{'0' * 32}/serving", "0" * 32],
)
def test_the_model_of_the_slices_is_named_as_weights_are(options_class, model):
    assert WEIGHTS_MODEL.allows(model)
    arguments = ["--family", "exam_sequence", "--slice_model", model, "--kind", "attention", "--epochs", "3"]
    assert parse(options_class, arguments).slice_model == model


def test_what_was_said_stands_over_the_familys_recipe():
    name, setting = chosen_hyperparameters(
        TrainOptions(family="exam_sequence", kind="attention", depth="4", epochs="3")
    )
    assert name == "exam-sequence"
    assert (setting.kind, setting.depth, setting.epochs, setting.patience) == ("attention", 4, 3, 15)


def test_every_hyperparameter_is_one_flag_with_the_defaults_of_each_familys_recipe():
    for known in map(parameters_of, TRAINING):
        assert known.keys() > {
            name for family in FAMILIES.values() for name in parameters_of(family.hyperparameters)
        }
        assert known["kind"].default == AUTO
        assert declared(known["kind"]).default_said == "the recipe's, conv in exam-sequence"
        assert declared(known["epochs"]).default_said == "the recipe's, 10 in reference, 60 in exam-sequence"
        assert declared(known["ema"]).default_said == "the recipe's, 0 in reference"
