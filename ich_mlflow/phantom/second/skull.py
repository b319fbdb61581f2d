"""Skull, skull base, face and scalp of one plane in Hounsfield units; what is within the skull comes from brain."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.phantom.anatomy import AIR, FAT, MUSCLE, SKIN
from ich_mlflow.phantom.second.patient import Patient
from ich_mlflow.phantom.second.planes import FACE, Planes, bumps_mm
from ich_mlflow.phantom.shapes import ellipsoid_mm, inside, paint

BONE = 1350.0
#: Below this height of the template there is a face to paint, mm.
_FACE_TOP = 8.0


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One of Planes: the same fields, float32 [h, w], and `edge`: over how many mm the inner table is averaged."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    cavity_mm: np.ndarray
    edge: np.ndarray
    texture: np.ndarray
    gyral: np.ndarray

    @classmethod
    def of(cls, planes: Planes, number: int) -> "Plane":
        names = ("x", "y", "z", "cavity_mm", "texture", "gyral")
        slope = planes.slope[number]
        return cls(
            **{name: getattr(planes, name)[number] for name in names}, edge=np.sqrt(0.64 + slope * slope)
        )

    @property
    def xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (self.x, self.y, self.z)

    def ball(
        self, centre: tuple[float, float, float], radii: tuple[float, float, float]
    ) -> np.ndarray | None:
        """ellipsoid_mm, or None where the plane passes it by."""
        lowest, highest = float(self.z.min()), float(self.z.max())
        if not lowest - radii[2] - 3 < centre[2] < highest + radii[2] + 3:
            return None
        return ellipsoid_mm(self.xyz, centre, radii)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Where the harmless findings of the skull are, template mm.

    fracture: a plane's normal and distance, and the point of the skull around which it is broken there. bump: centre
    of the scalp haematoma. flap: centre and radius of the craniotomy.
    """

    fracture: tuple[np.ndarray, float, np.ndarray]
    bump: np.ndarray
    bump_mm: float
    bump_hu: float
    flap: np.ndarray
    flap_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Findings":
        normal, middle = rng.standard_normal(3) * (1, 1, 0.5), on_skull(rng)
        normal /= np.linalg.norm(normal)
        return cls(
            fracture=(normal, float(normal @ middle), middle),
            bump=on_skull(rng),
            bump_mm=float(rng.uniform(4, 14)),
            bump_hu=float(rng.uniform(30, 65)),
            flap=on_skull(rng),
            flap_mm=float(rng.uniform(18, 36)),
        )


def on_skull(rng: np.random.Generator) -> np.ndarray:
    """About a point of the skull above its base, template mm [3]."""
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.8)
    flat = np.sqrt(1 - height**2)
    return np.array([68 * np.cos(angle) * flat, -18 + 84 * np.sin(angle) * flat, 12 + 66 * height])


def paint_skull(plane: Plane, patient: Patient, findings: Findings) -> np.ndarray:
    """HU float32 [h, w] of all but the cavity, which holds what lies around it."""
    # The outer table is smooth whatever the inner one is.
    bumps = bumps_mm(plane.z, plane.gyral, patient.unevenness_mm)
    bone_mm = plane.cavity_mm - bumps - _thickness(plane, patient)
    head_mm = _skin(plane, bone_mm, patient)
    hu = np.full(plane.x.shape, np.float32(AIR))
    _paint_soft_tissue(hu, plane, head_mm)
    if patient.scalp_haematoma:
        head_mm = _paint_bump(hu, plane, bone_mm, head_mm, findings)
    _paint_face_bones(hu, plane, head_mm)
    share = inside(bone_mm, plane.edge)
    share = _less_flap(share, plane, findings) if patient.craniotomy else share
    value = _bone(plane, bone_mm, patient)
    if patient.fracture:
        normal, distance, middle = findings.fracture
        off = sum(n * axis for n, axis in zip(normal, plane.xyz, strict=True)) - distance
        crack = inside(np.abs(off + 1.5 * plane.gyral) - 0.5, 1.0) * (_away(plane, middle) < 45)
        paint(value, 0.8 * crack, 50.0)
    paint(hu, share, value)
    _paint_face(hu, plane, head_mm)
    return hu


def _thickness(plane: Plane, patient: Patient) -> np.ndarray:
    thickness = patient.skull_mm
    # Forehead and occiput are thicker than the temples, which are thin.
    thickness = thickness * (0.7 + 0.45 * np.abs(plane.y + 15) / 80)
    # Between the temporal lobes and the cerebellum lies the petrous bone: the skull base fills the gap.
    base = np.clip((-26 - plane.z) / 8, 0, 1) * (np.abs(plane.x) < 58)
    thickness = thickness + 5 * base * (plane.y < 30) * (plane.y > -45)
    thin: np.ndarray = thickness - 4.0 * np.clip((-40 - plane.z) / 6, 0, 1)
    return thin


def _bone(plane: Plane, bone_mm: np.ndarray, patient: Patient) -> np.ndarray:
    """Cortical bone outside, spongy bone in the middle, which is uneven."""
    thickness = np.maximum(plane.cavity_mm - bone_mm, 1)
    depth = np.clip(plane.cavity_mm / thickness, 0, 1)
    spongy = np.clip(1.15 - np.abs(depth - 0.5) / 0.30, 0, 1) * np.clip((thickness - 3.5) / 3, 0, 1)
    marrow = 450 + 160 * plane.texture
    return BONE + 100 * plane.texture + patient.diploe * spongy * (marrow - BONE)


