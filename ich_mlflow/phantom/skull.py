"""What lies around the cranial cavity: skull with diploe, scalp, and below them face and neck."""

import numpy as np

from ich_mlflow.phantom.anatomy import Head, Patient
from ich_mlflow.phantom.atlas import Atlas
from ich_mlflow.phantom.face import paint_face
from ich_mlflow.phantom.geometry import edge, slab_width, smooth_noise

AIR_HU = -1000
FAT_HU = -85
SKIN_HU = 30
MUSCLE_HU = 56
TABLE_HU = 1350  # outer and inner table
DIPLOE_HU = 520


def outside_hu(atlas: Atlas, head: Head, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """HU of everything outside the inner table, float32 [N, H, W] (inside it, the skull's HU goes on)."""
    x, y, z = head.mni
    skull_mm = _skull_thickness(head, patient, rng)
    texture = smooth_noise(rng, head.shape, cells=(head.shape[0], 40, 40))
    low = z < -12
    skin = atlas.hull.at(head.mni) - skull_mm - np.float32(patient.scalp_mm)
    skin -= 1.5 * smooth_noise(rng, head.shape, cells=(4, 5, 5))
    np.minimum(skin, _lower_head(x, y, z), out=skin, where=low)
    hu = np.full(head.shape, AIR_HU, dtype=np.float32)
    soft = np.where(low, np.where(texture + _muscle_bias(x, y, z) > 0, MUSCLE_HU, FAT_HU), FAT_HU)
    temporalis = (np.abs(x) > 48) & (y > -20) & (y < 48) & (z < 32) & (head.inner_mm < skull_mm + 5)
    soft = np.where(temporalis, MUSCLE_HU, soft)
    soft = np.where(skin > -2.0, SKIN_HU, soft)
    body = edge(skin, slab_width(skin, pixel_mm=head.pixel_mm, slice_mm=head.slice_mm))
    hu += body * (soft - hu)
    bone_mm = skull_mm + np.where(low, 1.5, 0).astype(np.float32)
    hu = _lay_bone(hu, head, bone_mm, texture)
    if low.any():
        slices = np.flatnonzero(low.any(axis=(1, 2)))
        lowest = slice(slices[0], slices[-1] + 1)
        paint_face(
            hu[lowest], head.mni[:, lowest], head.inner_mm[lowest], skin[lowest], texture[lowest]
        )
    return hu


def _skull_thickness(head: Head, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Thickness in mm: more at the forehead and the occiput, less at the temples, uneven everywhere."""
    x, y, z = head.mni
    ends = np.clip(np.abs(y + 16) / 85, 0, 1.2) ** 2
    temples = np.exp(-(((np.abs(x) - 68) / 18) ** 2) - ((z + 5) / 24) ** 2)
    uneven = 0.09 * smooth_noise(rng, head.shape, cells=(6, 8, 8))
    return (patient.skull_mm * np.clip(0.82 + 0.34 * ends - 0.38 * temples + uneven, 0.35, 1.8)).astype(np.float32)


def _lay_bone(hu: np.ndarray, head: Head, bone_mm: np.ndarray, texture: np.ndarray) -> np.ndarray:
    outer = head.inner_mm - bone_mm
    width = slab_width(head.inner_mm, pixel_mm=head.pixel_mm, slice_mm=head.slice_mm)
    to_table = np.minimum(head.inner_mm, -outer)
    diploe = np.clip((to_table - 1.3) / 1.2, 0, 1)
    bone = TABLE_HU + (DIPLOE_HU - TABLE_HU) * diploe + 60 * texture
    return hu + edge(outer, width) * (bone - hu)


def _lower_head(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Signed distance in mm, roughly, to the surface of face, nose and neck; negative inside."""
    face = _ellipsoid((x, y, z), (0, 22, -48), (66, 76, 70))
    neck = _ellipsoid((x, y, z), (0, -42, -90), (62, 56, 80))
    nose_width = 10 + 0.25 * (-40 - z)
    nose = np.maximum(np.abs(x) - nose_width * np.clip((104 - y) / 20, 0.2, 1), y - (94 + 0.35 * (-40 - z)))
    nose = np.maximum(nose, np.maximum(60 - y, z + 28))
    return np.minimum(np.minimum(face, neck), nose)


def _ellipsoid(
    mni: tuple[np.ndarray, ...], center: tuple[float, float, float], axes: tuple[float, float, float]
) -> np.ndarray:
    squares = sum(((p - c) / a) ** 2 for p, c, a in zip(mni, center, axes, strict=True))
    return (np.sqrt(squares) - 1) * np.float32(min(axes))


def _muscle_bias(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where soft tissue is muscle rather than fat: above 0 mostly muscle (nape, jaw), below mostly fat (cheeks)."""
    return np.where(y < 20, 0.8, -0.4) - 0.3 * (np.abs(x) > 66)
