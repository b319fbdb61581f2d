"""Blood inside the brain, in its ventricles, and in sulci and cisterns."""

import cv2
import numpy as np

from ich_mlflow.phantom.shapes import smooth_noise
from ich_mlflow.synthesis.anatomy import CSF_HU, Anatomy
from ich_mlflow.synthesis.blood import draw_blood
from ich_mlflow.synthesis.edit import Bleed, Edit, ball, place, through_slices

_INTRAPARENCHYMAL_STYLES = {"acute": 5.0, "faint": 1.5, "mixed": 3.0, "layered": 0.5}
_INTRAVENTRICULAR_STYLES = {"acute": 5.0, "faint": 2.0}
_SUBARACHNOID_STYLES = {"acute": 4.0, "faint": 2.0}
_OEDEMA_HU = (-12.0, -5.0)
#: Half of what a sulcus is across, at the most.
_SULCUS_MM = 3.5
#: Sulci that blood fills show it where it makes them this much brighter.
_SEEN_HU = 10.0


def intraparenchymal(anatomy: Anatomy, rng: np.random.Generator) -> Bleed | None:
    """A lobulated lesion of 5 to 25 mm radius, deep or in a lobe, with a rim of oedema, and one to three of them."""
    radius = float(np.exp(rng.uniform(np.log(5), np.log(25))))
    deep = rng.random() < 0.5
    low, high = (22, 60) if deep else (0.5 * radius + 2, 0.5 * radius + 16)
    within = anatomy.inside & ~anatomy.ventricles & (anatomy.depth > low) & (anatomy.depth < high)
    within &= (np.abs(anatomy.across) > 6 + 0.4 * radius) & (anatomy.down > 18)
    centre = place(anatomy, within, rng)
    if centre is None:
        return None
    distance = _lobulated(anatomy, centre, radius, rng)
    # Contusions come in groups: small ones beside a small one.
    for _ in range(0 if radius > 10 else int(rng.integers(0, 3))):
        beside = place(anatomy, within & (ball(anatomy, centre) < 25), rng)
        if beside is not None:
            distance = np.minimum(distance, _lobulated(anatomy, beside, 0.6 * radius, rng))
    inside_brain = np.maximum(distance, 1.5 - anatomy.edge)
    share = through_slices(anatomy, -inside_brain)
    style, value = draw_blood(anatomy, _INTRAPARENCHYMAL_STYLES, rng, within=inside_brain < 0)
    wide = rng.uniform(0.15, 0.5) * radius + 1
    rim = np.clip(1 - np.maximum(distance, 0) / wide, 0, 1) ** 0.7 * anatomy.inside
    oedema = np.float32(rng.uniform(*_OEDEMA_HU)) * rim * (1 - anatomy.csf) * np.clip(anatomy.edge / 4, 0, 1)
    push = _outward(anatomy, distance, centre, 0.3 * radius, radius)
    edit = Edit(share=share, value=value, added=oedema.astype(np.float32), push=push)
    return Bleed(edit=edit, visible=(share >= 0.5) & anatomy.inside, style=style)


def intraventricular(anatomy: Anatomy, rng: np.random.Generator) -> Bleed | None:
    """Blood that has sunk to the back of the ventricles, on both sides or one; a quarter are casts of a ventricle."""
    if anatomy.ventricles.sum() * anatomy.pixel_mm**2 * anatomy.step_mm < 2500:
        return None
    dark = np.clip((anatomy.brain_hu - anatomy.smooth) / (anatomy.brain_hu - CSF_HU) * 1.4, 0, 1)
    room = _grown(anatomy.ventricles) * dark
    back = anatomy.back[anatomy.ventricles]
    cast = rng.random() < 0.25
    level = np.quantile(back, rng.uniform(0, 0.5) if cast else rng.uniform(0.7, 0.96))
    side = rng.choice([-1, 0, 1], p=[0.25, 0.5, 0.25])
    one_sided = 1.0 if side == 0 else np.clip(side * anatomy.across / 3 + 0.5, 0, 1)
    surface = np.clip((anatomy.back - level) / 1.5 + 0.4 * smooth_noise(rng, room.shape, 10) + 0.5, 0, 1)
    filled = (room * surface * one_sided).astype(np.float32)
    style, value = draw_blood(anatomy, _INTRAVENTRICULAR_STYLES, rng)
    return _in_place_of_csf(anatomy, filled, value, f"{style}, {'cast' if cast else 'level'}")


