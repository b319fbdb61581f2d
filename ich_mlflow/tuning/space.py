"""What a search varies: dimensions over hyperparameters, and how a trial's values become a setting."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna

from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.augmentation import SCALED
from ich_mlflow.models.slice_cnn.hyperparameters import HYPERPARAMETER_NAMES, HYPERPARAMETERS, Hyperparameters
from ich_mlflow.parameters import Choice, Dimension, OnlyWith, Range, declared

#: One dimension for several hyperparameters: a factor of the recipe's strengths of augmentation.
AUGMENTATION = "augmentation"
#: What a hyperparameter needs to mean anything; where it lacks that, it has its default.
_ONLY_WITH: dict[str, OnlyWith] = {
    name: needs for name, one in HYPERPARAMETERS.items() if (needs := declared(one).only_with) is not None
}
#: A trial with other labels, or scored by another figure, can't be compared.
_FIXED = ("num_classes", "monitor")
#: Varied where nothing was said of it.
DIMENSIONS: dict[str, Dimension] = {
    name: dimension
    for name, one in HYPERPARAMETERS.items()
    if (dimension := declared(one).search) is not None
} | {AUGMENTATION: Range(0.0, 2.0)}


@dataclass(frozen=True, kw_only=True)
class Space:
    """Dimensions over a base: what no dimension moves is the base's."""

    base: Hyperparameters
    dimensions: Mapping[str, Dimension]

    def __post_init__(self) -> None:
        """Raises OptionError for a dimension that can't be one, or an end of one that is out of range."""
        for name, dimension in self.dimensions.items():
            if name in _FIXED:
                raise OptionError(
                    f"{name} is {dimension}, expected one value: trials that differ in it can't be compared"
                )
            needs = _ONLY_WITH.get(name)
            company = {needs.name: needs.example} if needs else {}
            for end in dimension.ends:
                self.setting(company | {name: end})

    @classmethod
    def of(
        cls, base: Hyperparameters, said: Mapping[str, Dimension], *, fixed: Container[str] = ()
    ) -> "Space":
        """DIMENSIONS, and over them those that were said; none of the names in `fixed`.

        Raises OptionError for a dimension that was said and moves nothing, and as the class does.
        """
        kept = {
            name: dimension
            for name, dimension in DIMENSIONS.items()
            if name not in fixed and name not in said
        }
        if any(name in said or name in fixed for name in SCALED):
            kept.pop(AUGMENTATION, None)
        space = cls(base=base, dimensions={**kept, **said})
        idle = [name for name in space.dimensions if not space._can_count(name)]
        for name in idle:
            if name in said:
                raise OptionError(
                    f"{name} is {said[name]}, but nothing in this search lets it count: leave it out, or let "
                    f"{_ONLY_WITH[name].name} vary"
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

    def suggest(self, trial: optuna.Trial) -> Hyperparameters:
        """The setting of a trial."""
        values: dict[str, Any] = {}
        for name in sorted(self.dimensions, key=lambda name: name in _ONLY_WITH):
            if self._counts(name, values):
                values[name] = _suggest(trial, name, self.dimensions[name])
        return self.setting(values)

    def setting(self, values: Mapping[str, Any]) -> Hyperparameters:
        """The base with those values of dimensions; what they leave without meaning gets its default."""
        values = dict(values)
        factor = values.pop(AUGMENTATION, 1.0)
        scaled = {name: getattr(self.base, name) * factor for name in SCALED if name not in values}
        known = {name: getattr(self.base, name) for name in HYPERPARAMETER_NAMES} | scaled | values
        for name, needs in _ONLY_WITH.items():
            if not needs.holds(known):
                known[name] = getattr(_DEFAULTS, name)
        return replace(self.base, **known)

    def of_base(self) -> dict[str, Any]:
        """The base's own values of the dimensions, a trial to begin with; an end where it lies beyond a range."""
        values: dict[str, Any] = {}
        for name in sorted(self.dimensions, key=lambda name: name in _ONLY_WITH):
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

    def _counts(self, name: str, values: Mapping[str, Any]) -> bool:
        known = {field: getattr(self.base, field) for field in HYPERPARAMETER_NAMES} | dict(values)
        return name not in _ONLY_WITH or _ONLY_WITH[name].holds(known)

    def _can_count(self, name: str) -> bool:
        """Whether the base, or some value of the dimension that it needs, lets it count."""
        needs = _ONLY_WITH.get(name)
        values: list[dict[str, Any]] = [{}]
        if needs is not None and needs.name in self.dimensions:
            values = [{needs.name: end} for end in self.dimensions[needs.name].ends]
        return any(self._counts(name, one) for one in values)


_DEFAULTS = Hyperparameters()


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
