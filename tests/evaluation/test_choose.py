import json

import numpy as np
import pytest

from ich_mlflow.evaluation.choose import choose, choose_aggregation
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.scores import evaluate_slices

LABELS = ("epidural", "subdural")


def _validation(n=400, seed=0):
    """Overconfident probabilities of two labels."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, 2)) < 0.3
    logits = 4 * (rng.normal(0, 1, (n, 2)) + 1.5 * targets - 0.75)
    return targets, 1 / (1 + np.exp(-logits))


def test_thresholds_are_of_calibrated_probabilities():
    targets, probabilities = _validation()
    chosen = choose(targets, probabilities, LABELS)
    assert [one.method for one in chosen.calibrations] == ["platt", "platt"]
    calibrated = chosen.calibrated(probabilities)
    for rule, points in chosen.operating_points.items():
        scored = evaluate_slices(targets, calibrated, chosen.thresholds(rule), LABELS)
        for point, label in zip(points, scored.per_label, strict=True):
            assert (point.sensitivity, point.specificity) == pytest.approx(
                (label["sensitivity"], label["specificity"])
            )
    assert all(point.sensitivity >= 0.95 for point in chosen.operating_points["sensitivity_95"])
    raw = evaluate_slices(targets, probabilities, np.full(2, 0.5), LABELS)
    mended = evaluate_slices(targets, calibrated, np.full(2, 0.5), LABELS)
    assert mended.macro("ece") < raw.macro("ece") / 2
    assert mended.macro("auc") == pytest.approx(raw.macro("auc"))


def test_what_was_chosen_survives_json():
    targets, probabilities = _validation()
    targets[:, 0] = False  # a label that validation can't tell
    for method in ("none", "temperature", "platt", "isotonic"):
        chosen = choose(targets, probabilities, LABELS, calibration=method)
        again = Chosen.from_dict(json.loads(json.dumps(chosen.to_dict(), allow_nan=False)))
        assert again.to_dict() == chosen.to_dict()
        np.testing.assert_array_equal(again.calibrated(probabilities), chosen.calibrated(probabilities))


def test_an_unknown_rule_or_a_missing_one_is_refused():
    targets, probabilities = _validation()
    chosen = choose(targets, probabilities, LABELS)
    with pytest.raises(ValueError, match="expected one of max_f1"):
        chosen.thresholds("gut")
    values = chosen.to_dict()
    del values["operating_points"]["youden"]
    with pytest.raises(ValueError, match="youden"):
        Chosen.from_dict(values)


def test_the_aggregation_with_the_higher_auc_of_exams_wins():
    # Exam a bleeds on three slices at .4 each; exam b has one false alarm at .5. By max b is first, by noisy-or
    # 1 - .6^3 = .78 is.
    studies = np.repeat(["a", "b"], 3)
    targets = np.array([[1], [1], [1], [0], [0], [0]])
    probabilities = np.array([[0.4], [0.4], [0.4], [0.5], [0.0], [0.0]])
    aggregation, exams = choose_aggregation(targets, probabilities, studies, studies, ("any",))
    assert aggregation == "noisy_or"
    np.testing.assert_allclose(exams.probabilities[:, 0], [1 - 0.6**3, 0.5])
    assert choose_aggregation(targets, 1 - probabilities, studies, studies, ("any",))[0] == "max"


def test_at_equal_auc_or_none_it_is_max():
    studies = np.array(["a", "b"])
    for targets in (np.array([[1], [0]]), np.zeros((2, 1))):
        assert choose_aggregation(targets, np.array([[0.9], [0.1]]), studies, studies, ("any",))[0] == "max"
