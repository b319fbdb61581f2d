"""Where the pixels of a scan lie, in the patient (DICOM) and in the template."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ich_mlflow.phantom.shapes import smooth_noise
from ich_mlflow.phantom.template import DISTANCE_STEP, Template

#: Anatomy is sampled at half the scan's resolution: the maps have 1 mm voxels, a pixel has about 0.45 mm.
COARSE = 2


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A stack of parallel slices. The table moves along z; the gantry is tilted about x.

    rows, pixel_mm    rows and columns of the square image; distance between pixels
    num_slices, step_mm   slices; table movement between them
    tilt_degrees      gantry tilt
    """

    rows: int
    pixel_mm: float
    num_slices: int
    step_mm: float
    tilt_degrees: float

    @property
    def orientation(self) -> tuple[float, ...]:
        """ImageOrientationPatient: direction cosines of a row and a column (DICOM PS3.3 C.7.6.2.1.1)."""
        tilt = np.deg2rad(self.tilt_degrees)
        return (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(-np.sin(tilt)))

    def position(self, number: int) -> tuple[float, float, float]:
        """ImagePositionPatient of a slice, mm, slice 0 lowest: the centre of its first pixel."""
        half = (self.rows - 1) / 2 * self.pixel_mm
        column = np.array(self.orientation[3:])
        height = (number - (self.num_slices - 1) / 2) * self.step_mm
        first = np.array([-half, 0.0, height]) - half * column
        return (float(first[0]), float(first[1]), float(first[2]))


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a patient's head differs from the template and lies in the scanner.

    linear [3, 3]: scanner millimetres (right-anterior-superior) to template millimetres; centre [3]: template
    millimetres at the middle of the stack.
    """

    linear: np.ndarray
    centre: np.ndarray


@dataclass(frozen=True)
class Head:
    """The template sampled on a scan's grid at half its resolution; all float32 [n, h, w].

    x, y, z: template millimetres. tissue, white, cavity_mm, ventricle_mm: as in Template.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    tissue: np.ndarray
    white: np.ndarray
    cavity_mm: np.ndarray
    ventricle_mm: np.ndarray

    @property
    def xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (self.x, self.y, self.z)


def sample_head(template: Template, geometry: Geometry, pose: Pose, rng: np.random.Generator) -> Head:
    """Sample the template at the scan's pixels after the pose and a smooth random warp of some millimetres."""
    xyz = template_mm(geometry, pose)
    shape = xyz[0].shape
    for axis in xyz:
        axis += 2.5 * smooth_noise(rng, shape, 5)
    at = np.stack([axis - o for axis, o in zip(xyz, template.origin, strict=True)])
    coarse = at / np.float32(DISTANCE_STEP)
    # Gyri differ more finely than skulls do.
    fine = at + np.stack([0.9 * smooth_noise(rng, shape, 26) for _ in range(3)])

    def sample(values: np.ndarray, at: np.ndarray, outside: float) -> np.ndarray:
        return ndimage.map_coordinates(values, at, order=1, mode="constant", cval=outside, prefilter=False)

    x, y, z = xyz
    return Head(
        x=x,
        y=y,
        z=z,
        tissue=sample(template.tissue, fine, 0),
        white=sample(template.white, fine, 0),
        cavity_mm=sample(template.cavity_mm, coarse, 200),
        ventricle_mm=sample(template.ventricle_mm, coarse, 200),
    )


def template_mm(geometry: Geometry, pose: Pose) -> list[np.ndarray]:
    """Template millimetres of every pixel at half resolution, three float32 [n, h, w]."""
    size = geometry.rows // COARSE
    offset = (np.arange(size) - (size - 1) / 2) * geometry.pixel_mm * COARSE
    height = (np.arange(geometry.num_slices) - (geometry.num_slices - 1) / 2) * geometry.step_mm
    column = np.array(geometry.orientation[3:])
    # DICOM counts towards left and posterior, the template towards right and anterior.
    to_ras = np.array([-1.0, -1.0, 1.0])
    along_row = pose.linear @ (np.array([1.0, 0, 0]) * to_ras)
    along_column = pose.linear @ (column * to_ras)
    along_stack = pose.linear @ np.array([0, 0, 1.0])
    return [
        (
            pose.centre[i]
            + height[:, None, None] * along_stack[i]
            + offset[None, :, None] * along_column[i]
            + offset[None, None, :] * along_row[i]
        ).astype(np.float32)
        for i in range(3)
    ]
