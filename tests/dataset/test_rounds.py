import numpy as np

from ich_mlflow.dataset.rounds import Rounds

#: Three patients, with 1, 2 and 4 slices.
GROUP = (np.array([10]), np.array([20, 21]), np.array([30, 31, 32, 33]))


def epochs(count, number, *, seed=0, key=(0, 0)):
    rounds = Rounds(group=GROUP, count=count, key=key)
    return [rounds.drawn(seed=seed, epoch=epoch) for epoch in range(number)]


def times(drawn):
    return dict(
        zip(*(one.tolist() for one in np.unique(np.concatenate(drawn), return_counts=True)), strict=True)
    )


def test_a_round_goes_on_over_epochs_until_every_slice_came_alike():
    # 4 slices an epoch, 3 epochs: 12 are four rounds of three patients, 4 visits each
    assert times(epochs(4, 3)) == {10: 4, 20: 2, 21: 2, 30: 1, 31: 1, 32: 1, 33: 1}
    # one slice an epoch shows each patient within three epochs
    assert sorted(one[0] // 10 for one in epochs(1, 3)) == [1, 2, 3]


def test_on_the_way_patients_differ_by_one_and_a_patients_slices_by_one():
    for number in range(1, 20):
        counted = times(epochs(2, number, seed=number))
        of_patients = [sum(counted.get(one, 0) for one in slices.tolist()) for slices in GROUP]
        assert max(of_patients) - min(of_patients) <= 1
        last = [counted.get(one, 0) for one in GROUP[2].tolist()]
        assert max(last) - min(last) <= 1


def test_an_epoch_follows_from_seed_and_number_alone():
    later = Rounds(group=GROUP, count=5, key=(0, 0)).drawn(seed=3, epoch=7)
    np.testing.assert_array_equal(epochs(5, 8, seed=3)[7], later)
    assert not np.array_equal(epochs(5, 8, seed=4)[7], later)
    # rounds have orders of their own, and so have groups
    assert len({tuple(one // 10) for one in epochs(3, 20)}) > 3
    assert any(
        not np.array_equal(a, b) for a, b in zip(epochs(3, 20), epochs(3, 20, key=(0, 1)), strict=True)
    )


def test_none_of_a_group_are_none():
    assert epochs(0, 1)[0].tolist() == []
