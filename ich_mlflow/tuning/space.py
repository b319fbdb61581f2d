"""What a search varies: levers over hyperparameters, and how a trial's values become a setting."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna

from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.hyperparameters import HYPERPARAMETER_NAMES, Hyperparameters

#: One lever for three hyperparameters: a factor of the recipe's rotation, shift and zoom.
AUGMENTATION = "augmentation"
_AUGMENTED = ("rotation_degrees", "shift", "zoom")
#: What decides whether a hyperparameter means anything; where not, it has its default.
_NEEDED = {
    "focal_gamma": "loss",
    "sampling_rate": "sampling",
    "warmup_learning_rate": "warmup_epochs",
    "warmup_augment": "warmup_epochs",
}
_ONLY_WITH: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "focal_gamma": lambda values: values["loss"] == "focal",
    "sampling_rate": lambda values: values["sampling"] == "class_balanced",
    "warmup_learning_rate": lambda values: values["warmup_epochs"] > 0,
    "warmup_augment": lambda values: values["warmup_epochs"] > 0,
}
#: Values beside which each can be checked.
_COMPANY: dict[str, dict[str, Any]] = {
    "focal_gamma": {"loss": "focal"},
    "sampling_rate": {"sampling": "class_balanced"},
    "warmup_learning_rate": {"warmup_epochs": 1},
    "warmup_augment": {"warmup_epochs": 1},
}
#: A trial with other labels, or scored by another figure, can't be compared.
_FIXED = ("num_classes", "monitor")


@dataclass(frozen=True)
class Choice:
    """One of some values: text, numbers or truth values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be valid for all to be."""
        return self.values

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    def nearest(self, value: Any) -> Any:
        """The value itself, or None where it is none of them."""
        return value if value in self.values else None

    def __str__(self) -> str:
        return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """A number from low to high, both included; log: drawn by its logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[float, ...]:
        """Values that must be valid for all to be."""
        return (self.low, self.high)

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> float:
        """The value, or the end it lies beyond."""
        return min(max(value, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}{' (log)' if self.log else ''}"


Lever = Choice | Range
#: Varied where nothing was said of it. The learning rates go a decade and more to either side of the reference's.
LEVERS: dict[str, Lever] = {
    "learning_rate": Range(1e-5, 3e-3, log=True),
    "dropout": Range(0.0, 0.6),
    "dense_units": Choice((64, 128, 256, 512)),
    "windows": Choice(("brain", "brain,subdural,bone")),
    "context": Choice((0, 1)),
    "loss": Choice(("bce", "weighted_bce", "focal")),
    "focal_gamma": Range(1.0, 5.0),
    "sampling": Choice(("natural", "class_balanced")),
    "sampling_rate": Range(0.05, 0.3),
    AUGMENTATION: Range(0.0, 2.0),
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "backbone": Choice(("efficientnet-b0", "efficientnet-lite0")),
}
#: Numbers that are drawn by their logarithm where a range is said.
_LOGARITHMIC = ("learning_rate", "warmup_learning_rate", "weight_decay", "batch_size", "dense_units")


@dataclass(frozen=True, kw_only=True)
class Space:
    """Levers over a base: what no lever moves is the base's."""

    base: Hyperparameters
    levers: Mapping[str, Lever]

    def __post_init__(self) -> None:
        """Raises OptionError for a lever that can't be one, or an end of one that is out of range."""
        for name, lever in self.levers.items():
            if name in _FIXED:
                raise OptionError(
                    f"{name} is {lever}, expected one value: trials that differ in it can't be compared"
                )
            for end in lever.ends:
                self.setting(_COMPANY.get(name, {}) | {name: end})

    @classmethod
    def of(cls, base: Hyperparameters, said: Mapping[str, Lever], *, fixed: Container[str] = ()) -> "Space":
        """LEVERS, and over them those that were said; none of the names in `fixed`.

        Raises OptionError for a lever that was said and moves nothing, and as the class does.
        """
        kept = {name: lever for name, lever in LEVERS.items() if name not in fixed and name not in said}
        if any(name in said or name in fixed for name in _AUGMENTED):
            kept.pop(AUGMENTATION, None)
        space = cls(base=base, levers={**kept, **said})
        idle = [name for name in space.levers if not space._can_count(name)]
        for name in idle:
            if name in said:
                raise OptionError(
                    f"{name} is {said[name]}, but nothing in this search lets it count: leave it out, or let "
                    f"{_NEEDED[name]} vary"
                )
        return cls(base=base, levers={name: one for name, one in space.levers.items() if name not in idle})

    def sampling_within(self, low: float, high: float) -> "Space":
        """The same space with sampling rates that data allow; without class-balanced sampling where there is none."""
        rates = self.levers.get("sampling_rate")
        if not isinstance(rates, Range):
            return self
        low, high = max(low, rates.low), min(high, rates.high)
        if low < high:
            return replace(self, levers={**self.levers, "sampling_rate": replace(rates, low=low, high=high)})
        levers = {
            name: lever for name, lever in self.levers.items() if name not in ("sampling", "sampling_rate")
        }
        return Space(base=replace(self.base, sampling="natural", sampling_rate=0.0), levers=levers)

    def suggest(self, trial: optuna.Trial) -> Hyperparameters:
        """The setting of a trial."""
        values: dict[str, Any] = {}
        for name in sorted(self.levers, key=lambda name: name in _ONLY_WITH):
            if self._counts(name, values):
                values[name] = self.levers[name].suggest(trial, name)
        return self.setting(values)

    def setting(self, values: Mapping[str, Any]) -> Hyperparameters:
        """The base with those values of levers; what they leave without meaning gets its default."""
        values = dict(values)
        factor = values.pop(AUGMENTATION, 1.0)
        scaled = {name: getattr(self.base, name) * factor for name in _AUGMENTED if name not in values}
        known = {name: getattr(self.base, name) for name in HYPERPARAMETER_NAMES} | scaled | values
        for name, counts in _ONLY_WITH.items():
            if not counts(known):
                known[name] = getattr(_DEFAULTS, name)
        return replace(self.base, **known)

    def of_base(self) -> dict[str, Any]:
        """The base's own values of the levers, a trial to begin with; an end where it lies beyond a range."""
        values: dict[str, Any] = {}
        for name in sorted(self.levers, key=lambda name: name in _ONLY_WITH):
            value = 1.0 if name == AUGMENTATION else getattr(self.base, name)
            if name == "sampling_rate" and not value:
                value = 1 / (min(self.base.num_classes, 5) + 1)
            nearest = self.levers[name].nearest(value)
            if nearest is not None and self._counts(name, values):
                values[name] = nearest
        return values

    def describe(self) -> dict[str, str]:
        """Each lever as text, by name."""
        return {name: str(lever) for name, lever in self.levers.items()}

    def _counts(self, name: str, values: Mapping[str, Any]) -> bool:
        known = {field: getattr(self.base, field) for field in HYPERPARAMETER_NAMES} | dict(values)
        return name not in _ONLY_WITH or _ONLY_WITH[name](known)

    def _can_count(self, name: str) -> bool:
        """Whether the base, or some value of the lever that it needs, lets it count."""
        needed = self.levers.get(_NEEDED.get(name, ""))
        values: list[dict[str, Any]] = [{}]
        if needed is not None:
            values = [{_NEEDED[name]: end} for end in needed.ends]
        return any(self._counts(name, one) for one in values)


_DEFAULTS = Hyperparameters()


def is_lever(text: str) -> bool:
    """Whether the text says several values."""
    return "|" in text or ".." in text


def parse_lever(name: str, text: str, convert: Callable[[str, str], Any]) -> Lever:
    """`a|b` to a Choice, `low..high` to a Range; convert: name and text to a value. Raises OptionError."""
    if "|" in text:
        values = tuple(convert(name, part.strip()) for part in text.split("|"))
        if len(set(values)) < len(values):
            raise OptionError(f"{name} is {text!r}, expected each value once: pass -P '{name}=a|b'")
        return Choice(values)
    low, high = (convert(name, part.strip()) for part in text.split("..", 1))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high:
        raise OptionError(
            f"{name} is {text!r}, expected numbers low..high with low below high: pass -P {name}=…"
        )
    return Range(low, high, log=name in _LOGARITHMIC and low > 0, whole=isinstance(low, int))
