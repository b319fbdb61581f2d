import numpy as np
import pytest

from ich_mlflow.models.lesion_maps import (
    all_blood,
    cell_counts,
    enlarged,
    extents_mm,
    found_blood,
    found_pixels,
    found_subtypes,
    label_maps,
    millilitres,
)

SHARES = np.zeros((1, 1, 3, 5), np.float32)
SHARES[0, 0, 0] = [0.5, 0, 0, 0, 0.2]
SHARES[0, 0, 1] = [0.3, 0.3, 0, 0, 0]
SHARES[0, 0, 2] = [0, 0.2, 0.4, 0, 0]


def test_all_blood_is_what_no_subtype_denies():
    # 1 - 0.5 * 0.8, 1 - 0.7 * 0.7, 1 - 0.8 * 0.6
    assert all_blood(SHARES)[0, 0].tolist() == pytest.approx([0.6, 0.51, 0.52])


def test_a_map_is_its_subtypes_and_anys_of_all():
    maps = label_maps(SHARES, ("intraparenchymal", "any"))
    assert maps.shape == (1, 2, 1, 3)
    assert maps[0, 0, 0].tolist() == pytest.approx([0, 0.3, 0.2])
    assert maps[0, 1, 0].tolist() == pytest.approx([0.6, 0.51, 0.52])


def test_a_cell_is_blood_from_half_on_and_of_its_highest_subtype():
    shares = np.concatenate([SHARES, np.full((1, 1, 1, 5), 0.1, np.float32)], axis=2)  # 1 - 0.9^5 = 0.41
    assert found_blood(shares)[0, 0].tolist() == [1, 1, 4, 0]
    assert found_subtypes(shares)[0, 0].tolist() == [1, 1, 3, 0]


def test_cells_are_counted_by_subtype_and_together():
    found = np.array([[[1, 0], [0, 0]], [[2, 2], [16, 0]]], np.uint8)
    assert cell_counts(found).tolist() == [[1, 1, 0, 0, 0, 0], [3, 0, 2, 0, 0, 1]]


@pytest.mark.parametrize(
    ("positions", "extents"),
    [
        ([0, 5, 10], [5, 5, 5]),
        ([10, 0, 5], [5, 5, 5]),
        ([0, 5, 15], [5, 7.5, 10]),  # 5 mm, then 10 mm apart: (5 + 10) / 2 in the middle
        ([0, 0, 5], [2.5, 2.5, 5]),
        ([3], None),
        ([3, 3], None),
        ([0, np.nan], None),
    ],
)
def test_a_slice_stands_for_half_the_way_to_its_neighbours(positions, extents):
    found = extents_mm(np.array(positions, float))
    assert (None if found is None else found.tolist()) == extents


def test_millilitres_by_hand():
    counts = np.array([[10, 10, 0, 0, 0, 0], [30, 10, 20, 0, 0, 0]])
    # cells of 4 mm x 4 mm, slices 5 mm apart: 80 microlitres a cell
    found = millilitres(counts * 16.0, np.array([0.0, 5.0]))
    assert found.tolist() == pytest.approx([3.2, 1.6, 1.6, 0, 0, 0])


def test_without_a_size_or_a_place_there_are_no_millilitres():
    areas = np.ones((2, 6))
    assert millilitres(areas * [[16.0], [np.nan]], np.array([0.0, 5.0])) is None
    assert millilitres(areas, np.array([5.0, 5.0])) is None


def test_between_cells_a_map_is_linear_and_constant_beyond_the_outermost():
    shares = np.zeros((1, 2, 5), np.float32)
    shares[0, :, 2] = [0.0, 1.0]
    # middles of the cells at 2 and 6 of 8 pixels, pixels' middles at 0.5, 1.5, ...: eighths between them
    assert enlarged(shares, size=8)[0, :, 2].tolist() == pytest.approx(
        [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    )
    assert enlarged(shares, size=8)[..., [0, 1, 3, 4]].max() == 0


def test_pixels_are_blood_from_the_threshold_on():
    shares = np.zeros((2, 2, 2, 5), np.float32)
    shares[1, :, 1, 2] = 1.0
    found = found_pixels(shares)
    # cells of 128 pixels with middles at 64 and 192: half is reached at pixel 128 of 256
    assert found[0].max() == 0
    assert np.unique(found[1, :, 128:]).tolist() == [4]
    assert found[1, :, :128].max() == 0
    # a quarter is reached 32 pixels further left
    assert (found_pixels(shares, threshold=0.25)[1] > 0).sum() == 256 * (256 - 96)
