import numpy as np
import pytest

from ich_mlflow.ct.skull import skull_of


def head(radius=80, thickness=6, inside=32, gap=0, size=256):
    """A ring of bone in skin, with a gap of so many degrees at the right."""
    y, x = np.mgrid[0:size, 0:size] - size / 2
    r = np.hypot(x, y)
    hu = np.full((size, size), -1000, np.int16)
    hu[r < radius + 8] = 20
    ring = (r < radius) & (r > radius - thickness)
    hu[ring & (np.abs(np.rad2deg(np.arctan2(y, x))) > gap / 2)] = 900
    hu[r <= radius - thickness] = inside
    return hu


def test_a_closed_ring_encloses_the_brain():
    found = skull_of(head())
    assert found.brain == pytest.approx(np.pi * 74**2 / 256**2, rel=0.05)
    assert found.head == pytest.approx(np.pi * 88**2 / 256**2, rel=0.02)


def test_a_suture_is_bridged_and_a_missing_bone_is_not():
    assert skull_of(head(gap=3)).brain > 0.2  # 4 pixels
    assert skull_of(head(gap=60)).brain == 0


@pytest.mark.parametrize("inside", [-900, -100, 0, 300])
def test_what_is_no_brain_does_not_count(inside):
    assert skull_of(head(inside=inside)).brain == 0


def test_air_alone_has_neither():
    found = skull_of(np.full((256, 256), -1000, np.int16))
    assert (found.brain, found.head) == (0, 0)
