"""What training options say of a model family: which it is, and what of what was said is another's."""

import re
from dataclasses import field, make_dataclass
from typing import Any

from ich_mlflow.errors import OptionError
from ich_mlflow.models.family import Family
from ich_mlflow.models.recipes import HYPERPARAMETERS, RECIPES, hyperparameters_of
from ich_mlflow.models.registry import FAMILIES, SLICE_CNN, family_of
from ich_mlflow.parameters import AUTO, Parameter, declared, parameters_of, text_of
from ich_mlflow.sources.registry import PHANTOM

RUN_ID = r"[0-9a-f]{32}"


def _of_recipes(name: str) -> str:
    """The default of a hyperparameter's flag: the recipe's, with what it is in a recipe of each family."""
    found: dict[str, str] = {}
    for family in FAMILIES.values():
        if name in hyperparameters_of(family):
            found.setdefault(text_of(getattr(RECIPES[family.recipe], name)), family.recipe)
    return ", ".join(["the recipe's", *(f"{text} in {recipe}" for text, recipe in found.items())])


#: A hyperparameter as it is typed: its value, or for a search several; auto: the recipe's.
HyperparameterFlags: Any = make_dataclass(
    "HyperparameterFlags",
    [
        (
            name,
            str,
            field(
                default=AUTO,
                metadata={
                    "parameter": Parameter(
                        text=declared(one).text,
                        default_said=_of_recipes(name),
                        formerly=declared(one).formerly,
                        group=declared(one).group or "Other hyperparameters",
                    )
                },
            ),
        )
        for name, one in HYPERPARAMETERS.items()
    ],
    frozen=True,
    kw_only=True,
)


def hyperparameters_said(options: Any) -> dict[str, str]:
    """The hyperparameters that were said, as text by name."""
    said = {name: getattr(options, name) for name in HYPERPARAMETERS}
    return {name: text for name, text in said.items() if text != AUTO}


def recipe_name(options: Any) -> str:
    """The recipe that was said; else the family's: the one for the phantom cohort made here, or for other data."""
    if options.recipe != AUTO:
        return str(options.recipe)
    family = FAMILIES[SLICE_CNN if options.family == AUTO else options.family]
    own_data = options.data != AUTO or getattr(options, "source", AUTO) not in (AUTO, PHANTOM)
    return family.recipe if own_data else family.demo_recipe or family.recipe


def is_own_recipe(text: str) -> bool:
    """Whether the text names a recipe's file, or a run by its id."""
    return text.endswith(".json") or bool(re.fullmatch(RUN_ID, text))


def family_said(options: Any) -> Family | None:
    """The family that the options name, by its name or a recipe's; None where only a recipe of the user's own says it.

    Raises OptionError where what was said is another family's.
    """
    recipe = recipe_name(options)
    family = family_of(RECIPES[recipe]) if recipe in RECIPES else FAMILIES.get(options.family)
    if family is not None:
        expect_family(options, family)
    return family


def expect_family(options: Any, family: Family) -> None:
    """Raise OptionError where another family was said than the recipe's, or something that only another one has."""
    if options.family not in (AUTO, family.name):
        raise OptionError(
            f"family is {options.family!r}, but recipe={options.recipe} is of family {family.name}: leave out one of "
            "the two"
        )
    for name, text in hyperparameters_said(options).items():
        owners = (one for one in FAMILIES.values() if name in hyperparameters_of(one))
        _expect_owned(name, text, "hyperparameter", family, list(owners))
    for name, one in parameters_of(options).items():
        owners = (other for other in FAMILIES.values() if name in other.options)
        if getattr(options, name) != one.default:
            _expect_owned(name, getattr(options, name), "option", family, list(owners))


def _expect_owned(name: str, value: Any, kind: str, family: Family, owners: list[Family]) -> None:
    if owners and family not in owners:
        raise OptionError(
            f"{name} is {value!r}, but family {family.name} has no such {kind}: leave it out, or pass -P "
            f"family={owners[0].name}"
        )
