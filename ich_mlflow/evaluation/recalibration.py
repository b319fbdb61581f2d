"""Recalibration on local exams: a version's calibrations and operating points, moved as far as local labels can tell.

Log odds of what the version says become intercept + slope * log odds, logistic recalibration, with a prior that the
version is right: intercept Normal(0, PRIOR_INTERCEPT), slope Normal(1, PRIOR_SLOPE). With few patients that keeps both
near the version's own.
Sources: Cox, Biometrika 45, 1958 (the line); Steyerberg et al., Statistics in Medicine 23, 2004 (updating a model at
another hospital, shrunk towards the original); Gelman et al., Annals of Applied Statistics 2(4), 2008 (weak priors).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from ich_mlflow.evaluation.calibration import ISOTONIC, PLATT, Calibration
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.operating_point import (
    DEFAULT,
    SENSITIVITY_90,
    SENSITIVITY_95,
    SPECIFICITY_90,
    OperatingPoint,
    choose_by_each_rule,
)
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.models.logits import logit, sigmoid

#: Standard deviations of the priors: odds may be off by a factor of 7 elsewhere, and log odds half as wide again.
#: benchmarks/recalibration.py has what others would give.
PRIOR_INTERCEPT, PRIOR_SLOPE = 2.0, 0.5
#: So many patients of the rarer kind must a local threshold come from to count as much as the version's own.
PRIOR_PATIENTS = 10
#: Which of two thresholds keeps what a rule promises.
_PROMISES = {SENSITIVITY_90: min, SENSITIVITY_95: min, SPECIFICITY_90: max}
#: Slopes are held to 1/50 … 50: above 0 so that the order stays.
_MAX_SLOPE = 50.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """Log odds become intercept + slope * log odds."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """Probabilities float64 [N, F] and decisions bool [N, F], of each patient by what the others chose."""

    probabilities: np.ndarray
    decisions: np.ndarray


def fit_line(
    targets: np.ndarray,
    probabilities: np.ndarray,
    *,
    num_patients: int,
    prior_intercept: float = PRIOR_INTERCEPT,
    prior_slope: float = PRIOR_SLOPE,
) -> Line:
    """The most probable line of one label's targets [N] and probabilities [N] under the priors.

    It minimises w * (cross-entropy in nats, summed) + intercept^2 / (2 prior_intercept^2) + (slope - 1)^2 / (2
    prior_slope^2). w is patients over rows, 1 at most: all slices of a head count as one patient against the prior.
    """
    x, y = logit(np.asarray(probabilities, dtype=np.float64)), np.asarray(targets, dtype=np.float64)
    weight = min(1.0, num_patients / len(y))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        intercept, slope = parameters
        z = intercept + slope * x
        residuals = weight * (sigmoid(z) - y)
        penalty = intercept**2 / (2 * prior_intercept**2) + (slope - 1) ** 2 / (2 * prior_slope**2)
        gradient = [
            residuals.sum() + intercept / prior_intercept**2,
            residuals @ x + (slope - 1) / prior_slope**2,
        ]
        return float(weight * np.sum(np.logaddexp(0, z) - y * z) + penalty), np.array(gradient)

    bounds = [(-20, 20), (1 / _MAX_SLOPE, _MAX_SLOPE)]
    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12).x
    return Line(slope=float(found[1]), intercept=float(found[0]))


def moved(calibration: Calibration, line: Line) -> Calibration:
    """The calibration with the line after it: of isotonic steps their heights move, of all else scale and shift."""
    if calibration.method == ISOTONIC:
        heights = sigmoid(line.intercept + line.slope * logit(np.array(calibration.y)))
        return replace(calibration, y=tuple(heights.tolist()))
    return Calibration(
        label=calibration.label,
        method=PLATT,
        scale=line.slope * calibration.scale,
        shift=line.intercept + line.slope * calibration.shift,
    )


def local_weight(num_patients: int) -> float:
    """n / (n + PRIOR_PATIENTS): what a threshold from n patients of the rarer kind counts beside the version's own."""
    return num_patients / (num_patients + PRIOR_PATIENTS)


