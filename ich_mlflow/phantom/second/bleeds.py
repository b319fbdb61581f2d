"""Where the blood of the second edition is, and how far it pushes the brain.

Definitions as in the first edition (ich_mlflow.phantom.bleeds), in more places: epidurals also at the temporal pole and
in the posterior fossa, subdurals also along tentorium and falx, contusions of the frontal base and the temporal pole,
subarachnoid blood also in a single sulcus. Thickness 2 to 22 mm.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ich_mlflow.phantom.second.brain import tentorium_height
from ich_mlflow.phantom.second.planes import Planes, Tissue
from ich_mlflow.phantom.shapes import ellipsoid_mm, inside

#: How far the push of extra-axial blood reaches below it, mm.
_REACH_MM = 40.0
#: Thinner is not drawn, mm.
_THINNEST_MM = 0.8


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """Blood of one subtype.

    share: of blood, 0 to 1, float32 [p, h, w]. push: x, y and z of how much farther what is seen at a point comes from,
    template mm, three such arrays.
    """

    share: np.ndarray
    push: list[np.ndarray] | None = None

    def __post_init__(self) -> None:
        # Single numbers of a generator are double precision, and so is what they touch.
        object.__setattr__(self, "share", self.share.astype(np.float32))
        push = self.push and [part.astype(np.float32) for part in self.push]
        object.__setattr__(self, "push", push)


def epidural(planes: Planes, rng: np.random.Generator) -> Bleed:
    """A biconvex lens against the inner table, 3 to 22 mm thick, 24 to 80 mm across."""
    half_width = rng.uniform(12, 40)
    thickness = min(rng.uniform(3, 22), 0.7 * half_width)
    radius = (half_width**2 + thickness**2) / (2 * thickness)
    direction = _direction(rng)
    touching = _inner_table(planes, direction)
    ball = _away(planes, touching + direction * (radius - thickness)) - radius
    share = inside(ball + 0.6 * planes.gyral, 1.2) * inside(planes.cavity_mm, 0.8)
    amount = thickness * np.exp(-((_away(planes, touching) / (1.4 * half_width)) ** 2))
    return Bleed(share=share, push=[np.float32(d) * amount for d in direction])


def subdural(planes: Planes, rng: np.random.Generator) -> Bleed:
    """A crescent over a hemisphere, 2 to 15 mm thick; a third lie, also or only, along the falx or the tentorium."""
    side, kind = rng.choice([-1.0, 1.0]), rng.random()
    x, y, z = planes.xyz
    thickest = 2 + 13 * rng.random() ** 1.3
    centre_y, half_y = rng.uniform(-45, 25), rng.uniform(35, 80)
    centre_z, half_z = rng.uniform(0, 45), rng.uniform(24, 50)
    taper = np.sqrt(np.clip(1 - ((y - centre_y) / half_y) ** 2, 0, 1))
    taper = taper * np.clip(1 - ((z - centre_z) / half_z) ** 2, 0, 1)
    thickness = thickest * taper * (1 + 0.12 * planes.gyral) * np.clip((side * x - 4) / 4, 0, 1)
    depth = -planes.cavity_mm
    share = inside(depth - thickness, 1.2) * inside(planes.cavity_mm, 0.8) * (thickness > _THINNEST_MM)
    if kind < 0.18:
        along = _along_falx(planes, side, rng)
    elif kind < 0.33:
        along = _on_tentorium(planes, side, rng)
    else:
        along = None
    if along is not None:
        alone = rng.random() < 0.5
        share, thickness = (along, 0 * thickness) if alone else (np.maximum(share, along), thickness)
    amount = thickness * np.exp(-np.maximum(depth - thickness, 0) / _REACH_MM)
    far = np.sqrt(x**2 + (0.5 * (y + 15)) ** 2 + (0.5 * (z - 15)) ** 2) + 5
    return Bleed(
        share=share, push=[amount * x / far, amount * 0.5 * (y + 15) / far, amount * 0.5 * (z - 15) / far]
    )


def intraparenchymal(planes: Planes, rng: np.random.Generator) -> Bleed:
    """One lesion of 4 to 26 mm radius in ganglia, thalamus, lobe, cerebellum or brain stem, or some contusions."""
    side, place = rng.choice([-1.0, 1.0]), rng.choice(5, p=[0.27, 0.12, 0.28, 0.08, 0.25])
    if place == 4:
        return _contusions(planes, side, rng)
    centre = (
        (side * rng.uniform(22, 32), rng.uniform(-18, 14), rng.uniform(-2, 16)),
        (side * rng.uniform(11, 17), rng.uniform(-24, -12), rng.uniform(3, 14)),
        (side * rng.uniform(18, 46), rng.uniform(-68, 48), rng.uniform(0, 52)),
        (side * rng.uniform(0, 30), rng.uniform(-68, -35), rng.uniform(-42, -22)),
    )[place]
    size = rng.uniform(4, 14) if place in (1, 3) else rng.uniform(4, 26)
    radii = [size * share for share in rng.uniform(0.7, 1.3, size=3)]
    lesion = ellipsoid_mm(planes.xyz, centre, radii) + 0.16 * size * planes.gyral
    share = inside(lesion, 1.5) * inside(planes.cavity_mm + 3)
    # A ball of this radius takes no room of its own: what it displaced lies around it.
    away = _away(planes, np.array(centre)) + 0.5
    scale = np.cbrt(np.clip(1 - 0.7 * (size / away) ** 3, 0.05, 1)) - 1
    # Bone holds what is next to it.
    scale = scale * np.clip(-planes.cavity_mm / 12, 0, 1)
    return Bleed(share=share, push=[(axis - c) * scale for axis, c in zip(planes.xyz, centre, strict=True)])


def _contusions(planes: Planes, side: float, rng: np.random.Generator) -> Bleed:
    """Two to six small lesions next to the bone of the frontal base or the temporal pole, some on both sides."""
    middle = ((side * 16, 48, -4), (side * 46, 4, -24), (side * 30, 20, -12))[rng.integers(3)]
    share = np.zeros(planes.x.shape, np.float32)
    for number in range(int(rng.integers(2, 7))):
        centre = np.array(middle) + rng.normal(0, 1, 3) * (8, 9, 6)
        centre[0] *= -1 if number and rng.random() < 0.2 else 1
        size = rng.uniform(2.5, 10)
        lesion = ellipsoid_mm(planes.xyz, centre, size * rng.uniform(0.7, 1.3, 3)) + 0.3 * size * planes.gyral
        share = np.maximum(share, rng.uniform(0.7, 1) * inside(lesion, 2.0))
    return Bleed(share=share * inside(planes.cavity_mm + 1.5))


def subarachnoid(planes: Planes, tissue: Tissue, rng: np.random.Generator) -> Bleed:
    """Blood in place of CSF: in cisterns and fissures, the sulci of a part of the convexity, or one sulcus."""
    kind = rng.random()
    side = rng.choice([-1.0, 1.0])
    spot = (side * rng.uniform(25, 50), rng.uniform(-60, 42), rng.uniform(0, 52))
    if kind < 0.4:
        centre, radii = (rng.uniform(-14, 14), -5.0, -14.0), (rng.uniform(38, 60), rng.uniform(30, 48), 20.0)
    elif kind < 0.8:
        centre, radii = spot, (rng.uniform(18, 32), rng.uniform(22, 45), rng.uniform(15, 30))
    else:
        centre, radii = spot, (rng.uniform(10, 18), rng.uniform(9, 18), rng.uniform(9, 18))
    region = np.clip(1.2 + ellipsoid_mm(planes.xyz, centre, radii) / -8, 0, 1)
    # It opens sulci that are closed without it, so a full brain has them, too.
    space = np.clip(2.2 - 2.6 * tissue.tissue, 0, 1) * (1 - inside(tissue.ventricle_mm - 2, 2.0))
    clotted = np.clip(1.2 + 0.4 * planes.gyral, 0, 1)
    return Bleed(share=rng.uniform(0.8, 1.0) * region * space * clotted * inside(planes.cavity_mm + 0.3, 0.8))


def intraventricular(planes: Planes, tissue: Tissue, wall_mm: float, rng: np.random.Generator) -> Bleed:
    """Blood in the ventricles up to a level, as it sinks; a third of them casts. wall_mm: how much wider they are."""
    level = rng.uniform(-44, -28) if rng.random() < 0.65 else rng.uniform(-20, 40)
    sides = rng.choice([-1, 0, 1], p=[0.25, 0.5, 0.25])
    # Blood in slits widens them.
    chamber = inside(tissue.ventricle_mm - max(wall_mm, 0.3), 1.5) * inside(planes.cavity_mm + 8)
    one_sided = 1.0 if sides == 0 else np.clip(sides * planes.x / 2 + 0.5, 0, 1)
    surface = inside(planes.y - level + 1.5 * planes.gyral, 2.0)
    return Bleed(share=chamber * surface * one_sided)


def oedema_rim(share: np.ndarray, planes: Planes, rng: np.random.Generator) -> np.ndarray:
    """Share of oedema around an intraparenchymal lesion [p, h, w]: a rim of some millimetres."""
    pixels = rng.uniform(2, 6) * share.shape[1] / 200
    wide = ndimage.gaussian_filter(share, (0.8, pixels, pixels))
    return 0.85 * np.clip(3.0 * wide, 0, 1) * (1 - share) * inside(planes.cavity_mm + 2)


def _along_falx(planes: Planes, side: float, rng: np.random.Generator) -> np.ndarray:
    x, y, z = planes.xyz
    half, back = rng.uniform(1.0, 3.5), rng.uniform(-70, 10)
    sheet = inside(np.abs(side * x - half - 0.5 + 0.5 * planes.gyral) - half, 1.0)
    long = (np.abs(y - back) < rng.uniform(25, 55)) & (z > rng.uniform(0, 20)) & (planes.cavity_mm > -32)
    along: np.ndarray = sheet * long * inside(planes.cavity_mm + 1, 1.0)
    return along


def _on_tentorium(planes: Planes, side: float, rng: np.random.Generator) -> np.ndarray:
    """A layer on one leaf of the tentorium as second.brain has it: on a slice a broad band with a sharp inner edge."""
    x, y, z = planes.xyz
    over = z - tentorium_height(np.abs(x), y)
    thickness = rng.uniform(1.5, 5)
    layer = inside(np.abs(over - thickness / 2) - thickness / 2, 2.0) * (y < rng.uniform(-40, -22))
    leaf: np.ndarray = layer * np.clip((side * x - 4) / 3, 0, 1) * inside(planes.cavity_mm + 0.5)
    return leaf


def _direction(rng: np.random.Generator) -> np.ndarray:
    """A unit vector from the middle of the head to temple, parietal or frontal bone, temporal pole or occiput."""
    side, place = rng.choice([-1.0, 1.0]), rng.random()
    if place < 0.15:
        vector = np.array([side * rng.uniform(38, 52), rng.uniform(22, 40), rng.uniform(-48, -36)])
    elif place < 0.25:
        vector = np.array([side * rng.uniform(15, 40), -60.0, rng.uniform(-55, -25)])
    else:
        angle, height = rng.uniform(-0.9, 1.3), rng.uniform(-0.2, 0.8)
        vector = np.array([side * np.cos(angle), np.sin(angle), height])
    return np.asarray(vector / np.linalg.norm(vector))


def _inner_table(planes: Planes, direction: np.ndarray) -> np.ndarray:
    """The point of the inner table in that direction from the middle of the cavity, template mm [3]."""
    middle = np.array([0.0, -15.0, 15.0])
    few = [axis[:, ::3, ::3] - m for axis, m in zip(planes.xyz, middle, strict=True)]
    along = sum(d * axis for d, axis in zip(direction, few, strict=True))
    across = np.sqrt(np.maximum(sum(axis**2 for axis in few) - along**2, 0))
    inner = (across < 7) & (planes.cavity_mm[:, ::3, ::3] < 0)
    reach = float(along[inner].max()) if inner.any() else 60.0
    return middle + direction * reach


def _away(planes: Planes, centre: np.ndarray) -> np.ndarray:
    squares = sum((axis - np.float32(c)) ** 2 for axis, c in zip(planes.xyz, centre, strict=True))
    return np.asarray(np.sqrt(squares), dtype=np.float32)
