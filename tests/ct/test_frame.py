import numpy as np
import pytest

from ich_mlflow.ct.frame import frame_weights, head_frames, into_place
from ich_mlflow.ct.resample import resize_weights


def slices(*places, size=64):
    """Slices of air with a square of water each: rows and columns from and to."""
    hu = np.full((len(places), size, size), -1000, np.int16)
    for one, (top, bottom, left, right) in zip(hu, places, strict=True):
        one[top:bottom, left:right] = 0
    return hu


def test_the_frame_of_a_square_head_is_the_square_but_for_its_outermost_cells_and_two_pixels_more():
    # 40 of 64 pixels are cells 3 to 12; of corners and edges too few of nine are head, so cells 4 to 11 remain, 32
    # pixels from 16 on; a margin of 64 / 32 = 2 pixels on each side
    assert head_frames(slices((12, 52, 12, 52))).tolist() == [[14, 14, 36]]


def test_a_frame_holds_the_longer_side_is_half_a_slice_at_least_and_stays_within():
    long, small, at_the_edge = head_frames(slices((4, 60, 20, 44), (24, 40, 28, 44), (0, 64, 40, 64)))
    assert long.tolist() == [6, 6, 52]  # rows 8 to 56, columns 24 to 40: centre 32
    assert small.tolist() == [16, 20, 32]
    assert at_the_edge.tolist() == [2, 4, 60]  # as far right as it can be


def test_a_holder_of_two_cells_is_no_head():
    head, with_holder = slices((8, 48, 12, 52), (8, 48, 12, 52))
    with_holder[54:60, 4:60] = 200
    np.testing.assert_array_equal(*head_frames(np.stack([head, with_holder])))


def test_without_a_head_the_frame_is_the_whole_slice():
    assert head_frames(slices((0, 0, 0, 0), size=32)).tolist() == [[0, 0, 32]]


def test_the_frame_of_a_mirror_image_is_the_mirrored_frame():
    hu = slices((12, 52, 4, 40), (4, 30, 28, 60))
    frames, mirrored = head_frames(hu), head_frames(hu[:, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, 1], 64 - frames[:, 1] - frames[:, 2])
    np.testing.assert_array_equal(mirrored[:, [0, 2]], frames[:, [0, 2]])


@pytest.mark.parametrize("target", [24, 64, 96])
def test_of_the_whole_slice_the_weights_are_those_of_resize(target):
    weights = frame_weights(np.zeros(1), np.full(1, 64.0), source=64, target=target)
    assert weights[0] == pytest.approx(resize_weights(64, target), abs=1e-6)


def test_half_a_line_is_averaged_or_interpolated_by_hand():
    # pixels 2 to 5 of eight to two, by pairs; and to eight, a quarter and three quarters
    assert frame_weights(np.array([2.0]), np.array([4.0]), source=8, target=2)[0] == pytest.approx(
        np.array([[0, 0, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0.5, 0.5, 0, 0]])
    )
    finer = frame_weights(np.array([2.0]), np.array([4.0]), source=8, target=8)[0]
    assert finer[0] == pytest.approx([0, 0.25, 0.75, 0, 0, 0, 0, 0])
    assert finer[1] == pytest.approx([0, 0, 0.75, 0.25, 0, 0, 0, 0])


def test_a_map_of_a_quarter_of_the_slice_goes_back_to_that_quarter_alone():
    # a map of 2 x 2 of the lower right quarter of 16 pixels: places of 4 pixels, as those of the whole are
    maps = np.array([[[[1.0, 2], [3, 4]]]])
    placed = into_place(maps, np.array([[8.0, 8, 8]]), 16)
    assert placed.shape == (1, 1, 4, 4)
    assert placed[0, 0, 2:, 2:].tolist() == [[1, 2], [3, 4]]
    assert placed.sum() == 10


def test_a_map_of_the_whole_slice_is_interpolated_and_keeps_its_mean():
    maps = np.random.default_rng(0).random((2, 3, 4, 4))
    placed = into_place(maps, np.array([[0.0, 0, 64]] * 2), 64)
    assert placed.shape == (2, 3, 8, 8)
    assert placed[0, 0, 0, 0] == pytest.approx(maps[0, 0, 0, 0])
    assert placed[0, 0, 1, 0] == pytest.approx(0.75 * maps[0, 0, 0, 0] + 0.25 * maps[0, 0, 1, 0])
    assert into_place(np.ones((1, 1, 4, 4)), np.array([[0.0, 0, 64]]), 64) == pytest.approx(1)
