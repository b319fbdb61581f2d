"""The five subtypes as masks, each placed by what defines it.

A mask is float32 [n, h, w] at half the scan's resolution: the share of blood, 0 to 1. Definitions after
Osborn's Brain (2017), ch. 2 and 5: an epidural bleed is a lens against the inner table, a subdural one a
crescent along a hemisphere, subarachnoid blood fills sulci and cisterns, intraventricular blood lies in the
dependent part of the ventricles (the patient is supine), intraparenchymal blood is a lesion inside tissue.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.phantom.anatomy import Fields
from ich_mlflow.phantom.shapes import ellipsoid_mm, inside, smooth_noise

#: Fresh blood, HU. Noise and texture widen it to about 50 to 85.
BLOOD_HU = (55.0, 82.0)
OEDEMA_HU = 18.0


def epidural(fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """A biconvex lens: the part of a ball, centred outside the skull, that bulges into the cavity.

    6 to 24 mm thick, 36 to 80 mm across, over the temple or the parietal bone: the dura is stuck at sutures.
    """
    half_width, thickness = rng.uniform(18, 40), rng.uniform(6, 24)
    thickness = min(thickness, 0.7 * half_width)
    radius = (half_width**2 + thickness**2) / (2 * thickness)
    direction = _lateral_direction(rng)
    touching = _inner_table(fields, direction)
    centre = touching + direction * (radius - thickness)
    ball = _distance(fields, centre) - radius
    wobble = 0.8 * smooth_noise(rng, ball.shape, 10)
    return inside(ball + wobble, 1.2) * inside(fields.cavity_mm)


def subdural(fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """A crescent over one hemisphere: 4 to 14 mm thick in its middle, tapering to its ends, over the sutures."""
    head, side = fields.head, rng.choice([-1.0, 1.0])
    thickest = rng.uniform(4, 14)
    centre_y, half_y = rng.uniform(-35, 15), rng.uniform(45, 80)
    centre_z, half_z = rng.uniform(10, 45), rng.uniform(28, 50)
    taper = np.clip(1 - ((head.y - centre_y) / half_y) ** 2, 0, 1)
    taper = np.sqrt(taper) * np.clip(1 - ((head.z - centre_z) / half_z) ** 2, 0, 1)
    thickness = thickest * taper * (1 + 0.12 * smooth_noise(rng, head.x.shape, 12))
    crescent = inside(-fields.cavity_mm - thickness, 1.2) * inside(fields.cavity_mm)
    # The falx stops it at the midline.
    crescent *= np.clip((side * head.x - 4) / 4, 0, 1) * (thickness > 1.0)
    if rng.random() < 0.25:
        along_falx = inside(np.abs(head.x - side * 3) - rng.uniform(1.5, 3.0), 1.0)
        along_falx *= (head.y < 60) * (head.z > 5) * (fields.cavity_mm > -32)
        crescent = np.maximum(crescent, along_falx * inside(fields.cavity_mm))
    return crescent


def subarachnoid(fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """Blood in place of CSF, in the basal cisterns and fissures or in the sulci of a part of the convexity."""
    head = fields.head
    if rng.random() < 0.45:
        # The cisterns around the brain stem, and from there into the Sylvian fissures.
        centre, radii = (rng.uniform(-14, 14), -5.0, -14.0), (rng.uniform(38, 60), rng.uniform(30, 48), 20.0)
    else:
        side = rng.choice([-1.0, 1.0])
        centre = (side * rng.uniform(25, 48), rng.uniform(-55, 40), rng.uniform(0, 50))
        radii = (rng.uniform(18, 32), rng.uniform(25, 45), rng.uniform(15, 30))
    region = np.clip(1.2 + ellipsoid_mm(head.xyz, centre, radii) / -8, 0, 1)
    outside_ventricles = 1 - inside(fields.ventricle_mm - 2, 2.0)
    space = np.clip(1.7 * (1 - fields.brain), 0, 1)
    clotted = np.clip(1.2 + 0.4 * smooth_noise(rng, head.x.shape, 14), 0, 1)
    return (
        rng.uniform(0.85, 1.0)
        * region
        * space
        * clotted
        * outside_ventricles
        * inside(fields.cavity_mm + 0.5)
    )


def intraventricular(fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """Blood in the ventricles up to a level: it sinks to the back of a supine patient. A third of them full casts."""
    head = fields.head
    level = rng.uniform(-42, -30) if rng.random() < 0.65 else rng.uniform(-20, 40)
    sides = rng.choice([-1, 0, 1], p=[0.2, 0.6, 0.2])
    chamber = inside(fields.ventricle_mm - 0.7, 1.5) * inside(fields.cavity_mm + 8)
    one_sided = 1.0 if sides == 0 else np.clip(sides * head.x / 2 + 0.5, 0, 1)
    surface = inside(head.y - level + 1.5 * smooth_noise(rng, head.x.shape, 8), 2.0)
    return chamber * surface * one_sided


def intraparenchymal(fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """A lobulated lesion of 5 to 24 mm radius in the basal ganglia, the thalamus, a lobe or the cerebellum."""
    head = fields.head
    side = rng.choice([-1.0, 1.0])
    place = rng.choice(4, p=[0.35, 0.15, 0.4, 0.1])
    centre = (
        (side * rng.uniform(22, 32), rng.uniform(-18, 14), rng.uniform(-2, 16)),
        (side * rng.uniform(11, 17), rng.uniform(-24, -12), rng.uniform(3, 14)),
        (side * rng.uniform(20, 44), rng.uniform(-62, 45), rng.uniform(8, 48)),
        (side * rng.uniform(8, 30), rng.uniform(-68, -52), rng.uniform(-42, -26)),
    )[place]
    size = rng.uniform(5, 14) if place in (1, 3) else rng.uniform(6, 24)
    radii = [size * share for share in rng.uniform(0.75, 1.25, size=3)]
    lesion = ellipsoid_mm(head.xyz, centre, radii) + 0.16 * size * smooth_noise(rng, head.x.shape, 14)
    return inside(lesion, 1.5) * inside(fields.cavity_mm + 3) * np.clip(2 * fields.brain, 0, 1)


def oedema_rim(lesion: np.ndarray, fields: Fields, rng: np.random.Generator) -> np.ndarray:
    """Share of oedema around an intraparenchymal lesion: a blurred rim of some millimetres, mostly white matter."""
    pixels = rng.uniform(3, 7)
    wide = ndimage.gaussian_filter(lesion, (0.6, pixels, pixels))
    rim = np.clip(3.0 * wide, 0, 1) * (1 - lesion)
    return 0.9 * rim * np.clip(0.35 + fields.white, 0, 1) * fields.brain


Bleed = Callable[[Fields, np.random.Generator], np.ndarray]
BLEEDS: dict[str, Bleed] = {
    "epidural": epidural,
    "intraparenchymal": intraparenchymal,
    "intraventricular": intraventricular,
    "subarachnoid": subarachnoid,
    "subdural": subdural,
}
assert tuple(BLEEDS) == SUBTYPES


def _lateral_direction(rng: np.random.Generator) -> np.ndarray:
    """A unit vector, template axes, from the middle of the head to the temporal or parietal bone."""
    side = rng.choice([-1.0, 1.0])
    angle, height = rng.uniform(-0.6, 0.9), rng.uniform(-0.15, 0.7)
    vector = np.array([side * np.cos(angle), np.sin(angle), height])
    return vector / np.linalg.norm(vector)


def _inner_table(fields: Fields, direction: np.ndarray) -> np.ndarray:
    """The point of the inner table in that direction from the middle of the cavity, template mm [3]."""
    middle = np.array([0.0, -15.0, 15.0])
    offset = np.stack([axis - m for axis, m in zip(fields.head.xyz, middle, strict=True)])
    along = np.tensordot(direction, offset, axes=1)
    across = np.sqrt(np.maximum((offset**2).sum(axis=0) - along**2, 0))
    inner = (across < 6) & (fields.cavity_mm < 0)
    reach = float(along[inner].max()) if inner.any() else 60.0
    return middle + direction * reach


def _distance(fields: Fields, centre: np.ndarray) -> np.ndarray:
    squares = [(axis - c) ** 2 for axis, c in zip(fields.head.xyz, centre, strict=True)]
    return np.sqrt(squares[0] + squares[1] + squares[2]).astype(np.float32)
