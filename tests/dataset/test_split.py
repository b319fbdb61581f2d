import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.split import (
    SPLITS,
    assert_disjoint,
    fold_patients,
    group_patients,
    split_counts,
    split_patients,
)
from ich_mlflow.errors import SplitError


def patients(*, num: int, positive: dict[int, int], slices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """`num` patients of `slices` slices; the first positive[k] of them have subtype k, on one slice."""
    ids = np.repeat([f"p{number:03d}" for number in range(num)], slices)
    labels = np.zeros((num * slices, 5), np.uint8)
    for subtype, count in positive.items():
        labels[: count * slices : slices, subtype] = 1
    return ids, labels


def split_of_each_patient(ids, splits) -> dict[str, str]:
    return dict(zip(ids.tolist(), splits.tolist(), strict=True))


def test_every_slice_of_a_patient_stands_in_one_split():
    ids, labels = patients(num=40, positive={0: 10, 3: 20})
    splits = split_patients(ids, labels, seed=0)
    assert_disjoint(ids, splits)
    assert splits.shape == ids.shape
    assert set(splits) == set(SPLITS)


def test_a_hundred_patients_are_divided_70_15_15():
    ids, labels = patients(num=100, positive={})
    counts = split_counts(ids, labels, split_patients(ids, labels, seed=0))
    assert counts["patients"].tolist() == [70, 15, 15]
    assert counts["slices"].tolist() == [280, 60, 60]


def test_each_subtype_is_divided_70_15_15():
    ids, labels = patients(num=200, positive={0: 20, 1: 100})
    counts = split_counts(ids, labels, split_patients(ids, labels, seed=3))
    assert counts["epidural_patients"].tolist() == [14, 3, 3]
    assert counts["intraparenchymal_patients"].tolist() == [70, 15, 15]


def test_other_fractions_are_kept_to():
    ids, labels = patients(num=100, positive={4: 50})
    splits = split_patients(ids, labels, fractions=(0.5, 0.25, 0.25), seed=0)
    assert split_counts(ids, labels, splits)["patients"].tolist() == [50, 25, 25]


@pytest.mark.parametrize("seed", range(20))
def test_three_positive_patients_give_one_to_each_split(seed):
    ids, labels = patients(num=30, positive={2: 3, 4: 4, 1: 12})
    counts = split_counts(ids, labels, split_patients(ids, labels, seed=seed))
    assert counts["intraventricular_patients"].tolist() == [1, 1, 1]
    assert (counts["subdural_patients"] >= 1).all()
    assert (counts["intraparenchymal_patients"] >= 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_random_labels_leave_no_split_without_a_subtype_that_many_have(seed):
    random = np.random.default_rng(seed)
    ids, labels = patients(num=25, positive={}, slices=2)
    labels[:] = random.random(labels.shape) < 0.12
    counts = split_counts(ids, labels, split_patients(ids, labels, seed=seed))
    positive = counts.filter(like="_patients")
    assert (positive.loc[:, positive.sum() >= 3] >= 1).all(axis=None)


def test_three_patients_are_one_for_each_split():
    ids, labels = patients(num=3, positive={0: 1})
    assert sorted(split_of_each_patient(ids, split_patients(ids, labels, seed=0)).values()) == sorted(SPLITS)


def test_the_same_seed_gives_the_same_split_whatever_the_order_of_the_rows():
    ids, labels = patients(num=40, positive={0: 5, 3: 20})
    shuffled = np.random.default_rng(1).permutation(len(ids))
    straight = split_patients(ids, labels, seed=7)
    mixed = split_patients(ids[shuffled], labels[shuffled], seed=7)
    assert split_of_each_patient(ids, straight) == split_of_each_patient(ids[shuffled], mixed)


def test_another_seed_gives_another_split():
    ids, labels = patients(num=40, positive={0: 5})
    assert (split_patients(ids, labels, seed=0) != split_patients(ids, labels, seed=1)).any()


def test_long_patients_are_spread_where_labels_leave_the_choice():
    ids = np.repeat([f"p{number:02d}" for number in range(20)], [100] * 10 + [10] * 10)
    labels = np.zeros((len(ids), 5), np.uint8)
    splits = split_patients(ids, labels, fractions=(0.5, 0.25, 0.25), seed=0)
    # 1,100 slices in all
    assert split_counts(ids, labels, splits)["slices"].to_numpy() == pytest.approx([550, 275, 275], abs=150)


@pytest.mark.parametrize("num", [1, 2])
def test_fewer_than_three_patients_are_refused_with_the_count(num):
    with pytest.raises(SplitError, match=f"{num} patients"):
        split_patients(*patients(num=num, positive={}), seed=0)


@pytest.mark.parametrize("fractions", [(1, 0, 0), (0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_leave_a_split_empty_or_do_not_sum_to_one_are_refused(fractions):
    with pytest.raises(SplitError, match="fractions"):
        split_patients(*patients(num=9, positive={}), fractions=fractions, seed=0)


def test_a_patient_on_two_sides_is_refused_with_the_count():
    with pytest.raises(SplitError, match="1 of 2 patients"):
        assert_disjoint(np.array(["a", "a", "b"]), np.array(["train", "test", "test"]))


def test_counts_are_those_worked_by_hand():
    ids = np.array(["a", "a", "b", "c"])
    labels = np.array([[1, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 0, 1]])
    splits = np.array(["train", "train", "train", "test"])
    counts = split_counts(ids, labels, splits, study_uids=np.array(["x", "y", "z", "w"]))
    assert counts["patients"].tolist() == [2, 0, 1]
    assert counts["studies"].tolist() == [3, 0, 1]
    assert counts["slices"].tolist() == [3, 0, 1]
    assert counts["epidural_slices"].tolist() == [2, 0, 0]
    assert counts["epidural_patients"].tolist() == [1, 0, 0]
    assert counts["subdural_slices"].tolist() == [1, 0, 1]
    assert counts["any_slices"].tolist() == [2, 0, 1]


# Folds


def test_folds_share_out_the_patients_outside_test_evenly_and_by_label():
    ids, labels = patients(num=100, positive={0: 10, 3: 50})
    splits = split_patients(ids, labels, seed=0)
    folds = fold_patients(ids, labels, splits, num_folds=5, seed=0)
    assert_disjoint(ids, folds)
    assert (folds[splits == "test"] == -1).all()
    by_patient = (
        pd.DataFrame({"fold": folds, "epidural": labels[:, 0], "sah": labels[:, 3]}).groupby(ids).max()
    )
    inside = by_patient[by_patient["fold"] >= 0].groupby("fold")
    assert inside.size().tolist() == [17] * 5  # 85 patients outside test
    assert inside["epidural"].sum().max() - inside["epidural"].sum().min() <= 1
    assert inside["sah"].sum().max() - inside["sah"].sum().min() <= 1


def test_no_folds_are_minus_one_everywhere():
    ids, labels = patients(num=9, positive={})
    splits = split_patients(ids, labels, seed=0)
    assert (fold_patients(ids, labels, splits, num_folds=0, seed=0) == -1).all()


@pytest.mark.parametrize("num_folds", [1, 9, -2])
def test_one_fold_or_more_folds_than_patients_are_refused(num_folds):
    ids, labels = patients(num=9, positive={})
    splits = split_patients(ids, labels, seed=0)
    with pytest.raises(SplitError, match=r"2 to 8 .*8 patients outside test"):
        fold_patients(ids, labels, splits, num_folds=num_folds, seed=0)


# Groups


def grouped(patient, study, series) -> list[str]:
    return group_patients(pd.Series(patient), pd.Series(study), pd.Series(series)).tolist()


def test_each_patient_is_a_group_where_no_study_is_shared():
    assert grouped(["b", "a", "a"], ["s1", "s2", "s3"], ["r1", "r2", "r3"]) == ["b", "a", "a"]


def test_patients_that_share_a_study_or_a_series_are_one_group():
    # a and c share study s1; c and d share series r4; b is alone
    patient = ["a", "b", "c", "c", "d"]
    assert grouped(patient, ["s1", "s2", "s1", "s3", "s4"], ["r1", "r2", "r3", "r4", "r4"]) == [
        "a", "b", "a", "a", "a",
    ]  # fmt: skip


def test_fourteen_thousand_patients_are_split_and_folded():
    random = np.random.default_rng(0)
    ids = np.array([f"ID_{number:08x}" for number in random.integers(0, 14_000, 110_000)])
    labels = (random.random((110_000, 5)) < [0.004, 0.05, 0.03, 0.05, 0.06]).astype(np.uint8)
    groups = group_patients(pd.Series(ids), pd.Series(ids), pd.Series(ids))
    splits = split_patients(groups, labels, seed=0)
    folds = fold_patients(groups, labels, splits, num_folds=5, seed=0)
    assert_disjoint(ids, splits)
    assert_disjoint(ids, folds)
    share = split_counts(ids, labels, splits)
    prevalence = share["epidural_slices"] / share["slices"]
    assert prevalence.to_numpy() == pytest.approx(labels[:, 0].mean(), rel=0.1)
