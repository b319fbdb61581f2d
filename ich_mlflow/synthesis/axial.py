"""What lies between skull and brain: epidural and subdural blood, hygromas. It pushes the brain inward.

Definitions after Osborn's Brain (2017), ch. 2: an epidural bleed is a lens against the inner table, limited by sutures;
a subdural one a crescent along a hemisphere, which the falx limits, or a band along the falx.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom.shapes import inside as share_inside
from ich_mlflow.phantom.shapes import smooth_noise
from ich_mlflow.synthesis.anatomy import Anatomy
from ich_mlflow.synthesis.blood import SEEN_BY_SHAPE, draw_blood
from ich_mlflow.synthesis.displacement import displace
from ich_mlflow.synthesis.edit import Bleed, Edit, place, through_slices

#: Of the thickest place of blood, mm. Bone's blur hides a millimetre of it.
THICKNESS_MM = (4.0, 15.0)
#: Isodense and chronic blood shows by its thickness alone, so it has some.
_SEEN_BY_SHAPE_MM = 7.0
_EPIDURAL_STYLES = {"acute": 5.0, "faint": 1.5, "mixed": 2.5, "layered": 0.5}
_SUBDURAL_STYLES = {"acute": 4.0, "faint": 2.0, "mixed": 2.0, "layered": 1.5, "isodense": 1.0, "chronic": 0.7}
_FALX_STYLES = {"acute": 3.0, "faint": 1.0}
_FALX_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The place on the inner table that each voxel lies beneath: across, back (mm), float32 [n, H, W], and inward."""

    across: np.ndarray
    back: np.ndarray
    inward: np.ndarray


def surface_of(anatomy: Anatomy) -> Surface:
    """Where on the inner table each voxel's nearest place is. inward [2, n, H, W]: unit vectors, rows and columns."""
    inward = np.zeros((2, *anatomy.hu.shape), np.float32)
    for number in np.flatnonzero(anatomy.drawable):
        edge = cv2.GaussianBlur(anatomy.edge[number], (0, 0), 2.0)
        rows, columns = np.gradient(edge)
        length = np.maximum(np.hypot(rows, columns), 1e-3)
        inward[0, number], inward[1, number] = rows / length, columns / length
    places = []
    for axis in (anatomy.across, anatomy.back):
        by_row, by_column = axis[0, 1, 0] - axis[0, 0, 0], axis[0, 0, 1] - axis[0, 0, 0]
        along = (inward[0] * by_row + inward[1] * by_column) / np.float32(anatomy.pixel_mm)
        places.append(axis - anatomy.edge * along)
    return Surface(across=places[0], back=places[1], inward=inward)


def epidural(anatomy: Anatomy, rng: np.random.Generator) -> Bleed | None:
    """A lens of 4 to 15 mm against the inner table of one side, 28 to 90 mm across."""
    surface = surface_of(anatomy)
    thickest = _thickest(rng)
    radius = max(rng.uniform(14, 45), 10 + 1.5 * thickest)
    at_table = (np.abs(anatomy.edge) < anatomy.pixel_mm) & (np.abs(anatomy.across) > 18)
    at_table &= (anatomy.down > 15) & anatomy.drawable[:, None, None]
    centre = place(anatomy, at_table, rng)
    if centre is None:
        return None
    squares = (
        (surface.across - centre[0]) ** 2 + (surface.back - centre[1]) ** 2 + (anatomy.down - centre[2]) ** 2
    )
    wobble = 1 + 0.08 * smooth_noise(rng, anatomy.hu.shape, 10)
    thickness = thickest * np.clip(1 - squares / radius**2, 0, 1) ** 0.7 * wobble
    style, value = draw_blood(anatomy, _EPIDURAL_STYLES, rng, within=thickness > np.maximum(anatomy.edge, 0))
    return _extra_axial(anatomy, surface, thickness, style, value)


