"""How a parameter is declared: once, as a dataclass field with default, help, bounds, and what a search varies.

Everything else follows from the field: the flag and its --help, the check, Optuna's space, the table in
docs/reference/parameters.md. `parameter` makes a field, `check_fields` refuses what it doesn't allow, `from_text` reads
what was typed.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ich_mlflow.errors import OptionError, nearest

#: Not said: the help of a parameter with this default says what happens then.
AUTO = "auto"
Taken = TypeVar("Taken")
#: What values of a type are instances of, and the type in words.
_TYPES: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


class Check(Protocol):
    """What a value may be. Its text completes the sentence "expected …"."""

    def allows(self, value: Any) -> bool: ...


@dataclass(frozen=True)
class Between:
    """A number from low to high; ends that are named in `without` don't belong to it."""

    low: float
    high: float = float("inf")
    without: tuple[float, ...] = ()
    unit: str = ""

    def allows(self, value: Any) -> bool:
        return self.low <= value <= self.high and value not in self.without and value != float("inf")

    def __str__(self) -> str:
        low, high = _plain(self.low), _plain(self.high)
        unit = f" {self.unit}" if self.unit else ""
        if self.high == float("inf"):
            return f"above {low}{unit}" if self.low in self.without else f"{low} or more{unit}"
        if not self.without:
            return f"{low} to {high}{unit}"
        lower = f"above {low}" if self.low in self.without else f"{low} or more"
        return f"{lower}, {'below' if self.high in self.without else 'at most'} {high}{unit}"


class OneOf:
    """One of some values. of: what they are of, where that is not clear."""

    def __init__(self, *values: Any, of: str = "") -> None:
        self.values, self._of = values, of

    def allows(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        texts = [text_of(value) for value in self.values]
        last = f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]
        return f"{last}{self._of}"


@dataclass(frozen=True)
class Matching:
    """Text that the whole of a pattern matches. said: the same in words."""

    pattern: str
    said: str

    def allows(self, value: Any) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.said


@dataclass(frozen=True)
class Either:
    """What one of several checks allows."""

    checks: tuple[Check, ...]

    def allows(self, value: Any) -> bool:
        return any(check.allows(value) for check in self.checks)

    def __str__(self) -> str:
        return ", or ".join(str(check) for check in self.checks)


