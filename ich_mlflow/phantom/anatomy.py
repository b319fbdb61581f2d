"""One patient's head in Hounsfield units.

Typical attenuation (Hounsfield units at 120 kV): fat -100 to -60, CSF 0 to 10, white matter 25 to 32, grey
matter 35 to 42, blood vessels and falx 45 to 55, muscle 50 to 60, diploe 300 to 700, cortical bone above 900.
Source: Kamalian et al., Handb Clin Neurol 135 (2016), ch. 1; Osborn's Brain (2017).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom.grid import COARSE, Head
from ich_mlflow.phantom.shapes import ellipsoid_mm, inside, paint, smooth_noise

AIR, FAT, SKIN, MUSCLE, CSF, FALX, DIPLOE, BONE = -1000.0, -80.0, 30.0, 55.0, 6.0, 50.0, 550.0, 1300.0


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What differs from patient to patient. Lengths in mm, attenuation in HU.

    atrophy        shrinks the brain: 0 (young) to 0.35 (old)
    ventricle_mm   the ventricles' walls move outward by this
    skull_mm, scalp_mm   thickness
    grey, white    attenuation
    calcified      pineal gland and choroid plexus hold calcium
    """

    atrophy: float
    ventricle_mm: float
    skull_mm: float
    scalp_mm: float
    grey: float
    white: float
    calcified: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Patient":
        age = rng.random()
        return cls(
            atrophy=0.02 + 0.25 * age * rng.random(),
            ventricle_mm=-0.8 + 3.2 * age * rng.random(),
            skull_mm=rng.uniform(5.0, 8.0),
            scalp_mm=rng.uniform(4.0, 7.5),
            grey=rng.uniform(36.0, 39.5),
            white=rng.uniform(27.0, 30.0),
            calcified=bool(rng.random() < 0.3 + 0.5 * age),
        )


@dataclass(frozen=True)
class Fields:
    """What the head of one patient is painted from: signed distances in mm and shares, float32 [n, h, w].

    brain: share of tissue, 0 to 1, after atrophy. bone_mm: outer table. head_mm: skin. face_bone_mm, air_mm,
    orbit_mm, globe_mm: the face below the skull. texture: smooth noise.
    """

    head: Head
    brain: np.ndarray
    white: np.ndarray
    cavity_mm: np.ndarray
    ventricle_mm: np.ndarray
    bone_mm: np.ndarray
    head_mm: np.ndarray
    face_bone_mm: np.ndarray
    air_mm: np.ndarray
    orbit_mm: np.ndarray
    globe_mm: np.ndarray
    texture: np.ndarray


def build_fields(head: Head, patient: Patient, rng: np.random.Generator) -> Fields:
    """The fields of one patient at half the scan's resolution."""
    shape = head.x.shape
    texture = smooth_noise(rng, shape, 48)
    thickness = patient.skull_mm * (1 + 0.12 * smooth_noise(rng, shape, 8))
    # Forehead and occiput are thicker than the temples.
    thickness = thickness * (0.8 + 0.35 * np.abs(head.y + 15) / 80)
    bone_mm = head.cavity_mm - thickness
    # Between the temporal lobes and the cerebellum lies the petrous bone: the skull base fills the gap.
    base = np.clip((-26 - head.z) / 8, 0, 1) * (np.abs(head.x) < 58)
    bone_mm = bone_mm - 5 * base * (head.y < 30) * (head.y > -45)
    # The floor of the skull is thin: a shell of even thickness would show as a ball below each rounded end.
    bone_mm = bone_mm + 4.0 * np.clip((-40 - head.z) / 6, 0, 1)
    air = _union([ellipsoid_mm(head.xyz, c, r) for c, r in _air_cells()])
    # Thin walls part the air of the mastoid and the ethmoid into cells.
    air = air + 3.0 * np.maximum(0, texture)
    orbit_mm, globe_mm = (
        _union([ellipsoid_mm(head.xyz, (s * 32, y, -31), r) for s in (-1, 1)])
        for y, r in ((57, (17, 24, 16)), (66, (12, 12, 12)))
    )
    # Shrinking brain widens sulci first: what is tissue by little becomes CSF.
    brain = np.clip((head.tissue - 0.32 - patient.atrophy) / 0.38, 0, 1)
    return Fields(
        head=head,
        brain=brain,
        white=head.white / np.maximum(head.tissue, 0.05),
        cavity_mm=head.cavity_mm,
        ventricle_mm=head.ventricle_mm - patient.ventricle_mm,
        bone_mm=bone_mm,
        head_mm=_skin(head, bone_mm, patient),
        face_bone_mm=_union([np.minimum(np.abs(orbit_mm), np.abs(air)) - 1.3, *_face_bones(head)]),
        air_mm=air,
        orbit_mm=orbit_mm,
        globe_mm=globe_mm,
        texture=texture,
    )


