"""Choosing on the validation split: calibrations, operating points, and how slices become exams."""

import numpy as np

from ich_mlflow.evaluation.aggregate import AGGREGATIONS, Exams, to_exams
from ich_mlflow.evaluation.calibration_fit import AUTO, fit_calibrations
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.operating_point import choose_by_each_rule, default_thresholds
from ich_mlflow.evaluation.scores import evaluate_slices


def choose(
    targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...], *, calibration: str = AUTO
) -> Chosen:
    """Calibrations, and operating points of the calibrated probabilities, from validation [N, L].

    calibration: as fit_calibrations takes it. Both are chosen on the same slices, so what they score there flatters.
    """
    calibrations = fit_calibrations(targets, probabilities, labels, method=calibration)
    unset = Chosen(calibrations=calibrations, operating_points={})
    calibrated = unset.calibrated(probabilities)
    return Chosen(
        calibrations=calibrations,
        operating_points=choose_by_each_rule(targets, calibrated, labels),
    )


def choose_aggregation(
    targets: np.ndarray,
    probabilities: np.ndarray,
    study_uids: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
) -> tuple[str, Exams]:
    """The aggregation with the highest mean AUC over validation exams, and those exams.

    targets, probabilities (calibrated) [N, L] of slices. Where they are equal, or no label is estimable: max.
    """
    halves = default_thresholds(labels)
    found = []
    for aggregation in AGGREGATIONS:
        exams = to_exams(targets, probabilities, study_uids, patients, aggregation=aggregation)
        auc = evaluate_slices(exams.targets, exams.probabilities, halves, labels).macro("auc")
        found.append((auc, aggregation, exams))
    first, second = found
    best = second if second[0] > first[0] else first
    return best[1], best[2]
