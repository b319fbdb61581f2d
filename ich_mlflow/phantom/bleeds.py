"""The five subtypes, each placed by what defines it. Lengths in MNI mm, blood 50-85 HU.

A bleed is planned first (where, how large, how it moves the brain), then drawn on a patient's anatomy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ich_mlflow.phantom.anatomy import Brain, Head, Push
from ich_mlflow.phantom.geometry import edge, smooth_noise

OEDEMA_HU = (17.0, 24.0)
#: Where bleeds within the brain lie: MNI mm (right side) and how often (deep ones lead in adults).
_PARENCHYMAL_SITES = (
    ((27.0, 0.0, 3.0), 0.28),  # putamen
    ((13.0, -18.0, 9.0), 0.16),  # thalamus
    ((30.0, 36.0, 24.0), 0.15),  # frontal lobe
    ((34.0, -46.0, 36.0), 0.14),  # parietal lobe
    ((47.0, -22.0, -10.0), 0.12),  # temporal lobe
    ((24.0, -74.0, 12.0), 0.08),  # occipital lobe
    ((24.0, -62.0, -36.0), 0.07),  # cerebellum
)
_CONTUSION_SITES = ((22.0, 56.0, -8.0), (46.0, 10.0, -28.0), (34.0, 50.0, 10.0), (54.0, -14.0, -18.0))
#: Cisterns: centre and spread, MNI mm; sylvian and ambient ones on both sides.
_CISTERNS = (
    ((0.0, 0.0, -18.0), (18.0, 14.0, 9.0)),
    ((42.0, 6.0, -3.0), (14.0, 20.0, 14.0)),
    ((-42.0, 6.0, -3.0), (14.0, 20.0, 14.0)),
    ((0.0, -32.0, -8.0), (26.0, 9.0, 10.0)),
    ((0.0, 44.0, 0.0), (5.0, 30.0, 22.0)),
)


@dataclass(frozen=True, kw_only=True)
class Blood:
    """What one bleed puts on the grid: fractions 0..1, float32 [N, H, W], and attenuations in HU."""

    fraction: np.ndarray
    hu: float
    oedema: np.ndarray | None = None
    oedema_hu: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Bleed:
    """A planned bleed: its subtype, how it moves tissue, and the function that draws it."""

    subtype: str
    draw: Callable[[Head, Brain, np.random.Generator], Blood]
    pushes: tuple[Push, ...] = field(default=())


def epidural(
    rng: np.random.Generator, surface: Callable[[np.ndarray], np.ndarray], size: float = 1.0
) -> Bleed:
    """A lens against the inner table, mostly temporal or parietal.

    surface maps a direction [3] from the head's middle to the point of the inner table there, MNI mm.
    """
    side = rng.choice([-1, 1])
    azimuth, elevation = rng.normal(0.05, 0.55), rng.normal(0.15, 0.35)
    inward = -np.array([side * np.cos(azimuth) * np.cos(elevation), np.sin(azimuth), np.sin(elevation)])
    center = surface(-inward)
    depth_mm = float(np.clip(size * rng.lognormal(np.log(13), 0.4), 5, 30))
    radius_mm = float(np.clip(rng.uniform(1.6, 2.6) * depth_mm, 17, 46))
    hu = float(rng.uniform(58, 76))

    def draw(head: Head, brain: Brain, rng: np.random.Generator) -> Blood:
        squares = sum((p - c) ** 2 for p, c in zip(head.mni, np.float32(center), strict=True))
        lens = depth_mm * np.clip(1 - squares / radius_mm**2, 0, 1)
        return Blood(fraction=edge(-head.inner_mm - lens, 1.6) * (lens > 0.4), hu=hu)

    x, y, z = (float(v) for v in 0.6 * depth_mm * inward)
    push = Push(_triple(center + inward * depth_mm), (x, y, z), radius_mm)
    return Bleed(subtype="epidural", draw=draw, pushes=(push,))


def subdural(rng: np.random.Generator, size: float = 1.0) -> Bleed:
    """A crescent along one hemisphere, over sutures but not over the midline; some follow the falx too."""
    side = int(rng.choice([-1, 1]))
    depth_mm = float(np.clip(size * rng.lognormal(np.log(7), 0.42), 2.8, 18))
    middle, reach = rng.normal(0.0, 0.3), rng.uniform(0.85, 1.45)
    level, height = rng.uniform(15, 42), rng.uniform(30, 52)
    along_falx = rng.random() < 0.25
    hu = float(rng.uniform(52, 74))

    def draw(head: Head, brain: Brain, rng: np.random.Generator) -> Blood:
        x, y, z = head.mni
        angle = np.arctan2(y + 16, np.maximum(side * x, 1e-3))
        taper = np.clip(1 - ((angle - middle) / reach) ** 2 - ((z - level) / height) ** 2, 0, 1)
        thickness = depth_mm * np.sqrt(taper) * (1 + 0.15 * smooth_noise(rng, head.shape, cells=(7, 9, 9)))
        here = edge(2.0 - side * x, 1.5) * (taper > 0.01)
        fraction = edge(-head.inner_mm - thickness, 1.6) * here
        if along_falx:
            sheet = side * brain.right - 1.0 - 0.3 * depth_mm * np.clip(-head.inner_mm / 8, 0, 1)
            sheet = np.maximum(sheet, np.maximum(-side * brain.right, np.abs(z - level) - height))
            fraction = np.maximum(fraction, edge(sheet, 1.8) * (z > 15) * (np.abs(y + 30) < 60))
        return Blood(fraction=fraction, hu=hu)

    push = Push((side * 48.0, -15.0, float(level)), (-side * 0.65 * depth_mm, 0.0, 0.0), 38.0)
    return Bleed(subtype="subdural", draw=draw, pushes=(push,))


def subarachnoid(rng: np.random.Generator, size: float = 1.0) -> Bleed:
    """Blood in the fluid around the brain: in the basal cisterns (aneurysm) or in sulci (trauma)."""
    hu = float(rng.uniform(54, 74))
    if rng.random() < 0.45:
        strength = size * rng.uniform(0.35, 1.0, len(_CISTERNS))
        places = [(c, s, float(w)) for (c, s), w in zip(_CISTERNS, strength, strict=True)]
    else:
        places = [_sulcal_place(rng, size) for _ in range(int(rng.integers(1, 4)))]

    def draw(head: Head, brain: Brain, rng: np.random.Generator) -> Blood:
        weight = np.zeros(head.shape, dtype=np.float32)
        for center, spread, strength in places:
            squares = sum(
                ((p - np.float32(c)) / np.float32(s)) ** 2
                for p, c, s in zip(head.mni, center, spread, strict=True)
            )
            np.maximum(weight, np.float32(strength) * np.exp(-0.5 * squares), out=weight)
        fluid = np.clip((1 - brain.tissue - brain.ventricle - 0.12) / 0.45, 0, 1)
        return Blood(fraction=fluid * np.clip(2.2 * weight - 0.25, 0, 1), hu=hu)

    return Bleed(subtype="subarachnoid", draw=draw)


def _sulcal_place(rng: np.random.Generator, size: float) -> tuple:
    """Centre, spread and strength of blood in the sulci somewhere on the convexity."""
    azimuth, elevation, side = rng.uniform(-1.3, 1.3), rng.uniform(-0.1, 1.1), rng.choice([-1, 1])
    center = (
        float(side * 56 * np.cos(azimuth) * np.cos(elevation)),
        float(-16 + 72 * np.sin(azimuth) * np.cos(elevation)),
        float(8 + 56 * np.sin(elevation)),
    )
    spread = float(size * rng.uniform(12, 24))
    return center, (spread, spread, spread), float(rng.uniform(0.6, 1.0))


def intraventricular(rng: np.random.Generator, size: float = 1.0) -> Bleed:
    """Blood that has sunk to the back of the ventricles (a level, for a patient on the back), or a cast."""
    filled = np.clip(size * rng.uniform(0.12, 0.6, 2) * (rng.random(2) < (0.85, 0.85)), 0, 0.9)
    if not filled.any():
        filled[int(rng.integers(2))] = 0.35
    if rng.random() < 0.18:
        filled[int(rng.integers(2))] = 1.0
    midline = rng.random() < 0.35
    hu = float(rng.uniform(54, 76))

    def draw(head: Head, brain: Brain, rng: np.random.Generator) -> Blood:
        fraction = np.zeros(head.shape, dtype=np.float32)
        lateral = (np.abs(brain.right) > 4.5) | (head.mni[2] > 12)
        for share, side in zip(filled, (-1, 1), strict=True):
            horn = brain.ventricle * (lateral & (side * brain.right > 0) & (head.mni[2] > -8))
            inside = head.posterior[horn > 0.5]
            if share > 0 and inside.size:
                level = np.quantile(inside, 1 - share) if share < 1 else inside.min() - 5
                # A level is straight but not sharp: the blood settles over hours.
                fraction = np.maximum(fraction, horn * edge(level - head.posterior, 2.5))
        if midline:
            fraction = np.maximum(fraction, brain.ventricle * ~lateral)
        return Blood(fraction=fraction, hu=hu)

    return Bleed(subtype="intraventricular", draw=draw)


def intraparenchymal(rng: np.random.Generator, size: float = 1.0) -> Bleed:
    """Clots in the brain, with a rim of oedema: one at a typical site, or a few contusions at the poles."""
    hu, oedema_hu = float(rng.uniform(56, 78)), float(rng.uniform(*OEDEMA_HU))
    side = int(rng.choice([-1, 1]))
    if rng.random() < 0.25:
        chosen = rng.choice(len(_CONTUSION_SITES), int(rng.integers(1, 4)), replace=False)
        clots = [(_CONTUSION_SITES[i], size * rng.uniform(4, 8)) for i in chosen]
    else:
        sites, odds = zip(*_PARENCHYMAL_SITES, strict=True)
        radius = float(np.clip(size * rng.lognormal(np.log(12), 0.42), 4.5, 30))
        clots = [(sites[int(rng.choice(len(sites), p=odds))], radius)]
    shapes = [
        (_triple((side, 1, 1) * (np.array(site) + rng.normal(0, 4, 3))), float(r), rng.uniform(0.75, 1.3, 3))
        for site, r in clots
    ]
    rim_mm = float(rng.uniform(2.5, 8))

    def draw(head: Head, brain: Brain, rng: np.random.Generator) -> Blood:
        distance = np.full(head.shape, 99, dtype=np.float32)
        for center, radius, axes in shapes:
            squares = sum(
                ((p - np.float32(c)) / np.float32(a)) ** 2
                for p, c, a in zip(head.mni, center, axes, strict=True)
            )
            np.minimum(distance, np.sqrt(squares) - np.float32(radius), out=distance)
        uneven = 0.16 * float(max(r for _, r, _ in shapes)) * smooth_noise(rng, head.shape, cells=(14, 17, 17))
        distance += np.clip(uneven, -4, 4)
        room = edge(head.inner_mm + 2.0, 1.5) * (1 - brain.ventricle)
        # Oedema runs along white matter.
        rim = edge(distance - rim_mm * (0.4 + brain.white), 3.0) * room * brain.tissue
        return Blood(fraction=edge(distance, 1.6) * room, hu=hu, oedema=rim, oedema_hu=oedema_hu)

    pushes = tuple(Push(center, (-side * 0.3 * r, 0.0, 0.0), 2.2 * r) for center, r, _ in shapes if r > 9)
    return Bleed(subtype="intraparenchymal", draw=draw, pushes=pushes)


def add_bleeds(hu: np.ndarray, bloods: Sequence[Blood]) -> list[np.ndarray]:
    """Lay bleeds into HU [N, H, W] in place, later ones over earlier; the fractions that remain visible."""
    for blood in bloods:
        if blood.oedema is not None:
            hu += blood.oedema * (np.minimum(hu, blood.oedema_hu) - hu)
    visible: list[np.ndarray] = []
    for blood in bloods:
        hu += blood.fraction * (blood.hu - hu)
        visible = [earlier * (1 - blood.fraction) for earlier in visible] + [blood.fraction]
    return visible


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