def subarachnoid(anatomy: Anatomy, rng: np.random.Generator) -> Bleed | None:
    """Blood in place of CSF near the surface: in a sulcus, in those of a region, or in the basal cisterns."""
    outside = anatomy.inside & ~(_grown(anatomy.ventricles) > 0.3) & (anatomy.edge > 1.0)
    amount = _sulci(anatomy) * outside
    surface = amount > 0.5
    basal = rng.random() < 0.3
    if basal:
        surface &= (anatomy.down > 75) & (np.abs(anatomy.across) < 25)
    else:
        surface &= (anatomy.depth < 24) & (anatomy.down > 12)
    centre = place(anatomy, surface, rng)
    if centre is None:
        return None
    radius = rng.uniform(25, 45) if basal else float(np.exp(rng.uniform(np.log(9), np.log(42))))
    region = np.clip(1.2 - ball(anatomy, centre) / radius, 0, 0.4) / 0.4
    clotted = np.clip(1.1 + 0.4 * smooth_noise(rng, anatomy.hu.shape, 14), 0, 1)
    style, value = draw_blood(anatomy, _SUBARACHNOID_STYLES, rng)
    return _in_place_of_csf(anatomy, (amount * region * clotted).astype(np.float32), value, style)


def _in_place_of_csf(anatomy: Anatomy, amount: np.ndarray, value: np.ndarray, style: str) -> Bleed:
    """Blood instead of that share of CSF: what was CSF's part of a pixel's value becomes blood's."""
    added = amount * (value - CSF_HU)
    edit = Edit(share=np.zeros_like(added), value=value, added=added.astype(np.float32))
    visible = (added >= _SEEN_HU) & (anatomy.smooth + added >= anatomy.brain_hu + 4) & anatomy.inside
    return Bleed(edit=edit, visible=visible, style=style)


def _sulci(anatomy: Anatomy) -> np.ndarray:
    """How much of each pixel sulci and cisterns are, 0 to 1: narrow and darker than around, or as dark as CSF.

    White matter is darker than grey, but broad.
    """
    found = np.zeros_like(anatomy.smooth)
    side = 2 * round(_SULCUS_MM / anatomy.pixel_mm) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    for number in np.flatnonzero(anatomy.drawable):
        image = cv2.GaussianBlur(np.minimum(anatomy.smooth[number], anatomy.brain_hu + 10), (0, 0), 0.7)
        darker = cv2.morphologyEx(image, cv2.MORPH_BLACKHAT, disc)
        narrow = np.clip((darker - 5) / 10, 0, 1)
        found[number] = np.maximum(narrow, np.clip((anatomy.brain_hu - 14 - image) / 8, 0, 1))
    return found


def _lobulated(anatomy: Anatomy, centre: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """About the signed distance in mm to a stretched, turned ball whose surface is uneven."""
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    x, y = anatomy.across - centre[0], anatomy.back - centre[1]
    long, short = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / stretch
    tall = (anatomy.down - centre[2]) / rng.uniform(0.7, 1.1)
    distance = np.sqrt(long**2 + short**2 + tall**2)
    field_mm = anatomy.hu.shape[1] * anatomy.pixel_mm
    lobes = [
        smooth_noise(rng, anatomy.hu.shape, int(np.clip(field_mm / (k * radius), 8, 64))) for k in (1.6, 0.7)
    ]
    uneven = 0.28 * lobes[0] + 0.13 * lobes[1]
    ragged = rng.uniform(0.4, 1.6) * smooth_noise(rng, anatomy.hu.shape, 72)
    return (distance - radius * (1 + uneven) + ragged).astype(np.float32)


def _outward(
    anatomy: Anatomy, distance: np.ndarray, centre: np.ndarray, most_mm: float, fade_mm: float
) -> np.ndarray:
    """Tissue around a lesion comes from nearer its centre; the skull holds what lies against it."""
    amount = most_mm * np.exp(-np.maximum(distance, 0) / fade_mm) * np.clip(anatomy.edge / 12, 0, 1)
    x, y = anatomy.across - centre[0], anatomy.back - centre[1]
    length = np.maximum(np.hypot(x, y), 1.0) * anatomy.pixel_mm
    push = []
    for step in ((1, 0), (0, 1)):
        along = [axis[0, step[0], step[1]] - axis[0, 0, 0] for axis in (anatomy.across, anatomy.back)]
        push.append(-amount * (x * along[0] + y * along[1]) / (length * anatomy.pixel_mm))
    return np.stack(push).astype(np.float32)


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask with soft edges, a pixel larger."""
    larger = [cv2.dilate(one.astype(np.float32), np.ones((3, 3), np.uint8)) for one in mask]
    return np.stack([cv2.GaussianBlur(one, (0, 0), 0.7) for one in larger])
