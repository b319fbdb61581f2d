import numpy as np
import pytest

from ich_mlflow.evaluation.aggregate import AGGREGATIONS, MAX, OF_MODEL, to_exams

TARGETS = np.array([[0, 0], [1, 0], [0, 0], [0, 1]])
SCORES = np.array([[0.5, 0.1], [0.2, 0.2], [0.5, 0.0], [0.1, 0.9]])
STUDIES = np.array(["b", "a", "b", "a"])
PATIENTS = np.array(["p", "q", "p", "q"])


def exams_of(aggregation, *, patients=PATIENTS, series=STUDIES):
    return to_exams(TARGETS, SCORES, STUDIES, patients, series, aggregation=aggregation)


def test_a_study_shows_what_any_of_its_slices_shows_in_the_order_of_the_first():
    exams = exams_of(MAX)
    assert exams.study_uids.tolist() == ["b", "a"]
    assert exams.patients.tolist() == ["p", "q"]
    assert exams.targets.tolist() == [[False, False], [True, True]]
    assert exams.scores.tolist() == [[0.5, 0.1], [0.2, 0.9]]


def test_what_a_model_says_of_series_itself_counts_and_of_several_series_the_highest():
    of_series = np.array([[0.3, 0.2], [0.6, 0.1], [0.3, 0.2], [0.4, 0.8]])
    series = np.array(["b", "a1", "b", "a2"])
    exams = to_exams(TARGETS, SCORES, STUDIES, PATIENTS, series, aggregation=OF_MODEL, of_series=of_series)
    assert exams.scores.tolist() == [[0.3, 0.2], [0.6, 0.8]]
    with pytest.raises(ValueError, match="aggregation is 'model'"):
        exams_of(OF_MODEL)


def test_the_mean_of_the_highest_takes_what_there_is():
    # two slices a study: the mean of its two highest is the mean of all, and so is that of three
    for aggregation in ("mean_of_2", "mean_of_3"):
        np.testing.assert_allclose(exams_of(aggregation).scores, [[0.5, 0.05], [0.15, 0.55]])


def test_the_mean_of_two_passes_over_lower_slices():
    scores = np.array([[0.1], [0.9], [0.5], [0.3]])
    one = np.repeat("a", 4)
    exams = to_exams(np.zeros((4, 1)), scores, one, one, one, aggregation="mean_of_2")
    assert exams.scores.tolist() == [[pytest.approx(0.7)]]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_head_cut_into_30_or_150_slices_of_one_score_is_the_same_exam(aggregation):
    # what 1 minus the product of 1 minus each made of .03 was .60 of 30 slices and .99 of 150
    for num in (30, 150):
        one = np.repeat("a", num)
        exams = to_exams(np.zeros((num, 1)), np.full((num, 1), 0.03), one, one, one, aggregation=aggregation)
        assert exams.scores[0, 0] == pytest.approx(0.03)


def test_of_several_series_of_a_study_the_highest_counts_and_they_are_not_pooled():
    # soft tissue .6 .4, bone .5 .1: the mean of two is .5 and .3, so .5; pooled it would be .55
    scores = np.array([[0.6], [0.4], [0.5], [0.1]])
    study, series = np.repeat("a", 4), np.array(["soft", "soft", "bone", "bone"])
    exams = to_exams(np.zeros((4, 1)), scores, study, study, series, aggregation="mean_of_2")
    assert exams.scores.tolist() == [[pytest.approx(0.5)]]


def test_two_studies_with_the_same_series_uid_stay_two():
    scores = np.array([[0.6], [0.4], [0.5], [0.1]])
    studies = np.array(["a", "a", "b", "b"])
    exams = to_exams(np.zeros((4, 1)), scores, studies, studies, np.repeat("s", 4), aggregation="mean_of_2")
    np.testing.assert_allclose(exams.scores[:, 0], [0.5, 0.3])


def test_an_unknown_aggregation_or_a_study_of_two_patients_is_refused():
    with pytest.raises(ValueError, match="expected one of max, mean_of_2"):
        exams_of("noisy_or")
    with pytest.raises(ValueError, match="two patients"):
        exams_of(MAX, patients=np.array(["p", "q", "r", "q"]))
