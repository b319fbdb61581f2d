"""What a bleed or a sham edit is to the painter, and the fields that they are made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ich_mlflow.phantom.shapes import inside as share_inside
from ich_mlflow.synthesis.anatomy import Anatomy

#: A field is drawn at about this resolution through a slice's thickness, and averaged.
SAMPLE_MM = 1.0
#: Pixels of a field of view between the knots of the coarsest noise that has a use here.
_EDGE_MM = 1.2


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A change of a series. Arrays are float32 [n, H, W].

    share   of the soft tissue in a pixel that is replaced, 0 to 1
    value   what it is replaced by, HU
    added   HU that are added, as where blood takes CSF's place in sulci, or oedema lies around a bleed
    push    [2, n, H, W]: where a pixel's tissue comes from, rows and columns away; None where nothing is displaced
    """

    share: np.ndarray
    value: np.ndarray
    added: np.ndarray | None = None
    push: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """An edit that is blood, and where: masks bool [n, H, W]. style: what the blood looks like, for captions."""

    edit: Edit
    visible: np.ndarray
    style: str


#: Draws a bleed into a head, or returns None where the head has no place for it.
MakeBleed = Callable[[Anatomy, np.random.Generator], Bleed | None]


def through_slices(anatomy: Anatomy, depth_mm: np.ndarray) -> np.ndarray:
    """Share [n, H, W] of each pixel's soft tissue in which `depth_mm` (mm inside a surface) is positive.

    The surface is interpolated between slices at about 1 mm and averaged through each one's thickness: partial volume.
    What of the thickness lies in bone counts for nothing.
    """
    count = max(1, round(anatomy.step_mm / SAMPLE_MM))
    offsets = (np.arange(count) + 0.5) / count - 0.5
    total, room = np.zeros_like(depth_mm), np.zeros_like(depth_mm)
    for number in np.flatnonzero(anatomy.drawable):
        if depth_mm[number].max() < -anatomy.step_mm:
            continue
        for offset in offsets:
            other = number + int(np.sign(offset))
            if not 0 <= other < len(depth_mm) or not anatomy.drawable[other]:
                other = number
            away = np.float32(abs(offset))
            surface = (1 - away) * depth_mm[number] + away * depth_mm[other]
            edge = (1 - away) * anatomy.edge[number] + away * anatomy.edge[other]
            # Beyond the inner table's half-height nothing is cut off: bone is mixed in by the painter.
            soft = np.maximum(share_inside(-edge - anatomy.pixel_mm, _EDGE_MM), 1e-3)
            total[number] += soft * share_inside(-surface, _EDGE_MM)
            room[number] += soft
    return np.divide(total, room, out=np.zeros_like(total), where=room > 0)


def ball(anatomy: Anatomy, centre: np.ndarray) -> np.ndarray:
    """Distance in mm, float32 [n, H, W], from a place (across, back, down)."""
    squares = [
        (axis - np.float32(c)) ** 2
        for axis, c in zip((anatomy.across, anatomy.back, anatomy.down), centre, strict=True)
    ]
    return np.sqrt(squares[0] + squares[1] + squares[2])


def place(anatomy: Anatomy, where: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """(across, back, down) in mm of a voxel drawn from a mask [n, H, W]; None where it is empty."""
    found = np.flatnonzero(where)
    if not len(found):
        return None
    one = int(found[rng.integers(len(found))])
    axes = (anatomy.across, anatomy.back, anatomy.down)
    return np.array([axis[np.unravel_index(one, where.shape)] for axis in axes], np.float32)
