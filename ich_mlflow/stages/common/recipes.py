"""Which hyperparameters a training gets: a recipe's, by name, file or run, under what was said."""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.errors import OptionError
from ich_mlflow.models.recipes import (
    FORMER_NAMES,
    RECIPES,
    family_named,
    from_values,
    hyperparameters_of,
    resolve,
)
from ich_mlflow.models.registry import SLICE_CNN, family_of
from ich_mlflow.parameters import from_text
from ich_mlflow.stages.common.families import (
    expect_family,
    hyperparameters_said,
    is_own_recipe,
    recipe_name,
)
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.system.whole import write_whole
from ich_mlflow.tracking.registry import expect_run, run_artifact, run_parameters

RECIPE_FILE = "recipe.json"
_PREFIX = "hp."


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyperparameters of a family with a name, as tune finds and writes them. about: where they come from."""

    name: str
    hyperparameters: Any
    about: dict[str, Any]

    def write(self, path: Path) -> None:
        """As JSON that `-P recipe=<path>` takes."""
        write_whole(path, json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "family": family_of(self.hyperparameters).name,
            "hyperparameters": asdict(self.hyperparameters),
            "about": self.about,
        }

    @classmethod
    def from_text(cls, text: str, *, said: str) -> "Recipe":
        """The reverse of to_dict; one without a family, of a release before, is the slice CNN's.

        Raises OptionError, which calls the text `said`, where it is no recipe.
        """
        try:
            values = json.loads(text)
            return cls(
                name=str(values["name"]),
                hyperparameters=from_values(
                    values["hyperparameters"], family=str(values.get("family", SLICE_CNN))
                ),
                about=dict(values.get("about", {})),
            )
        except OptionError as error:
            raise OptionError(f"{said}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise OptionError(
                f"{said} is no recipe: expected a JSON object with name and hyperparameters, as tune writes it"
            ) from None


def chosen_hyperparameters(options: TrainOptions, *, without: Container[str] = ()) -> tuple[str, Any]:
    """The recipe's name and its family's hyperparameters under what was said, of names but those in `without`.

    Raises OptionError for a contradiction, what the family does not have, or a value that is none.
    """
    name = recipe_name(options)
    if is_own_recipe(name):
        own = _own_recipe(name)
        name, base = own.name, own.hyperparameters
    else:
        base = RECIPES[name]
    family = family_of(base)
    expect_family(options, family)
    known = hyperparameters_of(family)
    overrides = {
        one: from_text(known[one], text)
        for one, text in hyperparameters_said(options).items()
        if one not in without
    }
    return name, resolve(name, overrides, base=base)


def _own_recipe(text: str) -> Recipe:
    """The recipe of a file, of a tune run, or of what a training run logged."""
    if text.endswith(".json"):
        try:
            return Recipe.from_text(Path(text).read_text(encoding="utf-8"), said=f"recipe {text}")
        except (OSError, UnicodeDecodeError):
            raise OptionError(
                f"recipe {text} can't be read, expected a file that tune wrote, or the id of its run"
            ) from None
    found = run_artifact(text, RECIPE_FILE)
    if found is not None:
        return Recipe.from_text(found.decode(), said=f"the {RECIPE_FILE} of run {text}")
    params = {
        name.removeprefix(_PREFIX): value
        for name, value in run_parameters(text).items()
        if name.startswith(_PREFIX)
    }
    if not params:
        expect_run(text, OptionError, wanted="a tune or a train run")
        raise OptionError(
            f"run {text} has neither {RECIPE_FILE} nor hyperparameters, expected a tune or a train run: take its id "
            "from the UI"
        )
    family = params.get("family", SLICE_CNN)  # a run of a release before says none
    known = {FORMER_NAMES.get(name, name): text for name, text in params.items()}
    names = hyperparameters_of(family_named(family))
    values = {name: from_text(one, known[name]) for name, one in names.items() if name in known}
    return Recipe(
        name=params.get("recipe", "unnamed"),
        hyperparameters=from_values(values, family=family),
        about={"run_id": text},
    )
