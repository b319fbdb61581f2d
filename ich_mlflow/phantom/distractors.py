"""The series that stand beside the plain scan of a head: made from an exam, or painted. Pure.

Each maker yields planes from the lowest (or foremost) one on; HU as the scanner gives them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom.exam import Exam
from ich_mlflow.phantom.grid import Geometry

THIN_MM = 1.25
REFORMAT_MM = 5.0
CHEST_FIELD_MM = 360.0
CHEST_SLICES = 40
#: Below the head: the uppermost slice of a chest.
CHEST_TOP_MM = -140.0
AIR_HU = -1024

#: Direction cosines of a row and a column: seen from the front, and from the left.
_FRONTAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
_LATERAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
#: Attenuation to signal of a T1-weighted image, 0 to 4095: about right.
_T1 = ((-1000, -150, -80, 0, 30, 45, 90, 300, 1000), (0, 500, 900, 120, 330, 450, 460, 90, 20))


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An image and where it lies. pixels: int16 [H, W], HU unless said otherwise; position: of its first pixel, mm."""

    pixels: np.ndarray
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_mm: float


def plain(exam: Exam) -> Iterator[Plane]:
    """The exam as it is."""
    for k, hu in enumerate(exam.hu):
        yield _axial(exam, k, hu)


def bone(exam: Exam, rng: np.random.Generator) -> Iterator[Plane]:
    """The same slices by a sharp kernel: edges overshoot, noise is strong and fine."""
    blur_pixels = 1.0 / exam.geometry.pixel_mm
    for k, hu in enumerate(exam.hu):
        image = np.maximum(hu, AIR_HU).astype(np.float32)
        image += 1.5 * (image - cv2.GaussianBlur(image, (0, 0), blur_pixels))
        image += 15 * rng.standard_normal(image.shape, dtype=np.float32)
        yield _axial(exam, k, _with_padding(image, hu))


def thin(exam: Exam) -> Iterator[Plane]:
    """Slices every 1.25 mm of table movement, interpolated between the exam's."""
    last = len(exam.hu) - 1
    num_slices = int(last * exam.geometry.step_mm / THIN_MM + 1e-6) + 1
    for number in range(num_slices):
        place = number * THIN_MM / exam.geometry.step_mm
        below = min(int(place), last - 1)
        share = place - below
        yield _axial(exam, place, cv2.addWeighted(exam.hu[below], 1 - share, exam.hu[below + 1], share, 0.0))


def contrast(exam: Exam, rng: np.random.Generator) -> Iterator[Plane]:
    """The same slices after an injection: brain and other soft tissue 15 HU brighter, vessels by 150."""
    rows, pixel_mm = exam.geometry.rows, exam.geometry.pixel_mm
    vessels = rng.uniform(-45, 45, (14, 2))
    for k, hu in enumerate(exam.hu):
        smooth = cv2.GaussianBlur(np.maximum(hu, AIR_HU).astype(np.float32), (0, 0), 1.0 / pixel_mm)
        soft = ((smooth > 10) & (smooth < 100)).astype(np.float32)
        lumen = np.zeros_like(smooth)
        vessels += rng.normal(0, 2, vessels.shape)
        for x, y in vessels:
            _ellipse(lumen, pixel_mm, (x, y), (1.6, 1.6), 1.0)
        lumen = cv2.GaussianBlur(lumen, (0, 0), max(0.4 / pixel_mm, 0.3))
        assert hu.shape == (rows, rows)
        yield _axial(exam, k, _with_padding(hu + soft * (15 + 135 * lumen), hu))


def coronal(exam: Exam) -> Iterator[Plane]:
    """Coronal planes every 5 mm, from the face backwards, reformatted from the exam; tilt is taken out."""
    geometry = exam.geometry
    heights = _heights(geometry, geometry.pixel_mm)
    half = (geometry.rows - 1) / 2 * geometry.pixel_mm
    for y in np.arange(-90, 91, REFORMAT_MM):
        image = _coronal_plane(exam.hu, geometry, float(y), heights)
        yield Plane(
            pixels=np.rint(image).astype(np.int16),
            position=(-half, float(y), float(heights[0])),
            orientation=_FRONTAL,
            pixel_mm=geometry.pixel_mm,
        )


