import json
from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.evaluation.operating_point import OperatingPoint, choose_operating_points
from ich_mlflow.evaluation.scores import evaluate_slices


def choose_one(targets, probabilities):
    columns = np.array(targets)[:, None], np.array(probabilities)[:, None]
    return choose_operating_points(*columns, np.arange(len(targets)), ("subdural",))[0]


def test_threshold_with_the_highest_f1_by_hand():
    # F1 from the lowest candidate up: 4/6, 4/5, 2/4, 2/3. Half way between 0.375 and 0.125.
    point = choose_one([0, 1, 0, 1], [0.125, 0.375, 0.5, 0.75])
    # of two patients with a bleed both are found: the exact interval of 2 of 2 begins at the square root of .025
    assert point == OperatingPoint(
        label="subdural",
        threshold=0.25,
        sensitivity=1,
        specificity=0.5,
        sensitivity_low=pytest.approx(0.025**0.5),
        sensitivity_high=1,
        rule="max_f1",
        num_positive=2,
        num_negative=2,
        positive_patients=2,
        negative_patients=2,
    )


def test_at_equal_f1_the_lowest_threshold_wins():
    # 0.9 catches one of two without a false alarm: 2/3. 0.2 catches both with two: 4/6. The rest are lower.
    point = choose_one([1, 0, 0, 1, 0], [0.2, 0.5, 0.6, 0.9, 0.1])
    assert (point.threshold, point.sensitivity) == (pytest.approx(0.15), 1)


def test_equal_probabilities_are_one_candidate():
    point = choose_one([0, 1, 1], [0.3, 0.3, 0.3])
    assert (point.threshold, point.sensitivity, point.specificity) == (0.15, 1, 0)


@pytest.mark.parametrize("targets", [[0, 0], [1, 1]])
def test_a_label_that_validation_says_nothing_about_keeps_one_half(targets):
    point = choose_one(targets, [0.2, 0.7])
    assert (point.threshold, point.rule) == (0.5, "default")
    assert np.isnan(point.sensitivity)
    assert np.isnan(point.specificity)


def test_no_observed_threshold_does_better():
    rng = np.random.default_rng(3)
    targets = (rng.random((80, 1)) < 0.3).astype(np.float32)
    # float32, as a network gives them.
    probabilities = (0.4 * targets + 0.6 * rng.random((80, 1))).astype(np.float32)
    (point,) = choose_operating_points(targets, probabilities, np.arange(80), ("any",))

    def at(threshold):
        return evaluate_slices(targets, probabilities, np.array([threshold]), ("any",)).per_label[0]

    assert at(point.threshold)["f1"] == max(at(p)["f1"] for p in probabilities[:, 0])
    assert at(point.threshold)["sensitivity"] == pytest.approx(point.sensitivity)
    assert at(point.threshold)["specificity"] == pytest.approx(point.specificity)


@pytest.mark.parametrize("targets", [[0, 1], [0, 0]])
def test_survives_json(targets):
    point = choose_one(targets, np.array([0.1, 0.7], np.float32))
    text = json.dumps(point.to_dict(), allow_nan=False)
    again = OperatingPoint.from_dict(json.loads(text))
    assert again.to_dict() == point.to_dict()
    assert again.threshold == point.threshold


def test_unknown_is_null_in_json():
    assert choose_one([0, 0], [0.1, 0.7]).to_dict()["sensitivity"] is None


def test_from_dict_refuses_a_missing_key():
    with pytest.raises(ValueError, match=r"expected .*threshold"):
        OperatingPoint.from_dict({"label": "any"})


def test_a_threshold_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match="threshold of subdural is nan"):
        replace(choose_one([0, 1], [0.1, 0.7]), threshold=float("nan"))


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule is 'gut'"):
        choose_operating_points(np.zeros((2, 1)), np.zeros((2, 1)), np.arange(2), ("any",), rule="gut")
    with pytest.raises(ValueError, match="rule of subdural is 'gut'"):
        replace(choose_one([0, 1], [0.1, 0.7]), rule="gut")


