"""The hyperparameters and recipes of all families. Apart from registry.py, which serving reads: it needs neither."""

from dataclasses import Field, replace
from typing import Any

from ich_mlflow.errors import OptionError, nearest
from ich_mlflow.models.family import Family
from ich_mlflow.models.registry import FAMILIES, SLICE_CNN, family_of
from ich_mlflow.parameters import declared, parameters_of

RECIPES: dict[str, Any] = {name: one for family in FAMILIES.values() for name, one in family.recipes.items()}


def hyperparameters_of(family: Family | None) -> "dict[str, Field[Any]]":
    """How a family's hyperparameters are declared, by name; for None those of all, a shared one as the first says."""
    if family is not None:
        return parameters_of(family.hyperparameters)
    found: dict[str, Field[Any]] = {}
    for one in FAMILIES.values():
        found = {**found, **{name: own for name, own in hyperparameters_of(one).items() if name not in found}}
    return found


HYPERPARAMETERS = hyperparameters_of(None)
#: Names of a release before, and what they are called now.
FORMER_NAMES = {
    declared(one).formerly: name for name, one in HYPERPARAMETERS.items() if declared(one).formerly
}


def family_named(name: str) -> Family:
    """The family of that name. Raises OptionError for another name."""
    if name not in FAMILIES:
        raise OptionError(
            f"family is {name!r}, expected one of {', '.join(FAMILIES)}{nearest(name, FAMILIES)}: train it with the "
            "release that made it"
        )
    return FAMILIES[name]


def resolve(recipe: str, overrides: dict[str, Any], *, base: Any = None) -> Any:
    """The recipe's hyperparameters with `overrides` (name -> value) put over them. base: of a recipe of one's own.

    Raises OptionError for an unknown recipe, a value out of range, or an override of what makes the recipe.
    """
    if base is None and recipe not in RECIPES:
        raise OptionError(
            f"recipe is {recipe!r}, expected one of {', '.join(RECIPES)}{nearest(recipe, RECIPES)}: pass -P "
            "recipe=model-1"
        )
    base = base or RECIPES[recipe]
    for name in family_of(base).fixed_by_recipe.get(recipe, ()):
        fixed = getattr(base, name)
        if overrides.get(name, fixed) != fixed:
            raise OptionError(
                f"{name} is {overrides[name]!r}, but recipe={recipe} means {name}={fixed}: leave out one of "
                "the two"
            )
    return replace(base, **overrides)


def from_values(values: dict[str, Any], *, family: str = SLICE_CNN) -> Any:
    """The hyperparameters of values by name, as a recipe or a run has them, names of a release before among them.

    Raises OptionError for an unknown family, a name that it does not have, or a value out of range.
    """
    of_family = family_named(family)
    known = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    names = hyperparameters_of(of_family)
    for name in known:
        if name not in names:
            raise OptionError(f"there is no hyperparameter {name}{nearest(name, names)}: leave it out")
    return of_family.hyperparameters(**known)
