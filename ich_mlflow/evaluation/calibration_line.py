"""Whether log odds are right: the line from what is said to what is true.

Slope 1 and intercept 0 are a calibrated model's. A slope below 1: probabilities are too extreme. An intercept above 0:
they are too low all over, as halved ones are.
Source: Cox, Biometrika 45, 1958; Van Calster et al., BMC Medicine 17, 2019.
"""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.evaluation.counts import LabelRows
from ich_mlflow.models.logits import logit

_STEPS = 50
_TOLERANCE = 1e-10
#: Beyond it the data are separable, or nearly, and the line has no end.
_LARGEST = 50.0


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A logistic regression on columns [N, K] beside an offset [N]: coefficients [K], NaN where there are none."""

    columns: np.ndarray
    coefficients: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray


def slope(rows: LabelRows) -> float:
    """b of log odds = a + b * logit(probability); NaN where all probabilities are the same, or separate the kinds."""
    return float(_sloped(rows).coefficients[1])


def intercept(rows: LabelRows) -> float:
    """a of log odds = a + logit(probability): calibration in the large."""
    return float(_shifted(rows).coefficients[0])


def slope_addends(rows: LabelRows) -> np.ndarray:
    """What resampled_slope needs summed over rows, float64 [6, N]."""
    line = _sloped(rows)
    x = line.columns[:, 1]
    return np.stack(
        [
            line.residuals,
            line.residuals * x,
            line.weights,
            line.weights * x,
            line.weights * x**2,
            np.full(len(x), line.coefficients[1]),
        ]
    )


def resampled_slope(sums: np.ndarray, num_rows: np.ndarray) -> np.ndarray:
    """The slope in each resample [b], one Newton step from that of the whole; sums [6, b] of the addends.

    Source of the one step: Shao and Tu, The Jackknife and Bootstrap, 1995, 5.4.
    """
    first, second, w, wx, wxx, whole = sums
    determinant = w * wxx - wx**2
    step = (w * second - wx * first) / np.where(determinant > 0, determinant, np.nan)
    return whole / num_rows + step


def intercept_addends(rows: LabelRows) -> np.ndarray:
    """What resampled_intercept needs summed over rows, float64 [3, N]."""
    line = _shifted(rows)
    return np.stack([line.residuals, line.weights, np.full(len(line.weights), line.coefficients[0])])


def resampled_intercept(sums: np.ndarray, num_rows: np.ndarray) -> np.ndarray:
    """The intercept in each resample [b], as resampled_slope; sums [3, b]."""
    residuals, weights, whole = sums
    return whole / num_rows + residuals / np.where(weights > 0, weights, np.nan)


def _sloped(rows: LabelRows) -> _Line:
    x = logit(rows.probabilities)
    return _fit(np.column_stack([np.ones(len(x)), x]), np.zeros(len(x)), rows.targets)


def _shifted(rows: LabelRows) -> _Line:
    return _fit(np.ones((len(rows.targets), 1)), logit(rows.probabilities), rows.targets)


def _fit(columns: np.ndarray, offset: np.ndarray, targets: np.ndarray) -> _Line:
    """By Newton's method, a step halved where it would lower the likelihood."""
    found = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        fitted = np.exp(-np.logaddexp(0, -(columns @ found + offset)))
        residuals, weights = targets - fitted, fitted * (1 - fitted)
        information = (columns * weights[:, None]).T @ columns
        if np.linalg.cond(information) > 1e12:
            break
        step = np.linalg.solve(information, columns.T @ residuals)
        likelihood = _likelihood(columns @ found + offset, targets)
        while _likelihood(columns @ (found + step) + offset, targets) < likelihood - 1e-9:
            step = step / 2
        found = found + step
        if np.abs(found).max() > _LARGEST:
            break
        if np.abs(step).max() < _TOLERANCE:
            return _Line(columns=columns, coefficients=found, residuals=residuals, weights=weights)
    unknown = np.full(columns.shape[1], np.nan)
    nothing = np.full(len(targets), np.nan)
    return _Line(columns=columns, coefficients=unknown, residuals=nothing, weights=nothing)


def _likelihood(log_odds: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(targets * log_odds - np.logaddexp(0, log_odds)))