def _skin(plane: Plane, bone_mm: np.ndarray, patient: Patient) -> np.ndarray:
    """Distance to the skin: scalp around the skull, thicker over the temples; the face; the neck behind."""
    temple = np.clip((np.abs(plane.x) - 45) / 15, 0, 1) * np.clip((22 - plane.z) / 20, 0, 1)
    temple = temple * np.clip((plane.y + 35) / 15, 0, 1) * np.clip((45 - plane.y) / 15, 0, 1)
    skin = bone_mm - patient.scalp_mm - 9 * temple
    for centre, radii in FACE:
        part = plane.ball(centre, radii)
        skin = skin if part is None else np.minimum(skin, part)
    return skin


def _paint_soft_tissue(hu: np.ndarray, plane: Plane, head_mm: np.ndarray) -> None:
    depth = np.clip((-head_mm - 3.0) / 2, 0, 1)
    where = np.clip((np.abs(plane.x) - 45) / 6, 0, 1) * np.clip((24 - plane.z) / 6, 0, 1)
    where = where + np.clip((-28 - plane.z) / 6, 0, 1)
    muscle = np.clip(depth * where * (0.8 + 0.9 * np.abs(plane.texture)), 0, 1)
    paint(hu, inside(head_mm, 1.5), FAT + (MUSCLE - FAT) * muscle)
    paint(hu, inside(head_mm) * (1 - inside(head_mm + 1.8)), SKIN)


def _paint_bump(
    hu: np.ndarray, plane: Plane, bone_mm: np.ndarray, head_mm: np.ndarray, findings: Findings
) -> np.ndarray:
    """Blood under the scalp, which it lifts; return the new distance to the skin."""
    lift = findings.bump_mm * np.exp(-((_away(plane, findings.bump) / 24) ** 2))
    lifted = head_mm - lift
    paint(hu, inside(lifted) * (1 - inside(head_mm)), SKIN)
    clot = inside(lifted + 2.5, 2.0) * (1 - inside(bone_mm, 1.5)) * np.clip(lift / 2 - 0.5, 0, 1)
    paint(hu, clot * np.clip(0.8 + 0.3 * plane.texture, 0, 1), findings.bump_hu)
    return lifted


def _less_flap(share: np.ndarray, plane: Plane, findings: Findings) -> np.ndarray:
    """The skull with the cut around a bone flap, and a hole of the burr on it."""
    away = _away(plane, findings.flap)
    cut = inside(np.abs(away - findings.flap_mm) - 1.2, 1.5)
    burr = inside(np.abs(away - findings.flap_mm) - 5, 1.5) * (
        plane.z > findings.flap[2] + 0.7 * findings.flap_mm
    )
    return share * (1 - np.maximum(cut, burr))


def _paint_face_bones(hu: np.ndarray, plane: Plane, head_mm: np.ndarray) -> None:
    if plane.z.min() > _FACE_TOP:
        return
    shells = [np.abs(part) - 1.3 for part in (_orbits(plane, 0), _air(plane)) if part is not None]
    solid = _union(plane, _FACE_BONES)
    neck = plane.ball((0, -30, -82), (20, 18, 30))
    parts = [*shells, solid, None if neck is None else np.abs(neck) - 3.5]
    for part in parts:
        if part is not None:
            share = inside(part) * inside(head_mm + 4) * (plane.z < -12)
            paint(hu, share, 900 + 150 * plane.texture)


def _paint_face(hu: np.ndarray, plane: Plane, head_mm: np.ndarray) -> None:
    """Orbits and air, in what bone and soft tissue are there."""
    if plane.z.min() > _FACE_TOP:
        return
    outside = 1 - inside(plane.cavity_mm - 1.5, plane.edge)
    for part, value, depth in (
        (_orbits(plane, 0), FAT, 0),
        (_orbits(plane, 1), 14.0, 0),
        (_air(plane), AIR, 5),
    ):
        if part is not None:
            paint(hu, inside(part, 1.5) * outside * inside(head_mm + depth), value)


def _orbits(plane: Plane, globe: int) -> np.ndarray | None:
    y, radii = ((57, (17, 24, 16)), (66, (12, 12, 12)))[globe]
    return _union(plane, [((side * 32, y, -31), radii) for side in (-1, 1)])


def _air(plane: Plane) -> np.ndarray | None:
    """Sinuses, nose, pharynx and mastoids, parted into cells by thin walls."""
    found = _union(plane, _AIR_CELLS)
    return None if found is None else found + 3.0 * np.maximum(0, plane.texture)


Ball = tuple[tuple[float, float, float], tuple[float, float, float]]


def _union(plane: Plane, balls: list[Ball]) -> np.ndarray | None:
    found = [part for part in (plane.ball(*one) for one in balls) if part is not None]
    return np.minimum.reduce(found) if found else None


def _away(plane: Plane, centre: np.ndarray) -> np.ndarray:
    squares = sum((axis - c) ** 2 for axis, c in zip(plane.xyz, centre, strict=True))
    return np.asarray(np.sqrt(squares))


def _both(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> list[Ball]:
    return [((side * centre[0], *centre[1:]), radii) for side in (-1, 1)]


_AIR_CELLS: list[Ball] = [
    ((0, 60, -48), (9, 26, 24)),  # nose and ethmoid
    ((0, 24, -43), (11, 10, 9)),  # sphenoid sinus
    ((0, 5, -78), (14, 9, 22)),  # pharynx
    *_both((29, 52, -60), (14, 17, 17)),  # maxillary sinus
    *_both((54, -28, -44), (9, 13, 13)),  # mastoid
    *_both((10, 78, -8), (9, 4, 9)),  # frontal sinus
    *_both((66, -12, -44), (14, 3, 3)),  # ear canal
]
_FACE_BONES: list[Ball] = [
    ((0, 45, -84), (26, 34, 5)),  # palate
    *_both((49, 8, -72), (4.5, 14, 32)),  # jaw
    *_both((56, 40, -46), (4, 22, 6)),  # cheek bone
]
