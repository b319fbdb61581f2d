"""Fit a calibration of each label on validation slices: as much of one as the data allow."""

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from ich_mlflow.evaluation.calibration import (
    ISOTONIC,
    METHODS,
    MIN_ISOTONIC,
    MIN_PLATT,
    NONE,
    PLATT,
    SHRUNK,
    Calibration,
)
from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.models.logits import logit

#: The method is chosen by how many slices of either kind there are.
AUTO = "auto"
#: Standard deviation of the prior of `shrunk`: of the change in log odds with one deviation of the network's logits.
PRIOR_SLOPE = 1.0
#: Scales are held to 1/50 … 50: above 0 so that the order stays, and on separable data they have no end.
_MAX_SCALE = 50.0


def fit_calibrations(
    targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...], *, method: str = AUTO
) -> tuple[Calibration, ...]:
    """A calibration for each label from validation targets and probabilities [N, L].

    method: one of METHODS, or `auto`: isotonic from 1,000 positive and 1,000 negative slices, Platt from 20 of each,
    else shrunk. A label without positives or negatives is shrunk whatever the method, but for none. Raises ValueError
    for arrays that evaluate_slices would refuse, or another method.

    shrunk is Platt's with a stated prior, for labels of which there are too few slices to know a slope: the logits are
    standardised, their slope has the prior Normal(0, 1), and half a positive and half a negative slice are added. The
    fewer there are, the nearer every probability lies to the prevalence of validation.
    Sources: Guo et al., ICML 2017 (temperature); Platt, 1999; Zadrozny and Elkan, KDD 2002 (isotonic); Gelman et al.,
    Annals of Applied Statistics 2(4), 2008 (weak priors on standardised slopes).
    """
    if method not in (AUTO, *METHODS):
        raise ValueError(f"method is {method!r}, expected one of {', '.join((AUTO, *METHODS))}")
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    return tuple(_fit(label, targets[:, i], probabilities[:, i], method) for i, label in enumerate(labels))


def _fit(label: str, targets: np.ndarray, probabilities: np.ndarray, method: str) -> Calibration:
    rarer = int(min(targets.sum(), (~targets).sum()))
    if method == AUTO:
        method = ISOTONIC if rarer >= MIN_ISOTONIC else PLATT if rarer >= MIN_PLATT else SHRUNK
    if method == NONE:
        return Calibration(label=label)
    if method == SHRUNK or rarer == 0:
        scale, shift = _shrunk(logit(probabilities), targets)
        return Calibration(label=label, method=SHRUNK, scale=scale, shift=shift)
    if method == ISOTONIC:
        # A step of exactly 0 or 1 would cost without bound where it is wrong.
        lowest, highest = _smoothed(targets)
        steps = IsotonicRegression(y_min=lowest, y_max=highest, out_of_bounds="clip")
        steps.fit(probabilities, targets)
        return Calibration(
            label=label,
            method=ISOTONIC,
            x=tuple(steps.X_thresholds_.tolist()),
            y=tuple(steps.y_thresholds_.tolist()),
        )
    scale, shift = _least_loss(logit(probabilities), targets, shifted=method == PLATT)
    return Calibration(label=label, method=method, scale=scale, shift=shift)


def _smoothed(targets: np.ndarray) -> tuple[float, float]:
    """What Platt (1999) puts for 0 and 1, of slices without and with the label."""
    positive, negative = int(targets.sum()), int((~targets).sum())
    return 1 / (negative + 2), (positive + 1) / (positive + 2)


def _least_loss(logits: np.ndarray, targets: np.ndarray, *, shifted: bool) -> tuple[float, float]:
    """Scale and shift of the logits with the least cross-entropy; the targets are smoothed as Platt does.

    The scale is fitted by its logarithm, so it stays positive.
    """
    lowest, highest = _smoothed(targets)
    y = np.where(targets, highest, lowest)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = np.exp(parameters[0]), parameters[1] if shifted else 0.0
        z = scale * logits + shift
        slope = 1 / (1 + np.exp(-z)) - y
        gradient = np.array([np.mean(slope * logits) * scale, np.mean(slope) if shifted else 0.0])
        return float(np.mean(np.logaddexp(0, z) - y * z)), gradient

    bounds = [(-np.log(_MAX_SCALE), np.log(_MAX_SCALE)), (-20, 20) if shifted else (0, 0)]
    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(found[0])), float(found[1]) if shifted else 0.0


def _shrunk(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Scale and shift of the logits that are most probable under the prior of `shrunk`."""
    mean, deviation = logits.mean(), logits.std() or 1.0
    x = np.append((logits - mean) / deviation, [0.0, 0.0])
    y, weights = np.append(targets, [1, 0]), np.append(np.ones(len(targets)), [0.5, 0.5])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, level = parameters
        z = slope * x + level
        residuals = weights * (1 / (1 + np.exp(-z)) - y)
        gradient = np.array([residuals @ x + slope / PRIOR_SLOPE**2, residuals.sum()])
        penalty = slope**2 / (2 * PRIOR_SLOPE**2)
        return float(weights @ (np.logaddexp(0, z) - y * z) + penalty), gradient

    bounds = [(deviation / _MAX_SCALE, deviation * _MAX_SCALE), (-20, 20)]
    slope, level = minimize(loss, np.array([bounds[0][0], 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope / deviation), float(level - slope / deviation * mean)
