"""The conformal rules, by hand and by simulation of what they promise."""

import numpy as np
import pytest

from ich_mlflow.evaluation.abstention import (
    Abstention,
    called,
    choose_abstention,
    distances_of_exams,
    least_patients,
    lower_limit,
    percent,
    upper_limit,
)


def patients(count: int) -> np.ndarray:
    return np.array([f"p{number}" for number in range(count)])


@pytest.mark.parametrize(
    ("alpha", "expected"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.5, 1), (0.3, 3), (1 / 7, 6)]
)
def test_patients_that_a_promise_takes(alpha, expected):
    assert least_patients(alpha) == expected
    assert lower_limit(np.arange(expected), alpha) == 0
    assert lower_limit(np.arange(expected - 1), alpha) is None


def test_limits_are_the_kth_lowest_and_highest_by_hand():
    # floor(.1 * 20) = 2: the second lowest; of 19 values 0 to 18 that is 1, from above 17
    assert lower_limit(np.arange(19)[::-1], 0.1) == 1
    assert upper_limit(np.arange(19), 0.1) == 17
    assert upper_limit(np.empty(0), 0.5) is None


def test_of_a_patient_the_lowest_bleeding_exam_and_the_farthest_exam_count():
    who = np.array(["a", "a", "a", "b", "c"])
    found = choose_abstention(
        np.array([True, True, False, True, False]),
        np.array([0.9, 0.4, 0.1, 0.6, 0.2]),
        who,
        alpha=0.5,
        distances=np.array([1.0, 3.0, np.nan, 2.0, np.nan]),
    )
    # bleeding patients a .4 and b .6, floor(.5 * 3) = 1; distances a 3 and b 2, the highest
    assert found == Abstention(alpha=0.5, clear_below=0.4, bleeding_patients=2, far_from=3.0, patients=2)


@pytest.mark.parametrize("alpha", [1.0, -0.1])
def test_alpha_must_be_a_share(alpha):
    with pytest.raises(ValueError, match="expected 0 or more and below 1"):
        choose_abstention(np.ones(3, bool), np.ones(3), patients(3), alpha=alpha)


def test_alpha_zero_is_never_uncertain_and_says_so():
    rule = choose_abstention(np.ones(99, bool), np.ones(99), patients(99), alpha=0.0, distances=np.ones(99))
    assert rule == Abstention(alpha=0.0)
    assert rule.reasons(0.9, 99.0, is_flagged=False) == ()
    assert rule.lacks == ("no exam is uncertain: this version was made with abstention=0",)


@pytest.mark.parametrize(
    ("share", "text"), [(0.05, "5 %"), (0.025, "2.5 %"), (0.005, "0.5 %"), (0.95, "95 %")]
)
def test_shares_are_not_rounded(share, text):
    assert percent(share) == text


def test_reasons_of_one_exam():
    rule = Abstention(alpha=0.05, clear_below=0.2, bleeding_patients=30, far_from=1.5, patients=60)
    assert rule.reasons(0.19, 1.5, is_flagged=False) == ()
    (score,) = rule.reasons(0.2, None, is_flagged=False)
    assert "can't be excluded" in score
    assert "0.2" in score
    (far,) = rule.reasons(0.9, 1.6, is_flagged=True)
    assert "unlike" in far
    assert len(rule.reasons(0.5, 2.0, is_flagged=False)) == 2
    assert rule.reasons(0.1, float("nan"), is_flagged=False) == ()


def test_what_is_lacking_is_said():
    rule = Abstention(alpha=0.05, bleeding_patients=7, patients=3)
    assert not rule.can
    assert rule.reasons(0.9, 9.0, is_flagged=False) == ()
    by_score, by_distance = rule.lacks
    assert "to promise 5 % takes 19 validation patients with a bleed, and there were 7" in by_score
    assert "there were 3" in by_distance
    (_, without) = Abstention(alpha=0.05, bleeding_patients=7).lacks
    assert "has no feature distance" in without


def test_it_survives_json():
    rule = Abstention(alpha=0.1, clear_below=0.25, bleeding_patients=12, far_from=None, patients=4)
    assert Abstention.from_dict(rule.to_dict()) == rule
    with pytest.raises(TypeError):
        Abstention.from_dict({**rule.to_dict(), "more": 1})


def test_an_exam_is_as_far_as_its_farthest_series():
    found = distances_of_exams(
        np.array([1.0, 3.0, 5.0, np.nan, 2.0]),
        np.array(["x", "x", "x", "y", "y"]),
        np.array(["s", "s", "t", "s", "t"]),
    )
    # x: series s 2, t 5; y: s not known, t 2
    assert found.tolist() == [5.0, 2.0]


def test_calls_by_hand():
    rule = Abstention(alpha=0.05, clear_below=0.3, bleeding_patients=20, far_from=2.0, patients=40)
    found = called(
        rule,
        bleeds=np.array([1, 1, 0, 0, 1, 0]),
        scores=np.array([0.9, 0.1, 0.4, 0.1, 0.2, 0.8]),
        flagged=np.array([1, 0, 0, 0, 0, 1]),
        patients=np.array(["a", "a", "b", "c", "d", "e"]),
        distances=np.array([1, 1, 1, 3, np.nan, 5]),
    )
    assert found.uncertain.tolist() == [False, False, True, True, False, False]
    assert found.unlike.tolist() == [False, False, False, True, False, True]
    assert found.clear.tolist() == [False, True, False, False, True, False]
    assert found.missed == (2, 2)
    assert found.among_clear == (2, 2)


def test_promise_holds_on_average_over_cohorts_whatever_the_network_is_worth():
    """1,000 cohorts of 22 validation patients with a bleed: of another exam k / (n + 1) = 1 / 23 are called clear."""
    draws = np.random.default_rng(0)
    for spread in (0.2, 3.0):
        missed = []
        for _ in range(1000):
            scores = 1 / (1 + np.exp(-draws.normal(0, spread, 22 + 50)))
            limit = lower_limit(scores[:22], 0.05)
            assert limit is not None
            missed.append(np.mean(scores[22:] < limit))
        # of 1,000 cohorts the mean is within three standard errors of 1/23 = .0435, and below .05
        assert abs(np.mean(missed) - 1 / 23) < 3 * np.std(missed) / np.sqrt(1000)


def test_exams_with_equal_scores_are_not_called_clear():
    rule = choose_abstention(np.ones(20, bool), np.full(20, 0.7), patients(20), alpha=0.05)
    assert rule.clear_below == 0.7
    assert rule.reasons(0.7, None, is_flagged=False)
