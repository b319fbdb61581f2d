"""Sham edits: what looks like drawing, or like blood, and is none. So the style of an edit is not its label."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom.shapes import smooth_noise
from ich_mlflow.synthesis.anatomy import Anatomy
from ich_mlflow.synthesis.axial import hygroma
from ich_mlflow.synthesis.edit import Edit, ball, place
from ich_mlflow.synthesis.render import noise_like, paint

#: Soft tissue in a hole of the skull, HU.
_SCAR_HU = 40.0


@dataclass(frozen=True, kw_only=True)
class Sham:
    """A kind of sham edit.

    apply    makes the series' pixels [n, H, W] in HU into others; the anatomy is that of the head before
    anywhere whether it goes with blood too: it neither displaces anything nor needs a place that blood may have taken
    """

    apply: Callable[[Anatomy, np.ndarray, np.random.Generator], np.ndarray]
    anywhere: bool = False


def apply_shams(
    anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator, *, beside_blood: bool
) -> tuple[np.ndarray, list[str]]:
    """(hu, names): one to three sham edits applied to the pixels; beside blood one of those that go with it."""
    names = [name for name, sham in SHAMS.items() if sham.anywhere or not beside_blood]
    count = 1 if beside_blood else int(rng.integers(1, 4))
    chosen = [names[i] for i in sorted(rng.choice(len(names), count, replace=False))]
    for name in chosen:
        hu = SHAMS[name].apply(anatomy, hu, rng)
    return hu, chosen


def _calcium(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Specks of calcium in the falx, the choroid plexus or the basal ganglia: 80 to 400 HU, 1 to 3.5 mm."""
    falx = (np.abs(anatomy.across) < 1.5) & (anatomy.edge < 30) & (anatomy.edge > 4)
    ganglia = (np.abs(np.abs(anatomy.across) - 20) < 7) & (np.abs(anatomy.back + 12) < 18)
    ganglia &= np.abs(anatomy.down - 62) < 10
    spots = [falx, ganglia, anatomy.ventricles & (anatomy.back > 5)]
    where = spots[int(rng.integers(len(spots)))] & anatomy.inside
    found = hu.copy()
    for _ in range(int(rng.integers(1, 7))):
        centre = place(anatomy, where, rng)
        if centre is not None:
            speck = np.clip((rng.uniform(1, 3.5) - ball(anatomy, centre)) / 1.2 + 0.5, 0, 1)
            found += _blurred(anatomy, speck) * np.maximum(np.float32(rng.uniform(80, 400)) - found, 0)
    return found


