"""What the options of a search mean: its space, its name, and where it is kept."""

import hashlib
import json
import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ich_mlflow.dataset.mixture import sets_of
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import OptionError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.family import Family
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.models.recipes import HYPERPARAMETERS, hyperparameters_of
from ich_mlflow.models.registry import family_of
from ich_mlflow.models.slice_cnn.training import reachable_sampling
from ich_mlflow.parameters import AUTO, from_text, is_dimension, parse_dimension, taken_from
from ich_mlflow.stages.common.families import recipe_name
from ich_mlflow.stages.common.recipes import chosen_hyperparameters
from ich_mlflow.stages.common.training_data import rows_beside, training_rows
from ich_mlflow.stages.common.unfinished import what_counts
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import AUGMENTATION_FACTOR, TuneOptions
from ich_mlflow.tuning.search import SearchOptions
from ich_mlflow.tuning.space import AUGMENTATION, Space

JOURNAL_FILE = "search.journal"


@dataclass(frozen=True)
class Plan:
    """What the options mean: the space, the search's name, and where it is kept. Raises OptionError."""

    options: TuneOptions

    def __post_init__(self) -> None:
        assert self.space

    @cached_property
    def _base(self) -> tuple[str, Any]:
        """The recipe and what is fixed, trained in full."""
        options = self.options
        name, base = chosen_hyperparameters(
            replace(options, monitor="val_auc" if options.monitor == AUTO else options.monitor),
            without=self._dimensions_said,
        )
        if options.augmentation != AUTO and not is_dimension(options.augmentation):
            factor = from_text(AUGMENTATION_FACTOR, options.augmentation)
            base = Space(base=base, dimensions={}).setting({AUGMENTATION: factor})
        return name, base

    @property
    def recipe(self) -> str:
        return self._base[0]

    @property
    def base(self) -> Any:
        return self._base[1]

    @property
    def family(self) -> Family:
        return family_of(self.base)

    @cached_property
    def _dimensions_said(self) -> dict[str, str]:
        return {name: text for name, text in self._said.items() if is_dimension(text)}

    def allowed_by(self, stored: StoredSet) -> Space:
        """The space without sampling rates that the training rows do not allow."""
        if "sampling_rate" not in self.space.dimensions:
            return self.space
        scheme = class_scheme(self.base.num_classes)
        drop = self.options.epidural_only
        rows, _ = training_rows(stored, scheme, epidural_only=drop)
        every = [rows, *rows_beside(stored, scheme, epidural_only=drop)]
        ends = [
            reachable_sampling(one, mine, scheme) for one, mine in zip(sets_of(stored), every, strict=True)
        ]
        lowest, highest = max(low for low, _ in ends), min(high for _, high in ends)
        # At the very end a mixture is found slowly, and shows a few slices again and again.
        return self.space.sampling_within(lowest, 0.95 * highest)

    @property
    def _said(self) -> dict[str, str]:
        said = {name: getattr(self.options, name) for name in (*HYPERPARAMETERS, AUGMENTATION)}
        return {name: text for name, text in said.items() if text != AUTO}

    @cached_property
    def space(self) -> Space:
        """What trials vary."""
        known = {**hyperparameters_of(self.family), AUGMENTATION: AUGMENTATION_FACTOR}
        dimensions = {
            name: parse_dimension(known[name], text) for name, text in self._dimensions_said.items()
        }
        made_of = self.family.fixed_by_recipe.get(recipe_name(self.options), ())
        for name in made_of:
            if name in dimensions:
                raise OptionError(
                    f"{name} is {dimensions[name]}, but recipe={self.recipe} fixes it: leave out one of the two"
                )
        base = self.base
        if self.options.trial_epochs != AUTO:
            if "epochs" in dimensions:
                raise OptionError(
                    "epochs varies and trial_epochs is given, expected one of the two: leave out one"
                )
            base = replace(base, epochs=int(self.options.trial_epochs))
        space = Space.of(base, dimensions, fixed=(*made_of, *self._said))
        if not space.dimensions:
            raise OptionError(
                "every hyperparameter is fixed, expected one that varies: leave one out, or pass a range "
                "low..high for it"
            )
        return space

    @cached_property
    def name(self) -> str:
        """Of the search."""
        options = self.options
        if options.search != AUTO:
            return options.search
        text = json.dumps(what_counts(options), sort_keys=True)
        name = f"{self.base.num_classes}class-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return name if options.resume else f"{name}-{uuid.uuid4().hex[:6]}"

    @property
    def folder(self) -> Path:
        """What the search keeps on this machine: journal, workers' logs, checkpoints, the recipe."""
        return Path(self.options.checkpoints) / "searches" / self.name

    @property
    def storage(self) -> str:
        """A file or a URL."""
        return str(self.folder / JOURNAL_FILE) if self.options.storage == AUTO else self.options.storage

    @property
    def search_options(self) -> SearchOptions:
        options, base = self.options, self.space.base
        epochs = max((base.epochs, *(int(end) for end in self._ends("epochs"))))
        frozen = max((base.frozen_epochs, *(int(end) for end in self._ends("frozen_epochs"))))
        return SearchOptions(
            name=self.name,
            direction=MONITORS[base.monitor].direction,
            sampler=options.sampler,
            pruner=options.pruner,
            num_trials=options.trials,
            num_steps=frozen + epochs,
            first_step=frozen + 1,
            seed=options.seed,
        )

    def _ends(self, name: str) -> tuple[Any, ...]:
        dimension = self.space.dimensions.get(name)
        return () if dimension is None else dimension.ends

    @cached_property
    def train_options(self) -> TrainOptions:
        """The part that train takes; hyperparameters are told apart."""
        untold = dict.fromkeys(HYPERPARAMETERS, AUTO)
        return taken_from(self.options, TrainOptions, **untold, workers=0, resume=True)