def moved_point(
    own: OperatingPoint,
    local: OperatingPoint,
    targets: np.ndarray,
    probabilities: np.ndarray,
    *,
    flagged_before: float,
) -> OperatingPoint:
    """The version's point moved towards the local one by local_weight; its rates are of the local exams.

    What is averaged is the share of local exams that each flags. A threshold itself means something else after
    calibration, and a far one would drag the mean along. A rule that promises a sensitivity or a specificity keeps it
    on the local exams. targets bool [N] and probabilities [N] of the label, those that the local point was chosen on;
    flagged_before: the share that the version flags. The version's own where they have one kind alone.
    """
    if local.rule == DEFAULT:
        return own
    weight = local_weight(min(local.positive_patients, local.negative_patients))
    flagged = weight * float((probabilities >= local.threshold).mean()) + (1 - weight) * flagged_before
    threshold = _threshold_of(probabilities, flagged)
    if local.rule in _PROMISES:
        threshold = _PROMISES[local.rule](threshold, local.threshold)
    decided = probabilities >= threshold
    sensitivity = float(decided[targets].mean())
    interval = clopper_pearson(sensitivity, local.positive_patients)
    return replace(
        local,
        threshold=threshold,
        sensitivity=sensitivity,
        specificity=float((~decided[~targets]).mean()),
        sensitivity_low=interval.low,
        sensitivity_high=interval.high,
    )


def _threshold_of(probabilities: np.ndarray, flagged: float) -> float:
    """The threshold that flags that share of the probabilities [N], half way to the next; of equal ones all."""
    count = round(flagged * len(probabilities))
    around = np.concatenate([[1.0], np.sort(probabilities)[::-1], [0.0]])[count : count + 2]
    return float(around.mean())


def recalibrate(
    chosen: Chosen,
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    recalibrated: Collection[str],
) -> Chosen:
    """What the version chose, moved by local slices or exams: targets bool [N, F], scores [N, F] of its network.

    recalibrated: the labels that are; the others stay as they are.
    """
    num_patients, said = len(np.unique(patients)), chosen.calibrated(scores)
    calibrations = tuple(
        moved(one, fit_line(targets[:, i], said[:, i], num_patients=num_patients))
        if one.label in recalibrated
        else one
        for i, one in enumerate(chosen.calibrations)
    )
    probabilities = Chosen(calibrations=calibrations, operating_points={}).calibrated(scores)
    local = choose_by_each_rule(targets, probabilities, patients, labels)
    return Chosen(
        calibrations=calibrations,
        operating_points={
            rule: tuple(
                moved_point(
                    own,
                    local[rule][i],
                    targets[:, i],
                    probabilities[:, i],
                    flagged_before=float((said[:, i] >= own.threshold).mean()),
                )
                if own.label in recalibrated
                else own
                for i, own in enumerate(points)
            )
            for rule, points in chosen.operating_points.items()
        },
    )


def cross_fitted(
    chosen: Chosen,
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    folds: np.ndarray,
    recalibrated: Collection[str],
    rule: str,
) -> CrossFitted:
    """What recalibrate gives patients who had no part in it: each fold by all others. folds [N] are whole patients."""
    probabilities = np.empty(targets.shape)
    decisions = np.empty(targets.shape, dtype=bool)
    for fold in np.unique(folds):
        held = folds == fold
        if np.isin(patients[held], patients[~held]).any():
            raise ValueError(f"fold {fold} shares patients with others, expected whole patients")
        found = recalibrate(
            chosen, targets[~held], scores[~held], patients[~held], labels, recalibrated=recalibrated
        )
        probabilities[held] = found.calibrated(scores[held])
        decisions[held] = probabilities[held] >= found.thresholds(rule)
    return CrossFitted(probabilities=probabilities, decisions=decisions)