def localizers(exam: Exam, number: int = 2) -> Iterator[Plane]:
    """A lateral and, where number is 2, a frontal projection of the head; values are no HU of anything."""
    geometry, pixel_mm = exam.geometry, exam.geometry.pixel_mm
    heights = _heights(geometry, 2 * pixel_mm)
    offsets = (np.arange(0, geometry.rows, 2) - (geometry.rows - 2) / 2) * pixel_mm
    hu = exam.hu[:, :, ::2]
    planes = np.stack([_coronal_plane(hu, geometry, float(y), heights) for y in offsets])  # [y, z, x]
    left = -(geometry.rows - 1) / 2 * pixel_mm
    top = float(heights[0]) + pixel_mm / 2
    views = ((2, (1, 0), (0.0, left, top), _LATERAL), (0, (0, 1), (left, 0.0, top), _FRONTAL))
    for axis, order, position, orientation in views[:number]:
        mean = (planes.mean(axis=axis) - AIR_HU).transpose(order)
        fine = cv2.resize(np.ascontiguousarray(mean), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        pixels = np.clip(np.rint(2 * fine + AIR_HU), AIR_HU, 3071).astype(np.int16)
        yield Plane(pixels=pixels, position=position, orientation=orientation, pixel_mm=pixel_mm)


def magnetic(exam: Exam) -> Iterator[Plane]:
    """Three slices from the middle as an MR scanner would show them; pixels are a signal, 0 to 4095."""
    for k in len(exam.hu) // 2 + np.arange(-1, 2):
        smooth = cv2.GaussianBlur(exam.hu[k].astype(np.float32), (0, 0), 1.0)
        yield _axial(exam, int(k), np.interp(smooth, *_T1).astype(np.int16))


def chest(rows: int, *, step_mm: float, rng: np.random.Generator) -> Iterator[Plane]:
    """A chest from the diaphragm up: fat, muscle, lungs with vessels, heart, spine and ribs."""
    pixel_mm = CHEST_FIELD_MM / rows
    half = (rows - 1) / 2 * pixel_mm
    for k in range(CHEST_SLICES):
        image = _chest_slice(rows, pixel_mm, k / (CHEST_SLICES - 1), rng)
        white = rng.standard_normal(image.shape, dtype=np.float32)
        noise = cv2.GaussianBlur(white, (0, 0), 0.7)
        image = cv2.GaussianBlur(image, (0, 0), 0.7 / pixel_mm) + noise * np.float32(12 / noise.std())
        height = CHEST_TOP_MM - (CHEST_SLICES - 1 - k) * step_mm
        yield Plane(
            pixels=np.clip(np.rint(image), AIR_HU, 3071).astype(np.int16),
            position=(-half, -half, height),
            orientation=_AXIAL,
            pixel_mm=pixel_mm,
        )


def dose_sheet(lines: Sequence[str], *, colours: bool) -> np.ndarray:
    """Lines of text on black, uint8 [512, 512], or RGB [512, 512, 3]."""
    sheet = np.zeros((512, 512), np.uint8)
    for place, line in enumerate(lines, 1):
        cv2.putText(sheet, line, (16, 32 * place), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255,), 1, cv2.LINE_AA)
    return np.stack([sheet, sheet, sheet // 2], axis=-1) if colours else sheet


def _axial(exam: Exam, place: float, pixels: np.ndarray) -> Plane:
    """A plane of the exam's stack. place: the slice's number, or between two."""
    geometry = exam.geometry
    first, second = np.array(geometry.position(0)), np.array(geometry.position(1))
    position = first + place * (second - first)
    return Plane(
        pixels=pixels,
        position=tuple(map(float, position)),
        orientation=geometry.orientation,
        pixel_mm=geometry.pixel_mm,
    )


def _with_padding(image: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """The image as int16, with what is padding in `hu`."""
    return np.where(hu < AIR_HU, hu, np.clip(np.rint(image), AIR_HU, 3071)).astype(np.int16)


def _heights(geometry: Geometry, spacing_mm: float) -> np.ndarray:
    """Heights that cover the stack, mm, from the top down."""
    number = round(geometry.num_slices * geometry.step_mm / spacing_mm)
    return ((number - 1) / 2 - np.arange(number)) * spacing_mm


def _coronal_plane(hu: np.ndarray, geometry: Geometry, y: float, heights: np.ndarray) -> np.ndarray:
    """HU float32 [heights, W] of the plane at y mm; air above and below the stack.

    With a tilted gantry a slice is lower at the back, by tan(tilt) a millimetre.
    """
    tilt = np.deg2rad(geometry.tilt_degrees)
    row = round(y / (geometry.pixel_mm * np.cos(tilt)) + (geometry.rows - 1) / 2)
    image = np.full((len(heights), hu.shape[2]), AIR_HU, np.float32)
    if not 0 <= row < geometry.rows:
        return image
    lines = np.maximum(hu[:, row], AIR_HU).astype(np.float32)
    last = geometry.num_slices - 1
    place = (heights + y * np.tan(tilt)) / geometry.step_mm + last / 2
    inside = (place >= -0.5) & (place <= last + 0.5)
    place = np.clip(place[inside], 0, last)
    below = np.minimum(place.astype(int), last - 1)
    share = (place - below).astype(np.float32)[:, None]
    image[inside] = (1 - share) * lines[below] + share * lines[below + 1]
    return image


def _chest_slice(rows: int, pixel_mm: float, up: float, rng: np.random.Generator) -> np.ndarray:
    """The ideal slice, HU float32. up: 0 at the diaphragm, 1 at the apex of the lungs."""
    image = np.full((rows, rows), -1000, np.float32)
    _ellipse(image, pixel_mm, (0, 0), (162, 110), -95)
    _ellipse(image, pixel_mm, (0, 0), (146, 94), 50)
    size = float(np.sin(np.pi * (0.3 + 0.55 * up)))
    for side in (-1, 1):
        _ellipse(image, pixel_mm, (side * 68, -4), (56 * size, 78 * size), -850)
        for x, y, radius in rng.uniform((-0.6, -0.6, 0.8), (0.6, 0.6, 2.6), (25, 3)):
            at = (side * 68 + 56 * size * x, -4 + 78 * size * y)
            _ellipse(image, pixel_mm, at, (radius, radius), 0)
    _ellipse(image, pixel_mm, (0, -10), (24, 62), 40)
    if up < 0.55:
        heart = float(np.sqrt(1 - (up / 0.55) ** 2))
        _ellipse(image, pixel_mm, (20, -28), (58 * heart, 44 * heart), 45)
    _ellipse(image, pixel_mm, (16, 42), (12, 12), 45)
    _ellipse(image, pixel_mm, (0, 62), (20, 17), 220)
    _ellipse(image, pixel_mm, (0, 86), (9, 8), 30)
    for angle in np.deg2rad(np.arange(0, 360, 32) + 90 * up):
        at = (138 * float(np.cos(angle)), 88 * float(np.sin(angle)))
        _ellipse(image, pixel_mm, at, (8, 4), 500)
    return image


def _ellipse(
    image: np.ndarray, pixel_mm: float, at: tuple[float, float], half: tuple[float, float], value: float
) -> None:
    """Fill an ellipse, mm from the image's middle, in place; its edge lies to 1/16 pixel."""
    middle = (image.shape[0] - 1) / 2
    centre = tuple(round(16 * (middle + part / pixel_mm)) for part in at)
    axes = tuple(max(round(16 * part / pixel_mm), 1) for part in half)
    cv2.ellipse(image, centre, axes, 0, 0, 360, (value,), -1, cv2.LINE_8, 4)