def paint_head(fields: Fields, patient: Patient, number: int) -> np.ndarray:
    """HU float32 [rows, rows] of slice `number`, without bleeds: painted from the skin inward."""
    f = {name: upsample(getattr(fields, name)[number]) for name in _PAINTED}
    x, y, z = (upsample(axis[number]) for axis in fields.head.xyz)
    hu = np.full(x.shape, np.float32(AIR))
    _paint_soft_tissue(hu, f, x, z, patient)
    outside = 1 - inside(f["cavity_mm"])
    paint(hu, inside(f["face_bone_mm"]) * inside(f["head_mm"] + 4) * (z < -12), 900 + 150 * f["texture"])
    _paint_skull(hu, f)
    paint(hu, inside(f["orbit_mm"]) * outside, FAT)
    paint(hu, inside(f["globe_mm"]) * outside, 14.0)
    paint(hu, inside(f["air_mm"]) * outside * inside(f["head_mm"] + 5), AIR)
    _paint_brain(hu, f, patient)
    _paint_midline(hu, f, x, y, z, patient)
    return hu


def upsample(coarse: np.ndarray) -> np.ndarray:
    """[h, w] to [2h, 2w], bilinear."""
    height, width = coarse.shape
    return cv2.resize(coarse, (width * COARSE, height * COARSE), interpolation=cv2.INTER_LINEAR)


_PAINTED = (
    "brain", "white", "cavity_mm", "ventricle_mm", "bone_mm", "head_mm", "face_bone_mm", "air_mm", "orbit_mm",
    "globe_mm", "texture",
)  # fmt: skip


def _paint_soft_tissue(
    hu: np.ndarray, f: dict[str, np.ndarray], x: np.ndarray, z: np.ndarray, patient: Patient
) -> None:
    # Muscle lies under the temples and below the skull, fat elsewhere under the skin.
    depth = np.clip((-f["head_mm"] - 3.5) / 2, 0, 1)
    where = np.clip((np.abs(x) - 48) / 6, 0, 1) * (z < 15) + np.clip((-28 - z) / 6, 0, 1)
    muscle = np.clip(depth * where * (0.8 + 0.9 * np.abs(f["texture"])), 0, 1)
    paint(hu, inside(f["head_mm"]), FAT + (MUSCLE - FAT) * muscle)
    skin = inside(f["head_mm"]) * (1 - inside(f["head_mm"] + 1.8))
    paint(hu, skin, SKIN)


def _paint_skull(hu: np.ndarray, f: dict[str, np.ndarray]) -> None:
    thickness = np.maximum(f["cavity_mm"] - f["bone_mm"], 1)
    depth = np.clip(f["cavity_mm"] / thickness, 0, 1)
    spongy = np.clip(1 - np.abs(depth - 0.5) / 0.22, 0, 1) * np.clip((thickness - 3.5) / 3, 0, 1)
    value = BONE + (DIPLOE - BONE) * spongy + 120 * f["texture"]
    paint(hu, inside(f["bone_mm"]) * (1 - inside(f["cavity_mm"])), value)


