"""The threshold of each label, chosen on the validation split and carried by the registered model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.checks import checked_arrays

MAX_F1, SENSITIVITY_95, YOUDEN = "max_f1", "sensitivity_95", "youden"
#: What sensitivity_95 keeps at least.
MIN_SENSITIVITY = 0.95
#: The rule of a label that the validation split can't tell anything about.
DEFAULT = "default"
DEFAULT_THRESHOLD = 0.5


def _max_f1(
    true_positives: np.ndarray, false_positives: np.ndarray, num_positive: int, num_negative: int
) -> np.intp:
    # Equal fractions of integers are equal floats.
    return np.argmax(2 * true_positives / (num_positive + true_positives + false_positives))


def _sensitivity_95(
    true_positives: np.ndarray, false_positives: np.ndarray, num_positive: int, num_negative: int
) -> np.intp:
    # Sensitivity and false positives fall from candidate to candidate.
    wanted = math.ceil(MIN_SENSITIVITY * num_positive - 1e-9)
    enough = np.flatnonzero(true_positives >= wanted)
    return enough[np.argmin(false_positives[enough])]


def _youden(
    true_positives: np.ndarray, false_positives: np.ndarray, num_positive: int, num_negative: int
) -> np.intp:
    # Times both numbers: whole, so that equals are equal.
    return np.argmax(
        true_positives.astype(np.int64) * num_negative - false_positives.astype(np.int64) * num_positive
    )


#: Which candidate a rule takes, of their true and false positives [C], and the numbers of positives and negatives.
#: Candidates ascend, so that the first of equals has the lowest threshold.
_BEST = {MAX_F1: _max_f1, SENSITIVITY_95: _sensitivity_95, YOUDEN: _youden}
RULES = tuple(_BEST)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A label is decided positive where probability >= threshold.

    threshold: in [0, 1].
    sensitivity, specificity: in [0, 1], on the slices it was chosen on, so they flatter; both NaN for the rule
        `default`.
    rule: one of RULES, or default.
    """

    label: str
    threshold: float
    sensitivity: float
    specificity: float
    rule: str

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold of {self.label} is {self.threshold}, expected a number in [0, 1]")
        if self.rule not in (*RULES, DEFAULT):
            raise ValueError(
                f"rule of {self.label} is {self.rule!r}, expected one of {', '.join((*RULES, DEFAULT))}"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: NaN is None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "OperatingPoint":
        """The reverse of to_dict. Raises ValueError for a missing or an unknown key."""
        names = {"label", "threshold", "sensitivity", "specificity", "rule"}
        if set(values) != names:
            raise ValueError(f"operating point has the keys {sorted(values)}, expected {sorted(names)}")
        return cls(
            label=str(values["label"]),
            threshold=float(values["threshold"]),
            sensitivity=_number(values["sensitivity"]),
            specificity=_number(values["specificity"]),
            rule=str(values["rule"]),
        )


def choose_operating_points(
    targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...], rule: str = MAX_F1
) -> tuple[OperatingPoint, ...]:
    """The threshold of each label by a rule: targets [N, L] of 0 and 1, probabilities [N, L].

    max_f1: the highest F1. sensitivity_95: the highest specificity with a sensitivity of at least 0.95. youden: the
    highest sensitivity + specificity - 1 (Youden, Cancer 3, 1950).
    The threshold lies half way between the lowest probability that is decided positive and the next lower one: were it
    that probability itself, rounding in another runtime could flip the very slice that set it. Among equals
    the lowest threshold wins: it has the higher sensitivity, and a missed bleed costs more than a false positive.
    (It follows that a model that knows nothing about a label decides it positive everywhere.)
    A label without positives or without negatives gets 0.5, NaN for both rates and the rule `default`.
    Raises ValueError for arrays that evaluate_slices would refuse, or an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(RULES)}")
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    return tuple(_point(label, targets[:, i], probabilities[:, i], rule) for i, label in enumerate(labels))


def choose_by_each_rule(
    targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]
) -> dict[str, tuple[OperatingPoint, ...]]:
    """The operating points of every rule, as choose_operating_points gives them."""
    return {rule: choose_operating_points(targets, probabilities, labels, rule) for rule in RULES}


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


def _point(label: str, targets: np.ndarray, probabilities: np.ndarray, rule: str) -> OperatingPoint:
    num_positive, num_negative = int(targets.sum()), int((~targets).sum())
    if not num_positive or not num_negative:
        nan = float("nan")
        return OperatingPoint(
            label=label, threshold=DEFAULT_THRESHOLD, sensitivity=nan, specificity=nan, rule=DEFAULT
        )
    order = np.argsort(probabilities, kind="stable")
    candidates, first = np.unique(probabilities[order], return_index=True)
    # At a candidate everything from its first place on is decided positive.
    decided = len(targets) - first
    true_positives = np.cumsum(targets[order][::-1])[::-1][first]
    false_positives = decided - true_positives
    best = int(_BEST[rule](true_positives, false_positives, num_positive, num_negative))
    return OperatingPoint(
        label=label,
        threshold=float(candidates[best] + (candidates[best - 1] if best else 0.0)) / 2,
        sensitivity=float(true_positives[best] / num_positive),
        specificity=float(1 - false_positives[best] / num_negative),
        rule=rule,
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
