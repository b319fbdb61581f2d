"""docs/reference/parameters.md, made from the declarations: `make reference` writes it, and a test compares.

Run it from the repository's root.
"""

import inspect
from dataclasses import Field
from pathlib import Path
from typing import Any

from ich_mlflow.cli import STAGES, RunOptions, options_of
from ich_mlflow.models.family import Family
from ich_mlflow.models.recipes import HYPERPARAMETERS, RECIPES, hyperparameters_of
from ich_mlflow.models.registry import FAMILIES, family_of
from ich_mlflow.parameters import Check, declared, parameters_of, text_of
from ich_mlflow.system.whole import write_whole

PAGE = Path("docs/reference/parameters.md")
_HEAD = """# Parameters

Made by `make reference` from the code; don't edit it. Pass one with `mlflow run . -e <stage> -P name=value`, or
with `--name value` of a stage's own command. `auto` means that no value is given: the text says what is taken then.

Every stage takes the parameters of its table. Train, tune and main also take all hyperparameters; one that the family
of the model does not have is refused.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD, _hyperparameters(), _recipes()]
    parts.append(f"## Every stage\n{_table(parameters_of(RunOptions))}")
    for stage in STAGES:
        options = options_of(stage)
        known = parameters_of(options)
        # a hyperparameter that the stage takes as all others stands in the table of them
        own = {name: one for name, one in known.items() if not _is_the_recipes(name, one)}
        first = inspect.cleandoc(options.__doc__ or "").splitlines()[0]
        parts.append(f"## {stage}\n{first}\n\n{_table(own)}")
    return "\n".join(parts)


def _is_the_recipes(name: str, one: "Field[Any]") -> bool:
    return name in HYPERPARAMETERS and declared(one).default_said.startswith("the recipe's")


def _hyperparameters() -> str:
    """A table a family, of what none before it has."""
    parts, told = ["## Hyperparameters"], set[str]()
    for family in FAMILIES.values():
        known = hyperparameters_of(family)
        own = {name: one for name, one in known.items() if name not in told}
        parts.append(f"### {family.name}\n{_defaults(family, told)}\n\n{_searched_table(own)}")
        told |= own.keys()
    return "\n".join(parts)


def _defaults(family: Family, told: set[str]) -> str:
    """Whose the table's defaults are, and what of other families' tables the family has too, and how."""
    known = hyperparameters_of(family)
    shared = [_as_here(name, one) for name, one in known.items() if name in told]
    also = f" It also has, from above, {', '.join(shared)}." if shared else ""
    return f"{family.text[0].upper()}{family.text[1:]}. Defaults are those of the recipe `{family.recipe}`.{also}"


def _as_here(name: str, one: "Field[Any]") -> str:
    """A hyperparameter's name, with its default and what a search varies where the first table has others."""
    first = HYPERPARAMETERS[name]
    differs = [f"default {text_of(one.default)}"] if one.default != first.default else []
    if declared(one).search != declared(first).search:
        differs.append(_searched(one) or "no search varies it")
    return f"`{name}` ({'; '.join(differs)})" if differs else f"`{name}`"


def _searched_table(parameters: "dict[str, Field[Any]]") -> str:
    rows = ["| name | default | may be | what it is | a search varies |", "|---|---|---|---|---|"]
    for name, one in parameters.items():
        declaration = declared(one)
        needs = f"; {declaration.only_with}" if declaration.only_with else ""
        formerly = f" (was {declaration.formerly})" if declaration.formerly else ""
        cells = (
            f"`{name}`{formerly}",
            text_of(one.default),
            f"{_may_be(one, declaration.check)}{needs}",
            declaration.text,
            _searched(one),
        )
        rows.append(_row(*cells))
    return "\n".join(rows) + "\n"


def _searched(one: "Field[Any]") -> str:
    return str(declared(one).search or "").replace("|", "or")


def _recipes() -> str:
    rows = ["| recipe | family | differs from the family's defaults in |", "|---|---|---|"]
    for name, recipe in RECIPES.items():
        family = family_of(recipe)
        base = RECIPES[family.recipe]
        differs = [
            f"{key}={text_of(getattr(recipe, key))}"
            for key in hyperparameters_of(family)
            if getattr(recipe, key) != getattr(base, key)
        ]
        rows.append(_row(f"`{name}`", family.name, ", ".join(differs) or "nothing"))
    return "## Recipes\n" + "\n".join(rows) + "\n"


def _table(parameters: "dict[str, Field[Any]]") -> str:
    rows = ["| name | default | may be | what it is |", "|---|---|---|---|"]
    rows += [
        _row(
            f"`{name}`",
            declared(one).default_said or text_of(one.default),
            _may_be(one, declared(one).check),
            declared(one).text,
        )
        for name, one in parameters.items()
    ]
    return "\n".join(rows) + "\n"


def _may_be(one: "Field[Any]", check: Check | None) -> str:
    if check is not None:
        return str(check)
    return "true or false" if isinstance(one.default, bool) else "text"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    write_whole(PAGE, page())
    print(f"wrote {PAGE}")
