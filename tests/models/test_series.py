import numpy as np
import pytest

from ich_mlflow.evaluation.choose import choose_smoothing
from ich_mlflow.models.series import (
    known_positions,
    smoothed,
    smoothed_each,
)

#: Log odds 0, 3, 0, 0 of four slices 5 mm apart.
LOUD = 1 / (1 + np.exp(-np.array([[0.0], [3.0], [0.0], [0.0]])))
STEPS = 5.0 * np.arange(4)


def log_odds(probabilities):
    return np.log(probabilities / (1 - probabilities))


def test_slices_5_mm_apart_count_three_two_and_one_third_with_15_mm():
    found = log_odds(smoothed(LOUD, STEPS, "15mm"))[:, 0]
    # the first: 3 of itself, 2 of the second, 1 of the third: 2 * 3 / 6; and so on
    np.testing.assert_allclose(found, [2 * 3 / 6, 3 * 3 / 8, 2 * 3 / 8, 1 * 3 / 6])


def test_with_10_mm_only_the_next_slice_has_a_say():
    found = log_odds(smoothed(LOUD, STEPS, "10mm"))[:, 0]
    np.testing.assert_allclose(found, [1 * 3 / 3, 2 * 3 / 4, 1 * 3 / 4, 0], atol=1e-12)


def test_thin_slices_of_a_head_are_smoothed_as_far_as_thick_ones():
    # a bleed 10 mm thick in a head of 100 mm, cut every 5 mm and every 1 mm
    def cut(step):
        position = np.arange(0, 100, step)
        inside = (position >= 45) & (position < 55)
        said = 1 / (1 + np.exp(-3.0 * inside))[:, None]
        return log_odds(smoothed(said, position, "20mm"))[np.flatnonzero(inside)[0], 0]

    assert cut(1.0) == pytest.approx(cut(5.0), abs=0.2)


def test_the_order_that_slices_come_in_does_not_matter_and_the_type_stays():
    shuffled = np.array([2, 0, 3, 1])
    found = smoothed(LOUD[shuffled].astype(np.float32), STEPS[shuffled], "15mm")
    np.testing.assert_allclose(found, smoothed(LOUD, STEPS, "15mm")[shuffled], rtol=1e-6)
    assert found.dtype == np.float32


def test_none_one_slice_or_unknown_positions_leave_every_bit():
    for outputs, position, smoothing in (
        (LOUD, STEPS, "none"),
        (LOUD[:1], STEPS[:1], "15mm"),
        (LOUD, np.zeros(4), "15mm"),
    ):
        assert smoothed(outputs, position, smoothing).tobytes() == outputs.tobytes()


def test_two_slices_at_one_place_are_each_others_nearest_neighbours():
    found = log_odds(smoothed(LOUD[:3], np.array([0.0, 0.0, 5.0]), "10mm"))[:, 0]
    # the first two: log odds 0 and 3 in full, and half of the third's 0
    np.testing.assert_allclose(found, [3 / 2.5, 3 / 2.5, (0.5 * 3) / 2], atol=1e-12)


def test_600_slices_are_a_series_too():
    rng = np.random.default_rng(0)
    assert smoothed(rng.random((600, 5)), 0.5 * np.arange(600), "20mm").shape == (600, 5)


def test_another_smoothing_is_refused():
    with pytest.raises(ValueError, match="expected one of none, 10mm, 15mm, 20mm"):
        smoothed(LOUD, STEPS, "5 slices")


def test_positions_that_are_not_known_are_5_mm_apart():
    assert known_positions(np.array([3.0, np.nan, 9.0])).tolist() == [0, 5, 10]
    assert known_positions(np.array([3.0, 4.0])).tolist() == [3, 4]


def test_each_series_is_smoothed_by_itself():
    two, position = np.concatenate([LOUD, LOUD]), np.concatenate([STEPS, STEPS])
    keys = np.array(list("aaaabbbb"))
    alone = smoothed(LOUD, STEPS, "15mm")
    np.testing.assert_array_equal(smoothed_each(two, position, keys, "15mm"), np.concatenate([alone, alone]))
    mixed = np.array([0, 4, 1, 5, 2, 6, 3, 7])
    np.testing.assert_array_equal(
        smoothed_each(two[mixed], position[mixed], keys[mixed], "15mm"), np.concatenate([alone, alone])[mixed]
    )


def chosen_on(outputs, targets):
    """Of two studies of six slices each, 5 mm apart."""
    studies = np.repeat(["a", "b"], 6)
    position = np.tile(5.0 * np.arange(6), 2)
    labels = ("subdural", "any")
    both = np.column_stack([outputs, outputs])
    return choose_smoothing(
        np.column_stack([targets, targets]).astype(bool), both, position, studies, studies, studies, labels
    )


def test_smoothing_is_chosen_where_it_ranks_any_better():
    # a's bleed is on three slices in a row, b has two loud slices apart
    outputs = np.array([0.1, 0.6, 0.6, 0.6, 0.1, 0.1, 0.7, 0.1, 0.1, 0.1, 0.1, 0.7])
    targets = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    assert chosen_on(outputs, targets) != "none"


def test_where_nothing_is_gained_it_is_none():
    outputs = np.array([0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.2])
    targets = np.array([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert chosen_on(outputs, targets) == "none"
    assert chosen_on(outputs, np.zeros(12)) == "none"
