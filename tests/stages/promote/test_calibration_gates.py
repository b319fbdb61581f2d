"""Probabilities that are wrong all over, by hand: halved ones, doubled odds, and what can't be told."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.labels import ANY
from ich_mlflow.stages.promote.facts import CalibrationLine, Figure, Limits
from ich_mlflow.stages.promote.gates import decide
from ich_mlflow.stages.promote.measured import calibration_lines
from tests.stages.promote.test_gates import FACTS

NAN = math.nan


LIMITS = Limits()


def gate(lines, limits=LIMITS):
    facts = replace(FACTS, calibration=tuple(lines))
    return next(one for one in decide(facts, limits).gates if one.name == "calibration")


def line(*, intercept=(0.0, -0.2, 0.2), slope=(1.0, 0.8, 1.2)):
    figures = [Figure(value=value, low=low, high=high) for value, low, high in (intercept, slope)]
    return CalibrationLine(of="any of slices", intercept=figures[0], slope=figures[1])


@pytest.mark.parametrize(
    ("intercept", "passed"),
    [
        ((0.7, 0.5, 0.9), True),  # it begins where the tolerance ends
        ((0.7, 0.51, 0.9), False),
        ((-0.7, -0.9, -0.5), True),
        ((-0.7, -0.9, -0.51), False),
        ((3.0, NAN, NAN), True),  # named, not judged
    ],
)
def test_an_intercept_whose_interval_lies_wholly_outside_is_refused(intercept, passed):
    assert gate([line(intercept=intercept)]).passed is passed


@pytest.mark.parametrize(
    ("slope", "passed"),
    [
        ((0.4, 0.3, 0.5), True),
        ((0.4, 0.3, 0.49), False),
        ((3.2, 3.0, 3.4), True),
        ((3.2, 3.01, 3.4), False),
        ((NAN, NAN, NAN), True),
    ],
)
def test_a_slope_whose_interval_lies_wholly_outside_is_refused(slope, passed):
    assert gate([line(slope=slope)]).passed is passed


def test_which_way_the_probabilities_err_is_told():
    assert gate([line(intercept=(0.8, 0.6, 1.0))]).said == (
        "any of slices intercept +0.80 (+0.60 to +1.00), probabilities are too low; expected intercept -0.5 to 0.5, "
        "slope 0.5 to 3, or an interval that reaches into it"
    )
    assert "+0.30 (+0.20 to +0.40), probabilities are too extreme" in gate([line(slope=(0.3, 0.2, 0.4))]).said


def test_what_has_no_interval_is_named_and_where_nothing_has_one_it_is_refused():
    unknown = line(intercept=(0.1, NAN, NAN), slope=(1.0, NAN, NAN))
    assert gate([line(), replace(unknown, of="epidural of exams")]).said.endswith(
        "; no interval: epidural of exams"
    )
    assert not gate([unknown]).passed
    assert not gate([]).passed


def test_a_wider_tolerance_can_be_asked_for():
    assert gate([line(intercept=(0.8, 0.6, 1.0))], Limits(intercept_margin=0.7)).passed


def test_all_probabilities_halved_are_refused():
    """200 patients with two slices each: of those called 0.4, 0.4 bleed; of those called 0.8, 0.8. Then halved.

    logit(0.4) - logit(0.2) is 0.98, and logit(0.8) - logit(0.4) is 1.79: the intercept is between.
    """
    said = np.repeat([0.4, 0.8], 200)
    bleeds = np.concatenate([np.arange(200) % 5 < 2, np.arange(200) % 5 < 4])
    right = Predictions(
        labels=(ANY,),
        targets=bleeds[:, None],
        probabilities=said[:, None],
        thresholds=np.array([0.5]),
        patients=np.arange(400) // 2,
    )
    lines = calibration_lines([assess(right, num_resamples=200)])
    assert lines[0].intercept.value == pytest.approx(0, abs=1e-6)
    assert lines[0].slope.value == pytest.approx(1, abs=1e-6)
    assert gate(lines).passed

    (halved,) = calibration_lines(
        [assess(replace(right, probabilities=right.probabilities / 2), num_resamples=200)]
    )
    assert 0.98 < halved.intercept.value < 1.79
    found = gate([halved])
    assert not found.passed
    assert "probabilities are too low" in found.said