def _dense_sinus(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dense blood that flows, in the sagittal sinus, and a bright falx: 50 to 70 HU."""
    width = rng.uniform(3, 6)
    sinus = np.clip((width - np.abs(anatomy.across) - 0.7 * np.maximum(anatomy.edge, 0)) / 1.5 + 0.5, 0, 1)
    sinus = sinus * (anatomy.back > 20) * (anatomy.down < 90)
    falx = np.clip((rng.uniform(0.6, 1.3) - np.abs(anatomy.across)) / 1.0 + 0.5, 0, 1)
    falx = falx * (anatomy.edge < rng.uniform(15, 40)) * (anatomy.down < 60)
    share = np.maximum(sinus, 0.7 * falx).astype(np.float32) * anatomy.inside
    return _in_place(anatomy, hu, Edit(share=share, value=np.full_like(hu, rng.uniform(50, 70))), rng)


def _bone_wedge(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bone that lies in a part of the slice's thickness: brightest at the skull, and fading."""
    at_table = (np.abs(anatomy.edge) < 2) & anatomy.drawable[:, None, None]
    centre = place(anatomy, at_table, rng)
    if centre is None:
        return hu
    near = np.clip(1.3 - ball(anatomy, centre) / rng.uniform(12, 40), 0, 1)
    fading = np.clip(1 - np.maximum(anatomy.edge, 0) / rng.uniform(3, 8), 0, 1) ** 1.5
    return hu + (np.float32(rng.uniform(30, 140)) * near * fading * anatomy.inside).astype(np.float32)


def _burr_hole(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hole of a burr, or the cut around a flap: the skull is missing there, and scar is in its place."""
    at_table = (np.abs(anatomy.edge) < 2) & anatomy.drawable[:, None, None] & (np.abs(anatomy.across) > 15)
    centre = place(anatomy, at_table, rng)
    if centre is None:
        return hu
    away = ball(anatomy, centre)
    is_flap = rng.random() < 0.5
    hole = rng.uniform(1, 2) - np.abs(away - rng.uniform(20, 35)) if is_flap else rng.uniform(4, 8) - away
    share = np.clip(hole + 0.5, 0, 1) * (anatomy.edge < 0) * (anatomy.edge > -18)
    changed: np.ndarray = hu + _blurred(anatomy, share) * np.minimum(_SCAR_HU - hu, 0)
    return changed


def _infarct(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A darker region with an uneven border, as an old or a fresh infarct."""
    centre = place(anatomy, anatomy.inside & (anatomy.edge > 5) & (np.abs(anatomy.across) > 15), rng)
    if centre is None:
        return hu
    radius = rng.uniform(6, 32)
    uneven = 1 + 0.3 * smooth_noise(rng, hu.shape, 14)
    region = np.clip((radius * uneven - ball(anatomy, centre)) / rng.uniform(2, 6) + 0.5, 0, 1)
    same_side = np.clip(np.sign(centre[0]) * anatomy.across / 3, 0, 1) * np.clip(anatomy.edge / 2, 0, 1)
    change = np.float32(rng.uniform(-18, -6)) * region * same_side * (1 - anatomy.csf)
    return hu + change.astype(np.float32)


def _hygroma(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fluid between skull and brain that displaces the brain as blood does."""
    return _in_place(anatomy, hu, hygroma(anatomy, rng), rng)


def _motion(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Streaks across some slices, as of motion or of metal, 4 to 14 HU."""
    found = hu.copy()
    numbers = np.flatnonzero(anatomy.drawable)
    turn, wave = rng.uniform(0, np.pi), rng.uniform(4, 20)
    along = (np.cos(turn) * anatomy.across + np.sin(turn) * anatomy.back)[0]
    for number in rng.choice(numbers, max(1, len(numbers) // int(rng.integers(2, 6))), replace=False):
        centre, half = rng.uniform(-60, 60), rng.uniform(10, 50)
        strength = rng.uniform(4, 14) * np.exp(-(((along - centre) / half) ** 2))
        streaks = np.sin(2 * np.pi * along / wave + rng.uniform(0, 6)) * strength
        found[number] += np.where(hu[number] > -300, streaks, 0).astype(np.float32)
    return found


def _noise(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of the series' own grain, as much again as it has, or twice."""
    more = np.float32(rng.uniform(0.5, 1.8))
    return np.stack([one + more * noise_like(anatomy, rng) * (one > -300) for one in hu])


def _blur(anatomy: Anatomy, hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A softer kernel."""
    width = float(rng.uniform(0.5, 1.1))
    return np.stack([cv2.GaussianBlur(one, (0, 0), width) for one in hu])


SHAMS: dict[str, Sham] = {
    "calcium": Sham(apply=_calcium, anywhere=True),
    "dense sinus": Sham(apply=_dense_sinus),
    "bone wedge": Sham(apply=_bone_wedge, anywhere=True),
    "burr hole": Sham(apply=_burr_hole, anywhere=True),
    "infarct": Sham(apply=_infarct),
    "hygroma": Sham(apply=_hygroma),
    "motion": Sham(apply=_motion, anywhere=True),
    "noise": Sham(apply=_noise, anywhere=True),
    "blur": Sham(apply=_blur, anywhere=True),
}


def _in_place(anatomy: Anatomy, hu: np.ndarray, edit: Edit, rng: np.random.Generator) -> np.ndarray:
    """The pixels with what the edit changes of the head as it was."""
    return hu + (paint(anatomy, [edit], rng) - anatomy.hu)


def _blurred(anatomy: Anatomy, share: np.ndarray) -> np.ndarray:
    soft = share.astype(np.float32)
    return np.stack(
        [cv2.GaussianBlur(one, (0, 0), anatomy.psf_pixels * 0.7) if one.any() else one for one in soft]
    )
