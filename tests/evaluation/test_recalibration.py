"""Recalibration: numbers worked out by hand, and what cross-fitting must not see."""

import math

import numpy as np
import pytest

from ich_mlflow.evaluation.calibration import ISOTONIC, NONE, PLATT, Calibration
from ich_mlflow.evaluation.choose import choose
from ich_mlflow.evaluation.operating_point import (
    MAX_F1,
    SENSITIVITY_90,
    SENSITIVITY_95,
    SPECIFICITY_90,
    choose_operating_points,
)
from ich_mlflow.evaluation.recalibration import (
    PRIOR_PATIENTS,
    Line,
    cross_fitted,
    fit_line,
    local_weight,
    moved,
    moved_point,
    recalibrate,
)
from ich_mlflow.models.logits import logit, sigmoid

LABELS = ("any",)


def _patients(num_patients, *, shift=0.0, seed=0):
    """One exam a patient: targets [N, 1], scores [N, 1] whose log odds are true but for the shift, patients."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 2, size=num_patients)
    targets = rng.random(num_patients) < sigmoid(log_odds)
    return targets[:, None], sigmoid(log_odds + shift)[:, None], np.arange(num_patients).astype(str)


def test_seven_positives_of_eight_are_drawn_to_three_quarters():
    # All say one half, so that the slope has nothing to go by. The intercept a solves
    # 8 sigmoid(a) - 7 + a / s^2 = 0; with s^2 = ln 3 that is a = ln 3: 8 * 3/4 - 7 + 1 = 0.
    targets = np.array([1] * 7 + [0])
    line = fit_line(targets, np.full(8, 0.5), num_patients=8, prior_intercept=math.sqrt(math.log(3)))
    assert line.intercept == pytest.approx(math.log(3), abs=1e-5)
    assert line.slope == pytest.approx(1, abs=1e-6)


def test_a_slope_is_drawn_to_one():
    # Log odds 1 and -1 in turn, all true: with a = 0 the slope b solves 2 (sigmoid(b) - 1) + (b - 1) / s^2 = 0.
    # At b = ln 9 sigmoid is 9/10, so s^2 = 5 (ln 9 - 1).
    said, targets = sigmoid(np.array([1.0, -1.0])), np.array([1, 0])
    line = fit_line(targets, said, num_patients=2, prior_slope=math.sqrt(5 * (math.log(9) - 1)))
    assert line.slope == pytest.approx(math.log(9), abs=1e-4)
    assert line.intercept == pytest.approx(0, abs=1e-5)


def test_slices_of_a_patient_count_as_one_patient():
    targets = np.array([1] * 7 + [0])
    one_each = fit_line(targets, np.full(8, 0.5), num_patients=8)
    slices = fit_line(np.repeat(targets, 30), np.full(240, 0.5), num_patients=8)
    assert slices.intercept == pytest.approx(one_each.intercept, abs=1e-5)


def test_the_more_patients_the_nearer_to_the_truth():
    off = []
    for num_patients in (20, 200, 5000):
        targets, scores, _ = _patients(num_patients, shift=2.0)
        off.append(abs(fit_line(targets[:, 0], scores[:, 0], num_patients=num_patients).intercept + 2.0))
    assert off[0] > off[2]
    assert off[2] < 0.15


def test_a_moved_calibration_is_the_line_after_it():
    line, p = Line(slope=0.5, intercept=-1.0), np.array([0.1, 0.5, 0.9])
    for before in (
        Calibration(label="any"),
        Calibration(label="any", method=PLATT, scale=2.0, shift=0.5),
        Calibration(label="any", method=ISOTONIC, x=(0.1, 0.5, 0.9), y=(0.2, 0.3, 0.8)),
    ):
        after = moved(before, line)
        assert after.apply(p) == pytest.approx(sigmoid(-1 + 0.5 * logit(before.apply(p))))
    assert moved(Calibration(label="any", method=NONE), Line()).apply(p) == pytest.approx(p)


def _separated():
    """10 positive and 10 negative exams, their probabilities 0.95, 0.9 … 0, and the local point of a rule."""
    targets = np.array([[True]] * 10 + [[False]] * 10)
    probabilities = np.arange(19, -1, -1)[:, None] / 20
    return targets, probabilities, np.arange(20)


def test_a_threshold_of_as_many_patients_as_the_prior_goes_half_way():
    assert local_weight(PRIOR_PATIENTS) == 0.5
    assert local_weight(0) == 0
    targets, probabilities, patients = _separated()
    (local,) = choose_operating_points(targets, probabilities, patients, LABELS, MAX_F1)
    assert local.threshold == pytest.approx((0.5 + 0.45) / 2)
    # the version flags all 20, the local point 10: half way are 15, down to 0.25
    found = moved_point(local, local, targets[:, 0], probabilities[:, 0], flagged_before=1.0)
    assert found.threshold == pytest.approx((0.25 + 0.2) / 2)
    assert (found.sensitivity, found.specificity) == (1.0, 0.5)
    # it flags none: half way are 5, down to 0.75
    found = moved_point(local, local, targets[:, 0], probabilities[:, 0], flagged_before=0.0)
    assert found.threshold == pytest.approx((0.75 + 0.7) / 2)
    assert (found.sensitivity, found.specificity) == (0.5, 1.0)


def test_a_promised_sensitivity_is_kept_on_the_local_exams():
    targets, probabilities, patients = _separated()
    for rule, flagged_before in ((SENSITIVITY_90, 0.0), (SENSITIVITY_95, 0.0), (SPECIFICITY_90, 1.0)):
        (local,) = choose_operating_points(targets, probabilities, patients, LABELS, rule)
        found = moved_point(local, local, targets[:, 0], probabilities[:, 0], flagged_before=flagged_before)
        assert found.threshold == local.threshold


def test_a_kind_that_is_missing_keeps_the_point():
    targets, scores, patients = _patients(60)
    own = choose(targets, scores, patients, LABELS)
    positive = np.ones((5, 1), bool)
    found = recalibrate(own, positive, scores[:5], patients[:5], LABELS, recalibrated=LABELS)
    assert found.operating_points[MAX_F1] == own.operating_points[MAX_F1]


def test_labels_that_are_left_out_stay_as_they_are():
    targets, scores, patients = _patients(60)
    own = choose(targets, scores, patients, LABELS)
    assert recalibrate(own, targets, scores, patients, LABELS, recalibrated=()) == own


def test_no_patient_has_a_part_in_what_it_is_decided_by():
    targets, scores, patients = _patients(60, shift=1.5)
    own = choose(*_patients(300, seed=1), LABELS)
    folds = np.arange(60) % 6
    told = {"folds": folds, "recalibrated": LABELS, "rule": MAX_F1}
    found = cross_fitted(own, targets, scores, patients, LABELS, **told)
    changed = targets.copy()
    changed[folds == 2] = ~changed[folds == 2]
    other = cross_fitted(own, changed, scores, patients, LABELS, **told)
    assert (found.probabilities[folds == 2] == other.probabilities[folds == 2]).all()
    assert (found.probabilities[folds != 2] != other.probabilities[folds != 2]).all()
    with pytest.raises(ValueError, match="shares patients"):
        cross_fitted(own, targets, scores, np.repeat(patients[::2], 2), LABELS, **told)


def test_what_was_two_too_high_is_mended_in_patients_that_were_not_asked():
    own = choose(*_patients(300, seed=1), LABELS)
    targets, scores, patients = _patients(100, shift=2.0, seed=2)
    found = cross_fitted(
        own, targets, scores, patients, LABELS, folds=np.arange(100) % 10, recalibrated=LABELS, rule=MAX_F1
    )
    before = ((own.calibrated(scores) - targets) ** 2).mean()
    assert ((found.probabilities - targets) ** 2).mean() < before - 0.03