def test_sensitivity_95_gives_up_one_of_twenty_and_no_more():
    # 20 positives at .01 … .20 times 5, 20 negatives at .03: without the lowest positive 19 of 20 are found
    positives = np.arange(1, 21) / 20
    targets = np.r_[np.ones(20), np.zeros(20)]
    point = choose_one_by("sensitivity_95", targets, np.r_[positives, np.full(20, 0.07)])
    assert (point.sensitivity, point.specificity) == (0.95, 1)
    assert point.threshold == pytest.approx((0.07 + 0.1) / 2)
    # of 19 all are needed: 18 of 19 is 0.947
    point = choose_one_by("sensitivity_95", targets[1:], np.r_[positives[1:], np.full(20, 0.12)])
    assert (point.sensitivity, point.specificity) == (1, 0)


def test_youden_weighs_both_kinds_alike():
    # at .6: 2 of 4 found, no alarm: 0.5. At .2: all found, 2 of 4 alarms: 0.5. At .4: 3 of 4, 1 of 4: 0.5. Lowest wins.
    targets = [1, 1, 0, 1, 0, 1, 0, 0]
    point = choose_one_by("youden", targets, [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
    assert (point.sensitivity, point.specificity, point.rule) == (1, 0.5, "youden")


def test_sensitivity_90_gives_up_one_of_ten():
    # positives at .1 to 1 by tenths, negatives at .15: without the lowest positive 9 of 10 are found, without an alarm
    targets = np.r_[np.ones(10), np.zeros(4)]
    point = choose_one_by("sensitivity_90", targets, np.r_[np.arange(1, 11) / 10, np.full(4, 0.15)])
    assert (point.sensitivity, point.specificity) == (0.9, 1)
    assert point.threshold == pytest.approx((0.15 + 0.2) / 2)


def test_specificity_90_allows_one_alarm_in_ten():
    # negatives at .05 to .95 by tenths, positives at .5, .9, .99: at .9 one negative of ten is decided positive
    targets = np.r_[np.zeros(10), np.ones(3)]
    point = choose_one_by("specificity_90", targets, np.r_[np.arange(10) / 10 + 0.05, 0.5, 0.9, 0.99])
    assert (point.sensitivity, point.specificity) == (pytest.approx(2 / 3), 0.9)
    assert point.threshold == pytest.approx((0.85 + 0.9) / 2)


def test_specificity_90_decides_nothing_where_the_highest_is_a_negative_of_four():
    # one alarm in four is a specificity of .75, so the threshold lies above all of them
    point = choose_one_by("specificity_90", [1, 0, 0, 0, 0], [0.6, 0.8, 0.1, 0.1, 0.1])
    assert (point.sensitivity, point.specificity) == (0, 1)
    assert point.threshold == pytest.approx(0.9)


def test_patients_are_counted_beside_slices():
    # patient a has both kinds of slices, b only positives, c only negatives
    patients = np.array(["a", "a", "b", "b", "c"])
    targets = np.array([[1], [0], [1], [1], [0]])
    (point,) = choose_operating_points(targets, targets * 0.8 + 0.1, patients, ("any",))
    assert (point.num_positive, point.num_negative) == (3, 2)
    assert (point.positive_patients, point.negative_patients) == (2, 2)
    assert point.is_from_few


def test_ten_patients_of_each_kind_are_not_few():
    targets = np.r_[np.ones(10), np.zeros(10)]
    assert not choose_one(targets, targets).is_from_few
    assert choose_one(targets[1:], targets[1:]).is_from_few


def choose_one_by(rule, targets, probabilities):
    columns = np.array(targets)[:, None], np.array(probabilities)[:, None]
    return choose_operating_points(*columns, np.arange(len(targets)), ("subdural",), rule)[0]
