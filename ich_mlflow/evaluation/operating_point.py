"""The threshold of each label, chosen on the validation split and carried by the registered model."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.evaluation.proportion import clopper_pearson

MAX_F1, YOUDEN = "max_f1", "youden"
SENSITIVITY_90, SENSITIVITY_95, SPECIFICITY_90 = "sensitivity_90", "sensitivity_95", "specificity_90"
#: The rule of a label that the validation split can't tell anything about.
DEFAULT = "default"
DEFAULT_THRESHOLD = 0.5
#: With fewer patients of either kind a threshold is a guess: whoever shows a decision by it says so.
FEW_PATIENTS = 10


@dataclass(frozen=True, kw_only=True)
class _Candidates:
    """The thresholds that there are, ascending: true and false positives at each [C]; positives and negatives in all.

    At the last one nothing is decided positive. Counts are whole numbers, and rules compare those where they can, so
    that equals are equal.
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    num_positive: int
    num_negative: int


def _max_f1(one: _Candidates) -> np.intp:
    # Equal fractions of integers are equal floats.
    return np.argmax(2 * one.true_positives / (one.num_positive + one.true_positives + one.false_positives))


def _youden(one: _Candidates) -> np.intp:
    # Times both numbers: whole.
    return np.argmax(
        one.true_positives.astype(np.int64) * one.num_negative
        - one.false_positives.astype(np.int64) * one.num_positive
    )


def _sensitivity(one: _Candidates, *, least: float) -> np.intp:
    # Sensitivity and false positives fall from candidate to candidate.
    enough = np.flatnonzero(one.true_positives >= math.ceil(least * one.num_positive - 1e-9))
    return enough[np.argmin(one.false_positives[enough])]


def _specificity(one: _Candidates, *, least: float) -> np.intp:
    # False positives fall to 0 at the last candidate.
    allowed = one.num_negative - math.ceil(least * one.num_negative - 1e-9)
    return np.flatnonzero(one.false_positives <= allowed)[0]


#: Which candidate a rule takes. The first of equals has the lowest threshold.
_BEST: dict[str, Callable[[_Candidates], np.intp]] = {
    MAX_F1: _max_f1,
    YOUDEN: _youden,
    SENSITIVITY_90: partial(_sensitivity, least=0.90),
    SENSITIVITY_95: partial(_sensitivity, least=0.95),
    SPECIFICITY_90: partial(_specificity, least=0.90),
}
RULES = tuple(_BEST)


#: Fields of an operating point that are NaN where validation can't tell.
_RATES = ("sensitivity", "specificity", "sensitivity_low", "sensitivity_high")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A label is decided positive where probability >= threshold.

    threshold: in [0, 1].
    sensitivity, specificity: in [0, 1], on the slices it was chosen on, so they flatter; both NaN for the rule
        `default`.
    sensitivity_low, sensitivity_high: the exact 95 % interval of the sensitivity, as if each patient with a positive
        counted once, since slices of a patient resemble each other; NaN where the sensitivity is.
    rule: one of RULES, or default.
    num_positive, num_negative: the slices, or exams, that it was chosen on.
    positive_patients, negative_patients: how many patients have such slices; a patient may have both.
    """

    label: str
    threshold: float
    sensitivity: float
    specificity: float
    sensitivity_low: float
    sensitivity_high: float
    rule: str
    num_positive: int
    num_negative: int
    positive_patients: int
    negative_patients: int

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold of {self.label} is {self.threshold}, expected a number in [0, 1]")
        if self.rule not in (*RULES, DEFAULT):
            raise ValueError(
                f"rule of {self.label} is {self.rule!r}, expected one of {', '.join((*RULES, DEFAULT))}"
            )

    @property
    def is_from_few(self) -> bool:
        """Whether fewer than FEW_PATIENTS patients with a positive, or with a negative, chose it."""
        return min(self.positive_patients, self.negative_patients) < FEW_PATIENTS

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: NaN is None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "OperatingPoint":
        """The reverse of to_dict. Raises ValueError for a missing or an unknown key."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(f"operating point has the keys {sorted(values)}, expected {sorted(names)}")
        return cls(**{**values, **{name: _number(values[name]) for name in _RATES}})


