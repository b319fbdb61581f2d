"""The head at several depths of every slice: a slice is the mean over its thickness, not a plane."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ich_mlflow.phantom.grid import Geometry, Pose, template_mm
from ich_mlflow.phantom.shapes import ellipsoid_mm, smooth_noise
from ich_mlflow.phantom.template import DISTANCE_STEP, Template, smooth_cavity_mm

#: Planes a slice. Between them surfaces are averaged by their slope, so that two do for 5 mm.
DEPTHS = 2
#: What the face has beyond the skull: centre and radii, template mm.
FACE = (((0, 27, -62), (66, 68, 62)), ((0, 84, -50), (14, 18, 24)), ((0, -38, -85), (62, 58, 70)))
#: Skull and scalp at their thickest, mm outside the inner table.
_COVER_MM = 32.0
#: So far outside the inner table nothing of the brain is seen, mm.
_BEYOND_MM = 4.0


@dataclass(frozen=True, kw_only=True)
class Planes:
    """The template on `DEPTHS` planes a slice, at half the scan's resolution, cropped to the head; float32 [p, h, w].

    x, y, z: template mm. cavity_mm: distance to the inner table, negative inside. slope: how much of it changes
    through a plane's thickness, mm. rows, columns: where the crop lies in a whole plane. texture, gyral: smooth
    noise, of about 5 and 12 mm.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    cavity_mm: np.ndarray
    slope: np.ndarray
    texture: np.ndarray
    gyral: np.ndarray
    rows: slice
    columns: slice

    @property
    def xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (self.x, self.y, self.z)


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What is within the skull of Planes, after displacement: tissue, white, ventricle_mm as in Template."""

    tissue: np.ndarray
    white: np.ndarray
    ventricle_mm: np.ndarray


def sample_planes(
    template: Template, geometry: Geometry, pose: Pose, unevenness_mm: float, rng: np.random.Generator
) -> Planes:
    """Sample where the planes lie, after the pose and a smooth random warp, and the inner table there."""
    thin = replace(geometry, num_slices=geometry.num_slices * DEPTHS, step_mm=geometry.step_mm / DEPTHS)
    whole = template_mm(thin, pose)
    rows, columns = _crop(template, whole)
    x, y, z = (np.ascontiguousarray(axis[:, rows, columns]) for axis in whole)
    for axis in (x, y, z):
        axis += np.float32(2.5) * smooth_noise(rng, axis.shape, 5)
    cavity = sampled(template, smooth_cavity_mm(), (x, y, z), 200, step=DISTANCE_STEP)
    texture, gyral = (smooth_noise(rng, x.shape, knots).astype(np.float32) for knots in (44, 18))
    cavity += bumps_mm(z, gyral, unevenness_mm)
    slope = np.abs(np.gradient(cavity, axis=0))
    return Planes(
        x=x, y=y, z=z, cavity_mm=cavity, slope=np.minimum(slope, thin.step_mm), texture=texture, gyral=gyral,
        rows=rows, columns=columns,
    )  # fmt: skip


def bumps_mm(z: np.ndarray, gyral: np.ndarray, unevenness_mm: float) -> np.ndarray:
    """How far the inner table is off a smooth one, mm: gyri press into it, and the skull's floor is ridged."""
    ridged = np.clip((-8 - z) / 10, 0, 1)
    bumps: np.ndarray = np.float32(unevenness_mm) * (1 + 2.5 * ridged) * gyral
    return bumps


def sample_tissue(
    template: Template, planes: Planes, push: list[np.ndarray] | None, rng: np.random.Generator
) -> Tissue:
    """Sample brain and ventricles at the planes, drawn from `push` template mm [3] farther on; None: nothing pushes."""
    shape = planes.x.shape
    # Bone and air hold no tissue, and they are more than half.
    within = planes.cavity_mm < _BEYOND_MM
    xyz = [axis[within] for axis in planes.xyz]
    if push is not None:
        xyz = [axis + p[within] for axis, p in zip(xyz, push, strict=True)]
    fine = [axis + np.float32(0.9) * smooth_noise(rng, shape, 22)[within] for axis in xyz]

    def spread(values: np.ndarray, outside: float) -> np.ndarray:
        whole = np.full(shape, np.float32(outside))
        whole[within] = values
        return whole

    return Tissue(
        tissue=spread(sampled(template, template.tissue, fine, 0), 0),
        white=spread(sampled(template, template.white, fine, 0), 0),
        ventricle_mm=spread(sampled(template, template.ventricle_mm, xyz, 200, step=DISTANCE_STEP), 200),
    )


def sampled(
    template: Template,
    values: np.ndarray,
    xyz: list[np.ndarray] | tuple[np.ndarray, ...],
    outside: float,
    *,
    step: int = 1,
) -> np.ndarray:
    """A map of the template, of `step` mm a voxel, at template millimetres."""
    at = np.stack(
        [(axis - np.float32(o)) / np.float32(step) for axis, o in zip(xyz, template.origin, strict=True)]
    )
    return ndimage.map_coordinates(values, at, order=1, mode="constant", cval=outside, prefilter=False)


def _crop(template: Template, whole: list[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns of the whole planes that hold the head, some pixels more on each side."""
    every = max(1, whole[0].shape[1] // 32)
    few = [axis[::4, ::every, ::every] for axis in whole]
    head: np.ndarray = sampled(template, template.cavity_mm, few, 200, step=DISTANCE_STEP) < _COVER_MM
    for centre, radii in FACE:
        head = np.logical_or(head, ellipsoid_mm(few, centre, radii) < 4)
    size = whole[0].shape[1]

    def span(places: np.ndarray) -> slice:
        found = np.flatnonzero(places)
        if not len(found):
            return slice(0, size)
        return slice(max(0, (found[0] - 1) * every), min(size, (found[-1] + 2) * every))

    return span(np.asarray(head.any(axis=(0, 2)))), span(np.asarray(head.any(axis=(0, 1))))
