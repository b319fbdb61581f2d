"""What --help of a stage looks like: parameters stand under what they are for."""

import re
from dataclasses import dataclass

import pytest

from ich_mlflow.cli import STAGES, main, options_of
from ich_mlflow.models.registry import FAMILIES
from ich_mlflow.parameters import groups_of, parameter, parameters_of


@dataclass(frozen=True, kw_only=True)
class _Oven:
    """How hot it is. In degrees."""

    heat: int = parameter(180, "of the air")
    light: bool = parameter(False, "true: it is lit")
    yeast: int = parameter(7, "in grams", group="The dough")


@dataclass(frozen=True, kw_only=True)
class _Bread(_Oven):
    """Bake bread."""

    flour: int = parameter(500, "in grams", group="The dough")
    heat: int = parameter(220, "of the air, for bread")
    name: str = parameter("loaf", "what it is called")


def test_a_parameter_stands_under_its_own_group_or_what_its_class_is_about():
    assert groups_of(_Bread) == {
        "": ["heat", "name"],  # declared anew, so no longer the oven's
        "The dough": ["flour", "yeast"],
        "How hot it is": ["light"],
    }


@pytest.mark.parametrize("stage", STAGES)
def test_every_parameter_of_a_stage_is_in_one_group_that_has_a_name(stage):
    groups = groups_of(options_of(stage))
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(parameters_of(options_of(stage)))
    assert all(re.fullmatch(r"[A-Z][^\n]{,100}", title) for title in groups if title)


def test_train_says_its_own_and_its_data_before_its_hyperparameters(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    page = capsys.readouterr().out
    shown = [
        "options:",
        "--resume ",
        "--name ",
        "What is trained on",
        "--data ",
        "--recipe ",
        "Augmentation:",
    ]
    shown += ["--zoom ", "The network:", "--backbone ", "What it is taught:", "--loss "]
    places = [page.index(f"  {one}" if one.startswith("--") else f"\n{one}") for one in shown]
    assert places == sorted(places)
    assert "Other hyperparameters" not in page  # those of the project's families all say what they are for
    assert set(FAMILIES) >= {"slice_cnn", "exam_sequence"}
