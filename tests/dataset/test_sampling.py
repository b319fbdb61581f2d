import numpy as np
import pytest

from ich_mlflow.dataset.sampling import balanced, natural_order, reachable_rates, seen
from ich_mlflow.errors import DataError


def _targets(*counts):
    """(pattern, times) pairs to targets [N, L]."""
    return np.concatenate([np.tile(np.array(pattern, np.float32), (times, 1)) for pattern, times in counts])


def each_alone(targets, rate):
    """Every slice is of a patient of its own."""
    return balanced(targets, np.arange(len(targets)), rate=rate)


def test_within_a_group_patients_come_alike_and_not_their_slices():
    """One patient with 90 positive slices and nine with one each: 50 draws are 5 of each."""
    targets = _targets(([1], 99), ([0], 101))
    patients = np.array(["many"] * 90 + [f"one-{k}" for k in range(9)] + ["none"] * 101)
    order = balanced(targets, patients, rate=0.25).order(seed=0, epoch=0)
    positive = order[order < 99]
    assert len(positive) == 50
    assert np.unique(patients[positive], return_counts=True)[1].tolist() == [5] * 10
    # of the one with many each slice at most once
    assert np.bincount(positive[positive < 90]).max() == 1


def test_natural_order_shows_every_slice_once():
    order = natural_order(50, seed=1, epoch=0)
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, natural_order(50, seed=1, epoch=1))
    np.testing.assert_array_equal(order, natural_order(50, seed=1, epoch=0))


def test_every_label_is_seen_at_the_stated_rate_in_each_epoch():
    # 1 % and 5 % become 30 % each: no slice has both, so 40 % have none
    targets = _targets(([1, 0], 10), ([0, 1], 50), ([0, 0], 940))
    sampler = each_alone(targets, rate=0.3)
    for epoch in range(3):
        drawn = targets[sampler.order(seed=0, epoch=epoch)]
        assert drawn.shape == (1000, 2)
        assert drawn.sum(axis=0).tolist() == [300, 300]


def test_labels_that_go_together_reach_the_rate_too():
    # of label 0's slices half have label 1 as well
    targets = _targets(([1, 0], 20), ([1, 1], 20), ([0, 1], 100), ([0, 0], 860))
    drawn = targets[each_alone(targets, rate=0.25).order(seed=3, epoch=1)]
    np.testing.assert_allclose(drawn.mean(axis=0), [0.25, 0.25], atol=0.004)  # 4 groups in 1,000
    assert 0 < (drawn.sum(axis=1) == 2).mean() < 0.25


def test_within_a_group_every_slice_comes_as_often_as_any_other_to_one():
    targets = _targets(([1], 7), ([0], 93))
    times = np.bincount(each_alone(targets, rate=0.5).order(seed=0, epoch=0), minlength=100)
    # 50 draws from 7 slices: 7 or 8 each; 50 from 93: once or not at all
    assert set(times[:7]) == {7, 8}
    assert set(times[7:]) == {0, 1}


def test_the_same_seed_and_epoch_give_the_same_order_and_others_another():
    targets = _targets(([1], 7), ([0], 93))
    sampler = each_alone(targets, rate=0.4)
    np.testing.assert_array_equal(sampler.order(seed=1, epoch=2), sampler.order(seed=1, epoch=2))
    assert not np.array_equal(sampler.order(seed=1, epoch=2), sampler.order(seed=1, epoch=3))
    assert not np.array_equal(sampler.order(seed=1, epoch=2), sampler.order(seed=2, epoch=2))


def test_a_natural_rate_leaves_the_mixture_as_it_is():
    targets = _targets(([1, 0], 20), ([1, 1], 5), ([0, 1], 20), ([0, 0], 55))
    order = each_alone(targets, rate=0.25).order(seed=0, epoch=0)
    assert sorted(order) == list(range(100))


def test_a_label_without_slices_is_passed_over():
    targets = _targets(([1, 0], 5), ([0, 0], 5))
    drawn = targets[each_alone(targets, rate=0.2).order(seed=0, epoch=0)]
    assert drawn.sum(axis=0).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("groups", "rate", "can"),
    [
        # two labels that exclude each other can't both be seen in 60 % of the slices
        ([([1, 0], 10), ([0, 1], 10), ([0, 0], 80)], 0.6, "from 0 to 0.5"),
        # without a negative slice, two that exclude each other have one half each and nothing else
        ([([1, 0], 10), ([0, 1], 30)], 0.3, "from 0.5 to 0.5"),
    ],
)
def test_a_rate_that_no_mixture_reaches_is_refused_with_those_that_can_be(groups, rate, can):
    with pytest.raises(DataError, match=rf"sampling_rate is {rate}.*{can} can be reached"):
        each_alone(_targets(*groups), rate=rate)


@pytest.mark.parametrize(
    ("groups", "rate"),
    [
        # a group must go: label 1 never without label 0, so label 0 alone may not be shown
        ([([1, 1], 20), ([1, 0], 100), ([0, 0], 880)], 1 / 6),
        # none negative may be shown
        ([([1, 0], 10), ([0, 1], 30), ([0, 0], 960)], 0.5),
    ],
)
def test_a_rate_at_the_edge_of_what_can_be_is_reached(groups, rate):
    targets = _targets(*groups)
    drawn = targets[each_alone(targets, rate=rate).order(seed=0, epoch=0)]
    np.testing.assert_allclose(drawn.mean(axis=0), [rate, rate], atol=0.002)  # two slices in 1,000


def test_what_an_epoch_shows_is_counted():
    targets = _targets(([1, 0], 1), ([0, 1], 1), ([0, 0], 2))
    patients = np.array(["a", "b", "b", "c"])
    shown = seen(targets, np.array([0, 0, 1, 2]), patients, ("epidural", "subdural"))
    assert shown == {"epidural": 0.5, "subdural": 0.25, "distinct_slices": 0.75, "patients": 2.0}


def test_the_reachable_rates_of_slices_with_one_label_each_end_at_one_part_in_labels():
    # of three labels that exclude each other none can be on more than a third of the slices
    targets = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert reachable_rates(targets) == pytest.approx((0, 1 / 3))
    # two labels that never part, on every slice: all or nothing is all
    assert reachable_rates(np.array([[1, 1], [1, 1]])) == pytest.approx((1, 1))


def test_slices_without_any_label_are_drawn_all_the_same():
    """As of a set of normal heads beside home."""
    order = each_alone(np.zeros((6, 2), np.float32), rate=0.3).order(seed=0, epoch=0)
    assert sorted(order) == list(range(6))
