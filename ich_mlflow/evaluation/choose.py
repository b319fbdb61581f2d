"""Choosing on the validation split: calibrations, operating points, and how slices become exams."""

import numpy as np

from ich_mlflow.evaluation.aggregate import AGGREGATIONS, OF_MODEL, Exams, to_exams
from ich_mlflow.evaluation.calibration_fit import AUTO, fit_calibrations
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.operating_point import choose_by_each_rule, default_thresholds
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.labels import ANY, findings_of, with_any
from ich_mlflow.models.series import SMOOTHINGS, smoothed_each


def choose(
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    labels: tuple[str, ...],
    *,
    calibration: str = AUTO,
) -> Chosen:
    """Calibrations, and operating points of the calibrated probabilities, from validation [N, F].

    scores: what the network says, 0 to 1. calibration: as fit_calibrations takes it. Both are chosen on the same
    slices, so what they score there flatters.
    """
    calibrations = fit_calibrations(targets, scores, labels, method=calibration)
    unset = Chosen(calibrations=calibrations, operating_points={})
    calibrated = unset.calibrated(scores)
    return Chosen(
        calibrations=calibrations,
        operating_points=choose_by_each_rule(
            targets,
            calibrated,
            patients,
            labels,
            default=unset.calibrated(default_thresholds(labels)[None])[0],
        ),
    )


def choose_smoothing(
    targets: np.ndarray,
    outputs: np.ndarray,
    position_mm: np.ndarray,
    study_uids: np.ndarray,
    patients: np.ndarray,
    series_uids: np.ndarray,
    labels: tuple[str, ...],
) -> str:
    """The smoothing along the series that ranks `any` best on validation: by the AUC of slices plus that of exams.

    Exams by their highest slice: what helps slices can hurt exams, whose one loud slice it drowns. targets of the
    findings [N, F], outputs of the network [N, L] of labels [L]. Where several are equal the one that reaches least
    far, as none, which it also is where any is not estimable.
    """
    found: dict[str, float] = {}
    for smoothing in SMOOTHINGS:
        scores = with_any(smoothed_each(outputs, position_mm, series_uids, smoothing), labels)
        exams = to_exams(targets, scores, study_uids, patients, series_uids)
        found[smoothing] = _auc_of_any(targets, scores, labels) + _auc_of_any(
            exams.targets, exams.scores, labels
        )
    return max(found, key=lambda name: found[name])  # the first of equals


def _auc_of_any(targets: np.ndarray, scores: np.ndarray, labels: tuple[str, ...]) -> float:
    """Of findings [N, F]; 0 where it is not estimable."""
    findings = findings_of(labels)
    scored = evaluate_slices(targets, scores, default_thresholds(findings), findings)
    auc = scored.per_label[findings.index(ANY)]["auc"]
    return 0.0 if np.isnan(auc) else auc


def choose_aggregation(
    targets: np.ndarray,
    scores: np.ndarray,
    study_uids: np.ndarray,
    patients: np.ndarray,
    series_uids: np.ndarray,
    labels: tuple[str, ...],
    *,
    of_series: np.ndarray | None = None,
) -> tuple[str, Exams]:
    """The aggregation by which `any` has the highest AUC over validation exams, and those exams.

    targets, scores [N, F] of slices. of_series [N, F]: what the model says of their series itself, where it does; that
    is chosen then, since it was trained to be. Where several are equal the one of the fewest slices, as `max`, which it
    also is where any is not estimable.
    """
    found: dict[str, tuple[float, Exams]] = {}
    for aggregation in AGGREGATIONS if of_series is None else (OF_MODEL,):
        exams = to_exams(
            targets, scores, study_uids, patients, series_uids, aggregation=aggregation, of_series=of_series
        )
        found[aggregation] = (_auc_of_any(exams.targets, exams.scores, labels), exams)
    best = max(found, key=lambda name: found[name][0])  # the first of equals
    return best, found[best][1]
