"""The signals of exams: what of them is compared. A table of records, each with how it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ich_mlflow.labels import ANY
from ich_mlflow.monitoring import drift
from ich_mlflow.monitoring.drift import Signal
from ich_mlflow.monitoring.record import FLAGGED, REVIEW, Record

#: Fewer exams, in reference or window, of which a signal is known are not tested.
MIN_EXAMS = 20


@dataclass(frozen=True)
class Numeric:
    """A number of an exam, None where it is not known."""

    name: str
    read: Callable[[Record], float | None]


def _probability(record: Record, *, finding: str) -> float | None:
    return record.probabilities.get(finding)


def numerics(records: Sequence[Record]) -> list[Numeric]:
    """The numbers of exams, the probabilities of the findings that they have first, any before all."""
    found = dict.fromkeys(name for one in records for name in one.probabilities)
    names = [name for name in (ANY, *(name for name in found if name != ANY)) if name in found]
    return [
        *(Numeric(f"probability {name}", partial(_probability, finding=name)) for name in names),
        Numeric("feature distance", lambda one: one.distance),
        Numeric("soft tissue HU", lambda one: one.soft_tissue_hu),
        Numeric("step mm", lambda one: one.step_mm),
        Numeric("spacing mm", lambda one: one.spacing_mm),
        Numeric("slices", lambda one: float(one.slices) or None),
    ]


SHARES: tuple[tuple[str, Callable[[Record], bool]], ...] = (
    ("flag rate", lambda one: one.status == FLAGGED),
    ("uncertain rate", lambda one: one.uncertain),
    ("review rate", lambda one: one.status == REVIEW),
    ("unusable slices", lambda one: one.unusable > 0),
    ("warnings", lambda one: bool(one.warnings)),
)
CATEGORIES: tuple[tuple[str, Callable[[Record], str]], ...] = (
    ("kernel", lambda one: one.kernel),
    ("manufacturer", lambda one: one.manufacturer),
    ("transfer syntax", lambda one: one.syntax),
)


def values_of(numeric: Numeric, records: Sequence[Record]) -> list[float]:
    """The known numbers of those exams."""
    return [value for one in records if (value := numeric.read(one)) is not None]


def compare(reference: Sequence[Record], window: Sequence[Record], *, alarms: float) -> list[Signal]:
    """Every signal of the window against the reference's, the surest first, corrected for how many there are.

    alarms: the chance, without a change, that one of them is called drift.
    """
    found = []
    for one in numerics([*reference, *window]):
        before, after = values_of(one, reference), values_of(one, window)
        if min(len(before), len(after)) >= MIN_EXAMS:
            found.append(drift.numbers(one.name, before, after))
    for name, is_so in SHARES:
        found.append(drift.share(name, [is_so(each) for each in reference], [is_so(each) for each in window]))
    for name, read in CATEGORIES:
        found.append(
            drift.categories(name, [read(each) for each in reference], [read(each) for each in window])
        )
    return drift.corrected(found, alarms=alarms)
