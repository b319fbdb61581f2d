import numpy as np
import pytest

from ich_mlflow.evaluation.aggregate import MAX, NOISY_OR, to_exams

TARGETS = np.array([[0, 0], [1, 0], [0, 0], [0, 1]])
PROBABILITIES = np.array([[0.5, 0.1], [0.2, 0.2], [0.5, 0.0], [0.1, 0.9]])
STUDIES = np.array(["b", "a", "b", "a"])
PATIENTS = np.array(["p", "q", "p", "q"])


def test_a_study_shows_what_any_of_its_slices_shows_in_the_order_of_the_first():
    exams = to_exams(TARGETS, PROBABILITIES, STUDIES, PATIENTS, aggregation=MAX)
    assert exams.study_uids.tolist() == ["b", "a"]
    assert exams.patients.tolist() == ["p", "q"]
    assert exams.targets.tolist() == [[False, False], [True, True]]
    assert exams.probabilities.tolist() == [[0.5, 0.1], [0.2, 0.9]]


def test_noisy_or_is_one_minus_the_product_of_what_is_left():
    exams = to_exams(TARGETS, PROBABILITIES, STUDIES, PATIENTS, aggregation=NOISY_OR)
    # 1 - 0.5 * 0.5, 1 - 0.9 * 1; 1 - 0.8 * 0.9, 1 - 0.8 * 0.1
    np.testing.assert_allclose(exams.probabilities, [[0.75, 0.1], [0.28, 0.92]])


def test_an_unknown_aggregation_or_a_study_of_two_patients_is_refused():
    with pytest.raises(ValueError, match="expected one of max, noisy_or"):
        to_exams(TARGETS, PROBABILITIES, STUDIES, PATIENTS, aggregation="mean")
    with pytest.raises(ValueError, match="two patients"):
        to_exams(TARGETS, PROBABILITIES, STUDIES, np.array(["p", "q", "r", "q"]))