def choose_operating_points(
    targets: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    rule: str = MAX_F1,
    *,
    default: np.ndarray | None = None,
) -> tuple[OperatingPoint, ...]:
    """The threshold of each label by a rule: targets [N, L] of 0 and 1, probabilities [N, L], patients [N].

    max_f1: the highest F1. youden: the highest sensitivity + specificity - 1 (Youden, Cancer 3, 1950). sensitivity_90,
    sensitivity_95: the highest specificity with at least that sensitivity. specificity_90: the highest sensitivity with
    at least that specificity.
    The threshold lies half way between the lowest probability that is decided positive and the next lower one: were it
    that probability itself, rounding in another runtime could flip the very slice that set it. Among equals
    the lowest threshold wins: it has the higher sensitivity, and a missed bleed costs more than a false positive.
    (It follows that a model that knows nothing about a label decides it positive everywhere.)
    A label without positives or without negatives gets its default [L], one half unless given, NaN for both rates and
    the rule `default`.
    Raises ValueError for arrays that evaluate_slices would refuse, or an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(RULES)}")
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    defaults = default_thresholds(labels) if default is None else default
    return tuple(
        _point(label, targets[:, i], probabilities[:, i], np.asarray(patients), rule, float(defaults[i]))
        for i, label in enumerate(labels)
    )


def choose_by_each_rule(
    targets: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    default: np.ndarray | None = None,
) -> dict[str, tuple[OperatingPoint, ...]]:
    """The operating points of every rule, as choose_operating_points gives them."""
    return {
        rule: choose_operating_points(targets, probabilities, patients, labels, rule, default=default)
        for rule in RULES
    }


def thresholds_by(points: Mapping[str, Sequence[OperatingPoint]], rule: str) -> np.ndarray:
    """Thresholds float64 [L] by one of the rules that there are points of. Raises ValueError for another."""
    if rule not in points:
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(points)}")
    return np.array([point.threshold for point in points[rule]])


def points_to_dict(points: Mapping[str, Sequence[OperatingPoint]]) -> dict[str, list[dict[str, Any]]]:
    """The points of each rule as JSON can hold them."""
    return {rule: [point.to_dict() for point in each] for rule, each in points.items()}


def points_from_dict(values: Mapping[str, Any]) -> dict[str, tuple[OperatingPoint, ...]]:
    """The reverse of points_to_dict. Raises ValueError for a missing or an unknown rule."""
    if set(values) != set(RULES):
        raise ValueError(f"operating points are of {', '.join(values)}, expected {', '.join(RULES)}")
    return {rule: tuple(map(OperatingPoint.from_dict, values[rule])) for rule in RULES}


def default_thresholds(labels: tuple[str, ...]) -> np.ndarray:
    """One half for every label, float64 [L]: what decides before anything was chosen."""
    return np.full(len(labels), DEFAULT_THRESHOLD)


def _point(
    label: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    patients: np.ndarray,
    rule: str,
    default: float,
) -> OperatingPoint:
    counts = {
        "num_positive": int(targets.sum()),
        "num_negative": int((~targets).sum()),
        "positive_patients": len(np.unique(patients[targets])),
        "negative_patients": len(np.unique(patients[~targets])),
    }
    num_positive, num_negative = counts["num_positive"], counts["num_negative"]
    if not num_positive or not num_negative:
        rates: dict[str, Any] = {**dict.fromkeys(_RATES, math.nan), **counts}
        return OperatingPoint(label=label, threshold=default, rule=DEFAULT, **rates)
    order = np.argsort(probabilities, kind="stable")
    candidates, first = np.unique(probabilities[order], return_index=True)
    # At a candidate everything from its first place on is decided positive; at one above all of them nothing is.
    candidates = np.append(candidates, 1.0)
    decided = np.append(len(targets) - first, 0)
    true_positives = np.append(np.cumsum(targets[order][::-1])[::-1][first], 0)
    found = _Candidates(
        true_positives=true_positives,
        false_positives=decided - true_positives,
        num_positive=num_positive,
        num_negative=num_negative,
    )
    best = int(_BEST[rule](found))
    sensitivity = float(true_positives[best] / num_positive)
    interval = clopper_pearson(sensitivity, counts["positive_patients"])
    return OperatingPoint(
        label=label,
        threshold=float(candidates[best] + (candidates[best - 1] if best else 0.0)) / 2,
        sensitivity=sensitivity,
        specificity=float(1 - found.false_positives[best] / num_negative),
        sensitivity_low=interval.low,
        sensitivity_high=interval.high,
        rule=rule,
        **counts,
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