@dataclass(frozen=True)
class OnlyWith:
    """A parameter that means something only where another has one of some values; elsewhere it keeps its default.

    example: such a value of the other.
    """

    name: str
    check: Check
    example: Any

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it means something beside those values."""
        return self.check.allows(values[self.name])

    def __str__(self) -> str:
        means = self.check if isinstance(self.check, Between) else ""
        return f"with {self.name} {means}" if means else f"with {self.name}={self.check}"


@dataclass(frozen=True)
class Choice:
    """A search dimension: one of some values, text, numbers or truth values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must be valid for all to be."""
        return self.values

    def nearest(self, value: Any) -> Any:
        """The value itself, or None where it is none of them."""
        return value if value in self.values else None

    def __str__(self) -> str:
        return " | ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """A search dimension: a number from low to high, both included; log: drawn by its logarithm; whole: integers."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[float, ...]:
        """Values that must be valid for all to be."""
        return (self.low, self.high)

    def nearest(self, value: Any) -> float:
        """The value, or the end it lies beyond."""
        return min(max(value, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}{' (log)' if self.log else ''}"


Dimension = Choice | Range


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What is declared of a parameter beside its name, type and default.

    text        what it is, for --help
    check       what it may be; None: anything of its type
    only_with   what it needs to mean something
    search      what a search varies it over where nothing else is said; None: it is fixed then
    log         whether a range that is typed for a search is drawn by its logarithm
    default_said  the default in words, for --help, where the value doesn't say it
    formerly    a name that it had in a release before; it is still taken
    reads       a pattern of the values that name a file or folder, which must be there before anything begins
    reads_several  whether they may name several, separated by commas
    group       what it is for, its heading in --help; else what the class that declares it holds
    """

    text: str
    check: Check | None = None
    only_with: OnlyWith | None = None
    search: Dimension | None = None
    log: bool = False
    default_said: str = ""
    formerly: str = ""
    reads: str = ""
    reads_several: bool = False
    group: str = ""


def parameter(default: Any, text: str, check: Check | None = None, **declared: Any) -> Any:
    """A dataclass field that is a parameter; `declared`: more of Parameter's fields."""
    return field(default=default, metadata={"parameter": Parameter(text=text, check=check, **declared)})


def declared(field: "Field[Any]") -> Parameter:
    """What is declared of the field."""
    return field.metadata["parameter"]


def parameters_of(options: Any) -> dict[str, "Field[Any]"]:
    """The parameters of a dataclass or of its object, by name, in the order of --help."""
    return {one.name: one for one in fields(options) if "parameter" in one.metadata}


def groups_of(options: type[Any]) -> dict[str, list[str]]:
    """Names of a dataclass' parameters by what they are for, in the order of --help; "" holds those of no group.

    Those that the class declares itself come first, then those of each class that it inherits from. These are a group
    by the first sentence about their class, where a parameter doesn't name its group.
    """
    groups: dict[str, list[str]] = {"": []}
    left = parameters_of(options)
    for base in options.__mro__:
        title = "" if base is options else (base.__doc__ or "").partition(".")[0]
        for name in [name for name in left if name in inspect.get_annotations(base)]:
            groups.setdefault(declared(left.pop(name)).group or title, []).append(name)
    return groups


def check_fields(options: Any) -> None:
    """Raise OptionError for the first parameter whose value its declaration does not allow."""
    values = {name: getattr(options, name) for name in parameters_of(options)}
    for name, one in parameters_of(options).items():
        check_value(one, values[name])
        only_with = declared(one).only_with
        if only_with and values[name] != one.default and not only_with.holds(values):
            expect(name, values[name], False, f"{only_with}, or {text_of(one.default)}")


def check_value(one: "Field[Any]", value: Any) -> None:
    """Raise OptionError where the value is not of the field's type, or its check does not allow it."""
    wanted, said = _TYPES[_kind(one)]
    is_flag = isinstance(value, bool)
    expect(one.name, value, isinstance(value, wanted) and is_flag == (wanted is bool), said)
    check = declared(one).check
    if check is not None and not check.allows(value):
        suggestion = nearest(str(value), _names(check))
        expect(one.name, value, False, f"{check}{suggestion}")


def _names(check: Check) -> list[str]:
    """The values that a check names, as text."""
    if isinstance(check, Either):
        return [name for one in check.checks for name in _names(one)]
    return [text_of(value) for value in check.values] if isinstance(check, OneOf) else []


def expect(name: str, value: Any, valid: bool, expected: str) -> None:
    """Raise OptionError, which echoes the value and says what was expected, where it is not valid."""
    if not valid:
        said = text_of(value) if isinstance(value, bool) else repr(value)
        raise OptionError(f"{name} is {said}, expected {expected}: pass -P {name}=…")


def from_text(one: "Field[Any]", text: str) -> Any:
    """What was typed for a field, as its type. Raises OptionError where it is none, or is empty."""
    kind, name = _kind(one), one.name
    if not text.strip():
        raise OptionError(f"{name} is empty, expected a value: pass -P {name}=<value>, or leave it out")
    if kind is str:
        return text
    if kind is bool:
        expect(name, text, text.lower() in ("true", "false"), "true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise OptionError(f"{name} is {text!r}, expected {_TYPES[kind][1]}: pass -P {name}=…") from None


def is_dimension(text: str) -> bool:
    """Whether what was typed says several values: `a|b`, or `low..high`."""
    return "|" in text or ".." in text


def parse_dimension(one: "Field[Any]", text: str) -> Dimension:
    """`a|b` to a Choice, `low..high` to a Range, of the field's type. Raises OptionError."""
    name = one.name
    if "|" in text:
        values = tuple(from_text(one, part.strip()) for part in text.split("|"))
        if len(set(values)) < len(values):
            raise OptionError(f"{name} is {text!r}, expected each value once: pass -P '{name}=a|b'")
        return Choice(values)
    low, high = (from_text(one, part.strip()) for part in text.split("..", 1))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high:
        raise OptionError(
            f"{name} is {text!r}, expected numbers low..high with low below high: pass -P {name}=…"
        )
    return Range(low, high, log=declared(one).log and low > 0, whole=isinstance(low, int))


def expect_inputs(options: Any) -> None:
    """Raise OptionError where a parameter names a file or folder that is not there."""
    for name, one in parameters_of(options).items():
        value, pattern = getattr(options, name), declared(one).reads
        if (
            not pattern
            or value == one.default
            or "://" in str(value)
            or not re.fullmatch(pattern, str(value))
        ):
            continue
        several = declared(one).reads_several and not Path(value).exists()
        for path in str(value).split(",") if several else [value]:
            expect(name, path, Path(path.strip()).exists(), "a file or folder that is there")


def taken_from(options: Any, wanted: "type[Taken]", **changed: Any) -> "Taken":
    """The options of another class: what both take as it is here, with some changed; the rest has its defaults."""
    shared = parameters_of(options).keys() & parameters_of(wanted).keys()
    return wanted(**{**{name: getattr(options, name) for name in shared}, **changed})


def text_of(value: Any) -> str:
    """A value as it is typed: true and false, and whole numbers without a point. Nothing is lost."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def typed(options: Any) -> dict[str, Any]:
    """The parameters and their values, truth values as text: what is logged, and what names and digests are made of."""
    values = {name: getattr(options, name) for name in parameters_of(options)}
    return {name: text_of(value) if isinstance(value, bool) else value for name, value in values.items()}


def _kind(one: "Field[Any]") -> type:
    return {"int": int, "float": float, "str": str, "bool": bool}.get(one.type, one.type)  # type: ignore[arg-type, return-value]


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