def subdural(anatomy: Anatomy, rng: np.random.Generator) -> Bleed | None:
    """A crescent of 4 to 15 mm over one hemisphere; a quarter of them lie along the falx."""
    if rng.random() < _FALX_SHARE:
        return _along_falx(anatomy, rng)
    surface = surface_of(anatomy)
    thickness = crescent(anatomy, surface, _thickest(rng), rng)
    style, value = draw_blood(anatomy, _SUBDURAL_STYLES, rng, within=thickness > np.maximum(anatomy.edge, 0))
    if style in SEEN_BY_SHAPE:
        thickness *= max(1.0, _SEEN_BY_SHAPE_MM / max(float(thickness.max()), 1.0))
    return _extra_axial(anatomy, surface, thickness, style, value)


def crescent(anatomy: Anatomy, surface: Surface, thickest: float, rng: np.random.Generator) -> np.ndarray:
    """Thickness in mm, [n, H, W], of what lies along one hemisphere and tapers to its ends."""
    side = rng.choice([-1.0, 1.0])
    centre_back, half_back = rng.uniform(-30, 25), rng.uniform(40, 80)
    centre_down, half_down = rng.uniform(20, 65), rng.uniform(28, 55)
    taper = np.clip(1 - ((surface.back - centre_back) / half_back) ** 2, 0, 1) ** 0.6
    taper = taper * np.clip(1 - ((anatomy.down - centre_down) / half_down) ** 2, 0, 1) ** 0.7
    one_sided = np.clip((side * surface.across - 3) / 8, 0, 1)
    wobble = 1 + 0.12 * smooth_noise(rng, anatomy.hu.shape, 12)
    return (thickest * taper * one_sided * wobble).astype(np.float32)


def hygroma(anatomy: Anatomy, rng: np.random.Generator) -> Edit:
    """Fluid like CSF, 0 to 16 HU, that displaces the brain as a subdural bleed does: no blood."""
    surface = surface_of(anatomy)
    thickness = crescent(anatomy, surface, rng.uniform(3, 11), rng)
    value = np.full(anatomy.hu.shape, rng.uniform(2, 14), np.float32)
    return _extra_axial(anatomy, surface, thickness, "", value).edit


def _thickest(rng: np.random.Generator) -> float:
    """Thin ones are the usual."""
    low, high = THICKNESS_MM
    return float(low + (high - low) * rng.random() ** 1.4)


def _extra_axial(
    anatomy: Anatomy, surface: Surface, thickness: np.ndarray, style: str, value: np.ndarray
) -> Bleed:
    share = through_slices(
        anatomy, np.where(thickness > 0.5, thickness - anatomy.depth, -20).astype(np.float32)
    )
    # Bone next to it is mixed in by the painter; beyond is scalp.
    share *= np.clip(2.2 + anatomy.edge / anatomy.pixel_mm, 0, 1)
    push = displace(anatomy, surface.inward, thickness)
    visible = (share >= 0.5) & anatomy.inside
    return Bleed(edit=Edit(share=share, value=value, push=push), visible=visible, style=style)


def _along_falx(anatomy: Anatomy, rng: np.random.Generator) -> Bleed:
    """A band of 2 to 6 mm beside the falx, in its front, its back, or all along."""
    style, value = draw_blood(anatomy, _FALX_STYLES, rng)
    side, thick = rng.choice([-1.0, 1.0]), rng.uniform(2, 6)
    centre, half = rng.uniform(-50, 60), rng.uniform(25, 60)
    taper = np.clip(1 - ((anatomy.back - centre) / half) ** 2, 0, 1) ** 0.5
    taper = taper * np.clip(1 - ((anatomy.down - rng.uniform(10, 40)) / 45) ** 2, 0, 1) ** 0.5
    wobble = smooth_noise(rng, anatomy.hu.shape, 12)
    thickness = thick * taper * (1 + 0.15 * wobble)
    away = side * anatomy.across + 0.5 * smooth_noise(rng, anatomy.hu.shape, 8)
    reach = np.float32(rng.uniform(18, 36))
    depth = np.minimum(np.minimum(thickness - away, away + 0.8), reach - anatomy.edge)
    share = through_slices(anatomy, np.where(thickness > 0.7, depth, -20).astype(np.float32))
    share *= share_inside(-anatomy.edge - anatomy.pixel_mm, 1.0)
    return Bleed(
        edit=Edit(share=share, value=value), visible=(share >= 0.5) & anatomy.inside, style=f"{style}, falx"
    )
