import numpy as np
import pytest

from ich_mlflow.evaluation.pointing import point


def _slice(*, lesion_at):
    hu = np.full((1, 64, 64), -1000)
    hu[:, 16:48, 16:48] = 30  # a head of a quarter of the slice
    lesion = np.zeros((1, 64, 64), bool)
    lesion[0, lesion_at[0] : lesion_at[0] + 4, lesion_at[1] : lesion_at[1] + 4] = True
    return hu, lesion


def test_a_peak_in_the_lesion_hits_and_elsewhere_misses():
    hu, lesion = _slice(lesion_at=(22, 38))
    maps = np.zeros((1, 4, 4))
    maps[0, 1, 2] = 1.0  # the cell of rows 16 to 31, columns 32 to 47: its middle is (23.5, 39.5)
    pointed = point(maps, lesion, hu, tolerance=0)
    assert pointed.hits.tolist() == [True]
    assert pointed.peaks[0].tolist() == [23.5, 39.5]
    elsewhere = point(maps[:, ::-1], lesion, hu, tolerance=2)
    assert elsewhere.hits.tolist() == [False]


def test_a_place_at_the_edge_points_at_its_middle_and_not_at_the_corner():
    hu, lesion = _slice(lesion_at=(6, 6))
    maps = np.zeros((1, 4, 4))
    maps[0, 0, 0] = 1.0
    assert point(maps, lesion, hu, tolerance=0).peaks[0].tolist() == [7.5, 7.5]


def test_tolerance_forgives_a_near_miss():
    hu, lesion = _slice(lesion_at=(28, 38))  # the peak lies four or five rows above
    maps = np.zeros((1, 4, 4))
    maps[0, 1, 2] = 1.0
    assert not point(maps, lesion, hu, tolerance=2).hits[0]
    assert point(maps, lesion, hu, tolerance=6).hits[0]


def test_a_map_need_not_point_more_finely_than_half_a_place():
    hu, lesion = _slice(lesion_at=(28, 38))
    maps = np.zeros((1, 4, 4))
    maps[0, 1, 2] = 1.0
    pointed = point(maps, lesion, hu)
    assert pointed.tolerance == 8  # a place is 16 pixels wide
    assert pointed.hits[0]


def test_chance_is_the_share_of_the_head_that_would_hit():
    hu, lesion = _slice(lesion_at=(20, 20))
    pointed = point(np.ones((1, 4, 4)), lesion, hu, tolerance=0)
    assert pointed.chance[0] == pytest.approx(16 / 32**2)


def test_a_map_of_nothing_points_nowhere_and_misses():
    hu, lesion = _slice(lesion_at=(20, 20))
    pointed = point(np.zeros((1, 4, 4)), lesion, hu)
    assert not pointed.hits[0]
    assert np.isnan(pointed.peaks[0]).all()


def test_shapes_that_do_not_fit_are_refused():
    hu, lesion = _slice(lesion_at=(20, 20))
    with pytest.raises(ValueError, match="don't fit"):
        point(np.zeros((2, 4, 4)), lesion, hu)
