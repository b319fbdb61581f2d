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
    chosen = choose(targets, probabilities, np.arange(len(targets)), LABELS)
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
        chosen = choose(targets, probabilities, np.arange(len(targets)), LABELS, calibration=method)
        again = Chosen.from_dict(json.loads(json.dumps(chosen.to_dict(), allow_nan=False)))
        assert again.to_dict() == chosen.to_dict()
        np.testing.assert_array_equal(again.calibrated(probabilities), chosen.calibrated(probabilities))


def test_an_unknown_rule_or_a_missing_one_is_refused():
    targets, probabilities = _validation()
    chosen = choose(targets, probabilities, np.arange(len(targets)), LABELS)
    with pytest.raises(ValueError, match="expected one of max_f1"):
        chosen.thresholds("gut")
    values = chosen.to_dict()
    del values["operating_points"]["youden"]
    with pytest.raises(ValueError, match="youden"):
        Chosen.from_dict(values)


def test_the_aggregation_by_which_any_has_the_highest_auc_of_exams_wins():
    # Exam a bleeds on two slices at .4 each; exam b has one false alarm at .5. By max b is first, by the mean of the
    # two highest a is: .4 against .25. The subtype, which max ranks rightly, has no say.
    studies = np.repeat(["a", "b"], 3)
    targets = np.array([[1, 1], [1, 1], [0, 0], [0, 0], [0, 0], [0, 0]])
    scores = np.array([[0.9, 0.4], [0.4, 0.4], [0.0, 0.0], [0.0, 0.5], [0.0, 0.0], [0.0, 0.0]])
    labels = ("subdural", "any")
    aggregation, exams = choose_aggregation(targets, scores, studies, studies, studies, labels)
    assert aggregation == "mean_of_2"
    np.testing.assert_allclose(exams.scores[:, 1], [0.4, 0.25])


def test_at_equal_auc_or_none_it_is_max():
    studies = np.array(["a", "b"])
    scores = np.array([[0.9], [0.1]])
    for targets in (np.array([[1], [0]]), np.zeros((2, 1))):
        assert choose_aggregation(targets, scores, studies, studies, studies, ("any",))[0] == "max"


def test_a_label_that_validation_says_nothing_about_is_decided_at_the_networks_own_one_half():
    scores = np.linspace(0.05, 0.95, 10)[:, None]
    chosen = choose(np.zeros((10, 1)), scores, np.arange(10), ("epidural",))
    decided = chosen.calibrated(scores) >= chosen.thresholds("max_f1")
    assert decided[:, 0].tolist() == (scores[:, 0] >= 0.5).tolist()
    # while the probability is what ten slices without one say: half a bleed in eleven
    assert chosen.calibrated(scores).max() < 0.06


def test_what_validation_was_too_small_for_is_said_beside_every_number():
    targets = np.array([[1]] * 3 + [[0]] * 5)
    scores = np.array([[0.9], [0.8], [0.3], [0.6], [0.2], [0.1], [0.1], [0.1]])
    chosen = choose(targets, scores, np.arange(8), ("any",))
    # at .25 all three are found and one of five is not: an exact interval of 3 of 3 is .29 to 1
    assert chosen.caveats("sensitivity_95", unit="exams") == (
        "probabilities of exams (any) are shrunk towards the prevalence of validation, which had too few positives or "
        "negatives",
        "decisions on exams go by thresholds from fewer than 10 patients with or without the label: any 3 with, 5 "
        "without, sensitivity 1.00 (0.29 to 1.00)",
    )


def test_where_validation_was_enough_nothing_is_said():
    targets, scores = _validation()
    assert choose(targets, scores, np.arange(400), LABELS).caveats("max_f1", unit="slices") == ()


def test_ten_slices_of_one_patient_are_one_patient():
    targets, scores = _validation()
    patients = np.where(targets[:, 0], 0, np.arange(400))
    (few,) = choose(targets, scores, patients, LABELS).caveats("max_f1", unit="slices")
    assert "epidural 1 with" in few
    assert "subdural" not in few


def test_what_the_user_did_not_want_calibrated_is_called_so():
    targets, scores = _validation()
    (said,) = choose(targets, scores, np.arange(400), LABELS, calibration="none").caveats(
        "max_f1", unit="slices"
    )
    assert (
        said == "probabilities of slices (epidural, subdural) are not calibrated: they are the network's own"
    )