def _paint_brain(hu: np.ndarray, f: dict[str, np.ndarray], patient: Patient) -> None:
    tissue = patient.grey + (patient.white - patient.grey) * np.clip(f["white"] * 1.15 - 0.08, 0, 1)
    brain = CSF + (tissue - CSF) * f["brain"]
    paint(brain, inside(f["ventricle_mm"], 1.5), CSF)
    # What scanners leave of beam hardening makes brain brighter towards the bone.
    brain += 4.0 * np.exp(np.minimum(f["cavity_mm"], 0) / 6)
    paint(hu, inside(f["cavity_mm"]), brain)


def _paint_midline(
    hu: np.ndarray, f: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, z: np.ndarray, patient: Patient
) -> None:
    cavity = inside(f["cavity_mm"])
    depth = -f["cavity_mm"]
    falx = inside(np.abs(x) - 0.9, 1.2) * (depth < np.where(y < -20, 40, 26)) * (z > -4) * cavity
    paint(hu, 0.7 * falx, FALX)
    sinus = inside(np.abs(x) + depth - 6.5, 2.0) * ((y < -25) | (z > 45)) * (z > 0) * cavity
    paint(hu, 0.8 * sinus, 53.0)
    if patient.calcified:
        places = [(0, -31, 2, 2.2, 2.2), (-25, -44, 10, 3, 2), (25, -44, 10, 2.4, 2)]
        for cx, cy, cz, radius, height in places:
            spot = ellipsoid_mm((x, y, z), (cx, cy, cz), (radius, radius, height))
            paint(hu, inside(spot, 1.5), 160.0)


def _skin(head: Head, bone_mm: np.ndarray, patient: Patient) -> np.ndarray:
    """Distance to the skin: scalp around the skull, the face in front of its base, the neck behind."""
    parts = [
        bone_mm - patient.scalp_mm,
        ellipsoid_mm(head.xyz, (0, 27, -62), (66, 68, 62)),
        ellipsoid_mm(head.xyz, (0, 84, -50), (14, 18, 24)),
        ellipsoid_mm(head.xyz, (0, -38, -85), (62, 58, 70)),
    ]
    return _union(parts)


def _air_cells() -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Centre and radii of the air in the head, template mm: sinuses, nose, pharynx, mastoids."""
    cells: list[tuple[tuple[float, float, float], tuple[float, float, float]]] = [
        ((0, 60, -48), (9, 26, 24)),  # nose and ethmoid
        ((0, 24, -43), (11, 10, 9)),  # sphenoid sinus
        ((0, 5, -78), (14, 9, 22)),  # pharynx
    ]
    for side in (-1, 1):
        cells.append(((side * 29, 52, -60), (14, 17, 17)))  # maxillary sinus
        cells.append(((side * 54, -28, -44), (9, 13, 13)))  # mastoid
        cells.append(((side * 10, 78, -8), (9, 4, 9)))  # frontal sinus
        cells.append(((side * 66, -12, -44), (14, 3, 3)))  # ear canal
    return cells


def _face_bones(head: Head) -> list[np.ndarray]:
    """Jaw, cheek bones, palate and the first vertebra, as signed distances in mm."""
    bones = [
        ellipsoid_mm(head.xyz, (0, 45, -84), (26, 34, 5)),
        np.abs(ellipsoid_mm(head.xyz, (0, -30, -82), (20, 18, 30))) - 3.5,
    ]
    for side in (-1, 1):
        bones.append(ellipsoid_mm(head.xyz, (side * 49, 8, -72), (4.5, 14, 32)))
        bones.append(ellipsoid_mm(head.xyz, (side * 56, 40, -46), (4, 22, 6)))
    return bones


def _union(distances: Sequence[np.ndarray]) -> np.ndarray:
    nearest = distances[0]
    for distance in distances[1:]:
        nearest = np.minimum(nearest, distance)
    return nearest
