from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.mixture import (
    HomeSet,
    Pool,
    data_of,
    mixed,
    names_of,
    open_sets,
    patients_of,
    sets_of,
)
from ich_mlflow.dataset.set_paths import paths_of
from ich_mlflow.dataset.split import TEST, TRAIN, VALIDATION
from ich_mlflow.errors import DataError
from tests.factories import ArraySource

NONE, SDH = (0, 0, 0, 0, 0), (0, 0, 0, 0, 1)


class Elsewhere(ArraySource):
    """The same as another hospital has it: patients of its own, and slices of another value."""

    def read(self, file):
        plain = super().read(file)
        names = {name: f"e-{getattr(plain, name)}" for name in ("patient_id", "study_uid", "series_uid")}
        return replace(plain, **names, hu=plain.hu + 500)


def stored(folder, source, seed=0):
    return build_stored_set(source, folder / "set", BuildOptions(seed=seed, workers=1), progress=False)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Home, of 24 patients with two slices each; the same split otherwise; another hospital with three each."""
    folders = [tmp_path_factory.mktemp(name) for name in ("home", "same", "away")]
    labels = [SDH if k % 3 == 0 else NONE for k in range(24)]
    home = ArraySource(folders[0], np.repeat(labels, 2, axis=0).tolist(), slices_per_patient=2)
    away = Elsewhere(folders[2], np.repeat(labels, 3, axis=0).tolist(), slices_per_patient=3)
    return [stored(folders[0], home), stored(folders[1], home, seed=5), stored(folders[2], away)]


def text(*some):
    return ",".join(str(one.path) for one in some)


def patients(one, rows):
    return set(one.table["patient_id"].to_numpy()[rows])


def test_one_name_opens_the_set_itself(sets):
    one = open_sets(str(sets[0].path))
    assert type(one) is type(sets[0])
    assert sets_of(one) == [one]
    assert data_of(one) == str(sets[0].path)


def test_the_first_is_home_and_shares_are_equal_or_as_said(sets):
    both = open_sets(text(sets[0], sets[2]))
    assert isinstance(both, HomeSet)
    assert (both.path, both.digest, both.shares) == (sets[0].path, sets[0].digest, (0.5, 0.5))
    assert open_sets(data_of(both), (3, 1)).shares == (0.75, 0.25)
    assert names_of(both) == ["set", "set-2"]
    np.testing.assert_array_equal(both.rows(VALIDATION), sets[0].rows(VALIDATION))


def test_the_same_set_twice_is_refused(sets):
    with pytest.raises(DataError, match="are the same stored set"):
        open_sets(text(sets[0], sets[2], sets[0]))


def test_patients_whom_another_set_keeps_apart_are_not_trained_on(sets):
    home = open_sets(text(sets[0], sets[1]))
    (rows,) = home.rows_beside()
    apart = patients(home, home.rows(VALIDATION)) | patients(home, home.rows(TEST))
    tested = patients(sets[1], sets[1].rows(TEST))
    assert patients(sets[1], rows) == patients(sets[1], sets[1].rows(TRAIN)) - apart
    assert apart & patients(sets[1], sets[1].rows(TRAIN))  # else nothing was asked of it
    assert patients(home, home.rows_at_home()) == patients(home, home.rows(TRAIN)) - tested
    assert tested & patients(home, home.rows(TRAIN))


def test_with_a_fold_whom_to_leave_out_is_asked_anew(sets):
    fold = np.where(sets[0].table["split"] == TEST, -1, np.arange(len(sets[0].table)) // 2 % 3)
    home = open_sets(text(sets[0], sets[1]))
    home = replace(home, table=home.table.assign(fold=fold))
    for number in range(3):
        of_fold = home.with_fold(number)
        assert isinstance(of_fold, HomeSet)
        (rows,) = of_fold.rows_beside()
        assert not patients(sets[1], rows) & patients(of_fold, of_fold.rows(VALIDATION))


def test_an_epoch_is_drawn_by_set_then_patient_then_slice(sets):
    """Of 30 slices a third are of the second set: 20 and 10."""
    home, _, away = sets
    pool = Pool([(home, home.rows(TRAIN)), (away, away.rows(TRAIN))])
    sampler = mixed(pool, (2 / 3, 1 / 3), size=30)
    order = sampler.order(seed=1, epoch=4)
    np.testing.assert_array_equal(order, sampler.order(seed=1, epoch=4))
    assert not np.array_equal(order, sampler.order(seed=1, epoch=5))
    assert np.bincount(pool.set_of[order]).tolist() == [20, 10]
    shown = np.concatenate([sampler.order(seed=1, epoch=epoch) for epoch in range(5)])
    for number in (0, 1):
        mine = shown[pool.set_of[shown] == number]
        everyone = np.unique(pool.patients[pool.set_of == number])
        counts = [np.count_nonzero(pool.patients[mine] == one) for one in everyone]
        assert max(counts) - min(counts) <= 1
        # nor does a slice come a third time while another waits for its second
        times = np.bincount(mine, minlength=len(pool))[pool.set_of == number]
        assert times.max() - times.min() <= 1


def test_a_share_of_less_than_a_slice_is_refused(sets):
    home, _, away = sets
    pool = Pool([(home, home.rows(TRAIN)), (away, away.rows(TRAIN))])
    with pytest.raises(
        DataError, match=r"the share of .*away.* is 0.001 of the 30 slices of an epoch, less than one"
    ):
        mixed(pool, (0.999, 0.001), size=30)


@pytest.mark.parametrize("known_by", ["study_uid", "series_uid"])
def test_a_patient_of_another_name_is_known_by_a_study_or_series(sets, known_by):
    home, _, away = sets
    named = f"e-{home.table[known_by][home.rows(TEST)[0]]}"
    table = away.table.assign(**{known_by: away.table[known_by].str.removeprefix("e-")})
    both = open_sets(text(home, away))
    (before,) = both.rows_beside()
    same = replace(both, beside=(replace(away, table=table),))
    (rows,) = same.rows_beside()
    # who validates or tests at home is numbered alike there
    apart = {f"e-{one}" for one in patients(home, np.r_[home.rows(VALIDATION), home.rows(TEST)])}
    assert patients(away, rows) == patients(away, before) - apart
    assert apart & patients(away, before)
    tested = {one.removeprefix("e-") for one in patients(away, away.rows(TEST))}
    assert patients(home, same.rows_at_home()) == patients(home, home.rows(TRAIN)) - tested
    assert named in set(away.table[known_by])


def test_patients_of_two_sets_are_one_where_anything_says_so(sets):
    home, _, away = sets
    first = home.table.iloc[:2]
    other = away.table.iloc[:3].assign(study_uid=first["study_uid"].iloc[0])
    mine, theirs = patients_of([first, other])
    assert set(mine) == set(theirs)
    assert not set(patients_of([first, away.table])[0]) & set(patients_of([first, away.table])[1])


def test_balanced_each_set_shows_each_label_that_it_has_at_the_rate(sets):
    home, _, away = sets
    pool = Pool([(home, home.rows(TRAIN)), (away, away.rows(TRAIN))])
    targets = pool.subtypes
    order = mixed(pool, (0.5, 0.5), size=40, targets=targets, rate=0.4).order(seed=0, epoch=0)
    for number in (0, 1):
        mine = order[pool.set_of[order] == number]
        assert targets[mine, 4].sum() == 8  # of 20


def test_a_pool_reads_each_slice_from_its_set(sets):
    home, _, away = sets
    pool = Pool([(home, home.rows(TRAIN)), (away, away.rows(TRAIN))])
    numbers = np.array([len(pool) - 1, 0, len(home.rows(TRAIN)), 1])
    read = pool.hu_with_context(numbers, 0)[:, 0, 0, 0]
    expected = [
        away.hu(away.rows(TRAIN)[-1:]), home.hu(home.rows(TRAIN)[:1]), away.hu(away.rows(TRAIN)[:1]),
        home.hu(home.rows(TRAIN)[1:2]),
    ]  # fmt: skip
    assert read.tolist() == [one[0, 0, 0] for one in expected]
    assert pool.num_at_home == len(home.rows(TRAIN))


def test_a_set_of_which_nobody_is_left_is_refused(sets):
    pool = Pool([(sets[0], sets[0].rows(TRAIN)), (sets[2], np.array([], int))])
    with pytest.raises(DataError, match="has no slice to train on"):
        mixed(pool, (0.5, 0.5), size=10)


def test_a_folder_with_a_comma_in_its_name_is_one(tmp_path):
    (tmp_path / "a,b").mkdir()
    assert paths_of(str(tmp_path / "a,b")) == [str(tmp_path / "a,b")]
    assert paths_of("a, b") == ["a", "b"]
