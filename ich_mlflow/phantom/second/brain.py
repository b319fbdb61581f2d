"""What lies within the skull: brain, ventricles, vessels, sinuses, tentorium, calcium, old infarcts."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.phantom.anatomy import CSF
from ich_mlflow.phantom.second.patient import Patient
from ich_mlflow.phantom.second.planes import Planes, Tissue
from ich_mlflow.phantom.second.skull import Plane
from ich_mlflow.phantom.shapes import ellipsoid_mm, inside, paint

#: Calcium, HU at its densest; partial volume takes it from there.
_CALCIUM = 220.0
#: How far below the inner table a full brain has no more CSF than a line, mm.
_FULL_MM = 20.0


@dataclass(frozen=True, kw_only=True)
class Infarct:
    """An old infarct: centre and radius, template mm, and how much of the brain there is fluid."""

    centre: np.ndarray
    radius_mm: float
    share: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Infarct":
        side = rng.choice([-1.0, 1.0])
        place = (side * rng.uniform(12, 55), rng.uniform(-70, 45), rng.uniform(-10, 45))
        return cls(
            centre=np.array(place), radius_mm=float(rng.uniform(5, 28)), share=float(rng.uniform(0.3, 0.95))
        )


def brain_share(planes: Planes, tissue: Tissue, patient: Patient) -> np.ndarray:
    """Share of brain, not CSF, float32 [p, h, w]: sulci wide in the old, hardly there in the young."""
    shrunk = np.clip((tissue.tissue - 0.32 - patient.atrophy) / 0.38, 0, 1)
    if patient.fullness <= 0:
        return shrunk
    depth = -planes.cavity_mm
    near = np.clip((_FULL_MM + 6 - depth) / 6, 0, 1) * np.clip(depth / 1.5 + 0.6, 0, 1)
    # The cisterns around the brain stem stay, and so does the fissure between the hemispheres' ends.
    cisterns = np.clip(1.2 - ellipsoid_mm(planes.xyz, (0, -6, -22), (24, 40, 18)) / 8, 0, 1)
    uneven = np.clip(1 + 0.25 * planes.texture, 0, 1)
    filled: np.ndarray = shrunk + (1 - shrunk) * patient.fullness * near * (1 - cisterns) * uneven
    return filled


def paint_brain(
    plane: Plane,
    brain: np.ndarray,
    white: np.ndarray,
    ventricle_mm: np.ndarray,
    patient: Patient,
    infarct: Infarct,
) -> np.ndarray:
    """HU float32 [h, w] of the cavity as if it went on everywhere; white: share of white in the tissue."""
    tissue = patient.grey + (patient.white - patient.grey) * np.clip(white * 1.15 - 0.08, 0, 1)
    tissue = tissue + 0.7 * plane.gyral
    if patient.infarct:
        away = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(plane.xyz, infarct.centre, strict=True)))
        gone = inside(away - infarct.radius_mm * (1 + 0.25 * plane.gyral), 5.0) * infarct.share
        tissue = tissue + gone * (CSF + 3 - tissue)
    hu: np.ndarray = CSF + (tissue - CSF) * brain
    paint(hu, inside(ventricle_mm - patient.ventricle_mm, 2.0), CSF)
    # What scanners leave of beam hardening makes brain brighter towards the bone.
    hu += patient.cupping * np.exp(np.minimum(plane.cavity_mm, 0) / 6)
    _paint_membranes(hu, plane, patient)
    _paint_vessels(hu, plane, patient)
    _paint_calcium(hu, plane, patient)
    return hu


def tentorium_height(side: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the tentorium, template mm, at |x| and y: a tent whose ridge falls backwards: slices show a V."""
    height: np.ndarray = 6 - 0.45 * side + 0.3 * (y + 45)
    return height


def _paint_membranes(hu: np.ndarray, plane: Plane, patient: Patient) -> None:
    """Falx, tentorium, the sagittal and transverse sinuses: dense, and where they are oblique, broad."""
    x, y, z, depth = np.abs(plane.x + 0.6 * plane.gyral), plane.y, plane.z, -plane.cavity_mm
    falx = inside(x - 0.9, 1.4) * (depth < np.where(y < -20, 42, 28)) * np.clip((z + 4) / 4, 0, 1)
    paint(hu, 0.75 * falx, patient.tentorium)
    sagittal = inside(x + 0.9 * depth - 6.0, 2.5) * np.clip((z - 2) / 4, 0, 1)
    paint(hu, 0.85 * sagittal * np.clip((40 - y) / 20, 0.3, 1), patient.sinus)
    if z.min() > 22 or z.max() < -45:
        return
    # A tent: highest in the middle, lowest at the skull, from the petrous ridge to the occiput.
    sheet = z - tentorium_height(x, y)
    slope = inside(np.abs(sheet) - 0.7, 2.6)
    tent = slope * (y < -20) * np.clip((x + np.maximum(-28 - y, 0) * 1.5 - 12) / 4, 0, 1)
    paint(hu, 0.6 * tent, patient.tentorium)
    straight = inside(np.hypot(x, sheet) - 2.2, 2.0) * (y < -40)
    transverse = inside(np.hypot(sheet, np.minimum(depth - 2.5, 4)) - 3.8, 2.5) * (y < -32)
    paint(hu, 0.85 * np.maximum(straight, transverse), patient.sinus)


def _paint_vessels(hu: np.ndarray, plane: Plane, patient: Patient) -> None:
    """Veins under the skull, the basilar and the middle cerebral arteries."""
    depth = -plane.cavity_mm
    veins = np.clip((plane.texture - 1.7) * 2, 0, 1) * inside(np.abs(depth - 3) - 1.5, 1.5)
    paint(hu, 0.8 * veins, patient.sinus)
    value = 130.0 if patient.calcified_vessels else patient.sinus - 4
    basilar = plane.ball((0, -20, -26), (2.0, 2.0, 12))
    if basilar is not None:
        paint(hu, 0.8 * inside(basilar, 1.5), value)
    if abs(float(np.median(plane.z)) + 17) < 25:
        x = np.abs(plane.x)
        middle = np.hypot(plane.y - 2 + 0.10 * (x - 20), plane.z + 17 - 0.12 * x)
        artery = inside(middle - 1.5, 1.5) * (x > 6) * (x < 34)
        paint(hu, 0.75 * artery, patient.sinus - 4)
        if patient.calcified_vessels:
            siphon = np.hypot(x - 9, plane.y - 5) - 1.6
            paint(hu, inside(siphon, 1.2) * inside(np.abs(plane.z + 22) - 4), _CALCIUM)


def _paint_calcium(hu: np.ndarray, plane: Plane, patient: Patient) -> None:
    places: list[tuple[tuple[float, float, float], tuple[float, float, float]]] = []
    if patient.calcified_pineal:
        places += [
            ((0, -31, 2), (2.2, 2.2, 2.2)),
            ((-25, -44, 10), (3, 3, 2)),
            ((25, -44, 10), (2.4, 2.4, 2)),
        ]
    if patient.calcified_ganglia:
        places += [((side * 18, 2, 0), (3.5, 6, 3)) for side in (-1, 1)]
    if patient.calcified_falx:
        places += [((0, 38, 34), (1.8, 9, 6)), ((0.5, -8, 52), (1.6, 12, 4))]
    for centre, radii in places:
        spot = plane.ball(centre, radii)
        if spot is not None:
            paint(hu, inside(spot + 0.6 * plane.texture, 1.8), _CALCIUM)
