"""What a search varies: dimensions over hyperparameters, and how a trial's values become a setting."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna

from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.augmentation import SCALED
from ich_mlflow.parameters import Choice, Dimension, OnlyWith, Range, declared, parameters_of

#: One dimension for several hyperparameters: a factor of the recipe's strengths of augmentation.
AUGMENTATION = "augmentation"
#: A trial with other labels, or scored by another figure, can't be compared.
_FIXED = ("num_classes", "monitor")


def dimensions_of(hyperparameters: Any) -> dict[str, Dimension]:
    """What varies of a family's hyperparameters, a class or a setting, where nothing was said of it."""
    names = parameters_of(hyperparameters)
    searched = {
        name: dimension for name, one in names.items() if (dimension := declared(one).search) is not None
    }
    return searched | ({AUGMENTATION: Range(0.0, 2.0)} if names.keys() >= set(SCALED) else {})


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions over a base, the hyperparameters of any family: what no dimension moves is the base's."""

    base: Any
    dimensions: Mapping[str, Dimension]

    def __post_init__(self) -> None:
        """Raises OptionError for a dimension that can't be one, or an end of one that is out of range."""
        for name, dimension in self.dimensions.items():
            if name in _FIXED:
                raise OptionError(
                    f"{name} is {dimension}, expected one value: trials that differ in it can't be compared"
                )
            needs = self._only_with.get(name)
            company = {needs.name: needs.example} if needs else {}
            for end in dimension.ends:
                self.setting(company | {name: end})

    @classmethod
    def of(cls, base: Any, said: Mapping[str, Dimension], *, fixed: Container[str] = ()) -> "Space":
        """dimensions_of the base, and over them those that were said; none of the names in `fixed`.

        Raises OptionError for a dimension that was said and moves nothing, and as the class does.
        """
        kept = {
            name: dimension
            for name, dimension in dimensions_of(base).items()
            if name not in fixed and name not in said
        }
        if any(name in said or name in fixed for name in SCALED):
            kept.pop(AUGMENTATION, None)
        space = cls(base=base, dimensions={**kept, **said})
        idle = [name for name in space.dimensions if not space._can_count(name)]
        for name in idle:
            if name in said:
                raise OptionError(
                    f"{name} is {said[name]}, but it has no effect in this search: leave it out, or let "
                    f"{space._only_with[name].name} vary"
                )
        return cls(
            base=base, dimensions={name: one for name, one in space.dimensions.items() if name not in idle}
        )

    def sampling_within(self, low: float, high: float) -> "Space":
        """The same space with sampling rates that data allow; without class-balanced sampling where there is none."""
        rates = self.dimensions.get("sampling_rate")
        if not isinstance(rates, Range):
            return self
        low, high = max(low, rates.low), min(high, rates.high)
        if low < high:
            return replace(
                self, dimensions={**self.dimensions, "sampling_rate": replace(rates, low=low, high=high)}
            )
        dimensions = {
            name: dimension
            for name, dimension in self.dimensions.items()
            if name not in ("sampling", "sampling_rate")
        }
        return Space(base=replace(self.base, sampling="natural", sampling_rate=0.0), dimensions=dimensions)

    def suggest(self, trial: optuna.Trial) -> Any:
        """The setting of a trial."""
        values: dict[str, Any] = {}
        for name in sorted(self.dimensions, key=self._num_before):
            if self._counts(name, values):
                values[name] = _suggest(trial, name, self.dimensions[name])
        return self.setting(values)

    def setting(self, values: Mapping[str, Any]) -> Any:
        """The base with those values of dimensions; what they leave without meaning gets its default."""
        values = dict(values)
        factor = values.pop(AUGMENTATION, 1.0)
        known = self._base_values
        scaled = {name: known[name] * factor for name in SCALED if name in known and name not in values}
        known |= scaled | values
        for name, needs in self._only_with.items():
            if not needs.holds(known):
                known[name] = parameters_of(self.base)[name].default
        return replace(self.base, **known)

    def of_base(self) -> dict[str, Any]:
        """The base's own values of the dimensions, a trial to begin with; an end where it lies beyond a range."""
        values: dict[str, Any] = {}
        for name in sorted(self.dimensions, key=self._num_before):
            value = 1.0 if name == AUGMENTATION else getattr(self.base, name)
            if name == "sampling_rate" and not value:
                value = 1 / (min(self.base.num_classes, 5) + 1)
            nearest = self.dimensions[name].nearest(value)
            if nearest is not None and self._counts(name, values):
                values[name] = nearest
        return values

    def describe(self) -> dict[str, str]:
        """Each dimension as text, by name."""
        return {name: str(dimension) for name, dimension in self.dimensions.items()}

    @property
    def _base_values(self) -> dict[str, Any]:
        return {name: getattr(self.base, name) for name in parameters_of(self.base)}

    @property
    def _only_with(self) -> dict[str, OnlyWith]:
        """What a hyperparameter needs to mean anything, by name; where it lacks that, it has its default."""
        found = {name: declared(one).only_with for name, one in parameters_of(self.base).items()}
        return {name: needs for name, needs in found.items() if needs is not None}

    def _num_before(self, name: str) -> int:
        """How many dimensions must be drawn before it, since whether it counts hangs on them."""
        needs = self._only_with.get(name)
        return 0 if needs is None or needs.name not in self.dimensions else 1 + self._num_before(needs.name)

    def _counts(self, name: str, values: Mapping[str, Any]) -> bool:
        known = self._base_values | dict(values)
        needs = self._only_with.get(name)
        return needs is None or (needs.holds(known) and self._counts(needs.name, values))

    def _can_count(self, name: str) -> bool:
        """Whether the base, or some value of the dimensions that it needs, lets it count."""
        needs = self._only_with.get(name)
        if needs is None:
            return True
        dimension = self.dimensions.get(needs.name)
        values = dimension.ends if dimension else (getattr(self.base, needs.name),)
        return any(needs.check.allows(value) for value in values) and self._can_count(needs.name)


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
