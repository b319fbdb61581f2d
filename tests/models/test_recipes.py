from dataclasses import asdict, replace

import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters as OfSequence
from ich_mlflow.models.hyperparameters import TrainingHyperparameters
from ich_mlflow.models.recipes import HYPERPARAMETERS, RECIPES, from_values, hyperparameters_of, resolve
from ich_mlflow.models.registry import FAMILIES, family_of
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.parameters import declared, parameters_of


def test_every_family_brings_its_recipes_and_those_that_are_trained_where_none_is_said():
    assert {name: family_of(one).name for name, one in RECIPES.items()} == {
        **dict.fromkeys(("model-1", "model-2", "model-3", "reference", "demo", "small-cohort"), "slice_cnn"),
        "exam-sequence": "exam_sequence",
    }
    for family in FAMILIES.values():
        assert family.recipe in family.recipes
        assert not family.demo_recipe or family.demo_recipe in family.recipes
        assert family.fixed_by_recipe.keys() <= family.recipes.keys()


def test_no_recipe_has_a_lesion_head_since_nobody_knows_when_it_pays():
    assert {getattr(one, "lesion_weight", 0.0) for one in RECIPES.values()} == {0.0}
    assert replace(RECIPES["small-cohort"], lesion_weight=1.0).lesion_weight == 1  # an option gives it one


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_every_training_has_is_the_same_in_each_family_but_for_defaults_searches_and_company(family):
    known = hyperparameters_of(family)
    for name, one in parameters_of(TrainingHyperparameters).items():
        here = known[name]
        assert (declared(here).text, declared(here).check) == (declared(one).text, declared(one).check)
        assert (here.type, declared(here).log) == (one.type, declared(one).log)
    assert family.hyperparameters().frozen_epochs == 0
    assert known.keys() >= set(family.hyperparameters.in_memory)
    assert len(family.hyperparameters.in_memory) >= 2


def test_all_hyperparameters_begin_with_the_slice_cnns_and_name_each_once():
    of_slices = list(parameters_of(Hyperparameters))
    assert list(HYPERPARAMETERS)[: len(of_slices)] == of_slices
    assert list(HYPERPARAMETERS)[len(of_slices) :] == ["kind", "width", "depth", "inputs", "sequence_dropout"]


def test_a_recipe_of_the_sequence_is_varied_by_its_own_names():
    assert resolve("exam-sequence", {"kind": "gru"}) == OfSequence(kind="gru")


def test_values_are_read_by_their_family_and_the_slice_cnns_where_none_is_said():
    setting = OfSequence(width=16)
    assert from_values(asdict(setting), family="exam_sequence") == setting
    assert from_values({"warmup_epochs": 2}) == Hyperparameters(frozen_epochs=2)
    with pytest.raises(OptionError, match="there is no hyperparameter backbone: leave it out"):
        from_values({"backbone": "efficientnet-b0"}, family="exam_sequence")
    with pytest.raises(OptionError, match=r"family is 'exam_sequenz', .*\(did you mean exam_sequence\?\)"):
        from_values({}, family="exam_sequenz")
