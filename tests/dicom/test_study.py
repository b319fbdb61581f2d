import math
from types import SimpleNamespace

import pytest

from ich_mlflow.dicom.study import order_along_normal, position_along_normal, slice_normal
from tests.factories import AXIAL

TILT = math.radians(20)
TILTED = [1, 0, 0, 0, math.cos(TILT), -math.sin(TILT)]


def test_the_normal_of_an_axial_slice_points_to_the_head():
    assert slice_normal(AXIAL).tolist() == [0, 0, 1]


def test_the_normal_of_a_prone_or_mirrored_slice_points_to_the_head_too():
    assert slice_normal([-1, 0, 0, 0, 1, 0]).tolist() == [0, 0, 1]


def test_the_position_of_an_axial_slice_is_its_z():
    assert position_along_normal([-125, -120, 35.5], AXIAL) == 35.5


def test_a_tilted_gantry_is_measured_along_its_own_normal():
    # normal (0, sin 20, cos 20); moved by 5 mm along it, the position grows by 5 mm
    normal = slice_normal(TILTED)
    assert normal == pytest.approx([0, math.sin(TILT), math.cos(TILT)])
    start = [-125.0, -120.0, 35.5]
    moved = [a + 5 * b for a, b in zip(start, normal, strict=True)]
    assert position_along_normal(moved, TILTED) - position_along_normal(start, TILTED) == pytest.approx(5)


def test_slices_are_ordered_from_the_neck_up_and_ties_keep_their_order():
    slices = [SimpleNamespace(name=name, position_mm=mm) for name, mm in (("a", 5), ("b", -5), ("c", 5))]
    assert [ct_slice.name for ct_slice in order_along_normal(slices)] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0], [0] * 6, [1, 0, 0, 1, 0, 0], [1, 0, 0, 0, float("nan"), 0]]
)
def test_an_orientation_that_spans_no_plane_is_refused(orientation):
    with pytest.raises(ValueError, match="orientation"):
        slice_normal(orientation)


def test_a_position_of_two_numbers_is_refused():
    with pytest.raises(ValueError, match="position"):
        position_along_normal([1, 2], AXIAL)
