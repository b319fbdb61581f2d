"""What stands beside the non-contrast scan in a hospital's studies: reconstructions, contrast, localizers, other parts.

Pure: an exam's pixels in, other series' pixels out. Not as real as the non-contrast scan: enough to be told from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from ich_mlflow.phantom.exam import Exam

#: Row, then column: from right to left and head to feet; from front to back and head to feet.
CORONAL, SAGITTAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0), (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
THIN_MM = 1.25
_CHEST_ROWS, _CHEST_MM, _CHEST_SLICES, _CHEST_STEP_MM = 512, 0.7, 40, 5.0


@dataclass(frozen=True, kw_only=True)
class OtherSeries:
    """pixels: int16 or uint8 [n, H, W]. positions [n]: ImagePositionPatient, mm. tags: what sets it apart.

    own: what sets each image apart, [n] from below, or none; a value of None takes the element away.
    """

    pixels: np.ndarray
    positions: tuple[tuple[float, float, float], ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, float]
    tags: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[Mapping[str, Any], ...] = ()


def non_contrast(exam: Exam) -> OtherSeries:
    """The scan itself."""
    return _of_head(exam, exam.hu, SeriesDescription="HEAD WO 5.0", ConvolutionKernel="H31s")


def bone(exam: Exam, rng: np.random.Generator) -> OtherSeries:
    """By a bone kernel: sharper, and noisier."""
    hu = exam.hu.astype(np.float32)
    sharp = [2 * image - cv2.GaussianBlur(image, (0, 0), 1.2) for image in hu]
    noisy = np.stack(sharp) + rng.normal(0, 20, hu.shape).astype(np.float32)
    return _of_head(exam, _as_hu(noisy), SeriesDescription="HEAD BONE 5.0", ConvolutionKernel="H70h")


def contrast(exam: Exam, rng: np.random.Generator, *, tagged: bool) -> OtherSeries:
    """With contrast agent: brain and vessels are brighter. tagged: the header names the agent, else the description."""
    hu = exam.hu.astype(np.float32)
    brain = (hu > 20) & (hu < 60)
    vessels = brain & (rng.random(hu.shape) < 0.02)
    hu = hu + 12 * brain + 120 * vessels
    tags = {"ContrastBolusAgent": "Iohexol 300", "SeriesDescription": "HEAD 5.0 LATE"} if tagged else {}
    return _of_head(
        exam, _as_hu(hu), **{"SeriesDescription": "Head + C", "ConvolutionKernel": "H31s", **tags}
    )


def thin(exam: Exam) -> OtherSeries:
    """Slices of 1.25 mm, between those of the scan."""
    return resliced(exam, THIN_MM, SeriesDescription="HEAD THIN 1.25")


def resliced(exam: Exam, step_mm: float, **tags: Any) -> OtherSeries:
    """Slices of another step, between those of the scan."""
    places = np.arange(0, len(exam.hu) - 1 + 1e-6, step_mm / exam.geometry.step_mm)
    low = np.minimum(places.astype(int), len(exam.hu) - 2)
    share = (places - low).astype(np.float32)[:, None, None]
    hu = (1 - share) * exam.hu[low] + share * exam.hu[low + 1]
    positions = np.array([exam.geometry.position(k) for k in range(len(exam.hu))])
    between = (1 - share[:, :, 0]) * positions[low] + share[:, :, 0] * positions[low + 1]
    series = _of_head(
        exam, _as_hu(hu), **{"ConvolutionKernel": "H31s", "SliceThickness": f"{step_mm:g}", **tags}
    )
    return replace(series, positions=tuple(map(tuple, between.tolist())))


def coronal(exam: Exam) -> OtherSeries:
    """A coronal reformat: every sixteenth row of the scan's slices, as if the gantry had not been tilted."""
    rows = np.arange(exam.hu.shape[1] // 8, exam.hu.shape[1] * 7 // 8, exam.hu.shape[1] // 24)
    mm, step = exam.geometry.pixel_mm, exam.geometry.step_mm
    height = round(len(exam.hu) * step / mm)
    images = [
        cv2.resize(
            exam.hu[::-1, row].astype(np.float32), (exam.hu.shape[2], height), interpolation=cv2.INTER_LINEAR
        )
        for row in rows
    ]
    half = (exam.hu.shape[1] - 1) / 2 * mm
    return OtherSeries(
        pixels=_as_hu(np.stack(images)),
        positions=tuple((-half, float(row * mm - half), height * mm / 2) for row in rows),
        orientation=CORONAL,
        pixel_mm=(mm, mm),
        tags={
            "ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"],
            "SeriesDescription": "COR HEAD",
            "BodyPartExamined": "HEAD",
        },
    )


def localizer(exam: Exam) -> OtherSeries:
    """The scout from the side: the scan's attenuation summed across."""
    through = exam.hu[::-1].astype(np.float32).mean(axis=2)
    image = cv2.resize(through, (exam.hu.shape[1], exam.hu.shape[1]), interpolation=cv2.INTER_LINEAR)
    half = exam.hu.shape[1] * exam.geometry.pixel_mm / 2
    return OtherSeries(
        pixels=_as_hu(image[None]),
        positions=((0.0, -half, half),),
        orientation=SAGITTAL,
        pixel_mm=(exam.geometry.pixel_mm, exam.geometry.pixel_mm),
        tags={
            "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
            "SeriesDescription": "TOPOGRAM",
            "BodyPartExamined": "HEAD",
        },
    )


def chest(rng: np.random.Generator, *, tagged: bool) -> OtherSeries:
    """A chest: an ellipse with two lungs, a spine, a heart. tagged: the header says what it is."""
    rows = _CHEST_ROWS
    y, x = np.mgrid[0:rows, 0:rows].astype(np.float32) / rows - 0.5

    def ellipse(x0: float, y0: float, a: float, b: float) -> np.ndarray:
        return ((x - x0) / a) ** 2 + ((y - y0) / b) ** 2 < 1

    images = np.empty((_CHEST_SLICES, rows, rows), np.float32)
    noise = rng.normal(0, 12, (rows, rows)).astype(np.float32)
    for k in range(_CHEST_SLICES):
        size = 0.8 + 0.2 * np.sin(np.pi * k / _CHEST_SLICES)
        image = np.full((rows, rows), -1000, np.float32)
        image[ellipse(0, 0, 0.46, 0.32)] = 40
        for side in (-1, 1):
            image[ellipse(0.22 * side, 0.0, 0.19 * size, 0.24 * size)] = -850
        image[ellipse(0.03, -0.06, 0.1 * size, 0.11 * size)] = 45
        image[ellipse(0, 0.24, 0.045, 0.045)] = 500
        images[k] = image + np.roll(noise, (17 * k, 29 * k), axis=(0, 1))
    half = rows * _CHEST_MM / 2
    tags = {"BodyPartExamined": "CHEST", "SeriesDescription": "CHEST 5.0"}
    untagged = {"BodyPartExamined": "", "SeriesDescription": "5.0 STND", "StudyDescription": ""}
    return OtherSeries(
        pixels=_as_hu(images),
        positions=tuple((-half, -half, -400.0 + _CHEST_STEP_MM * k) for k in range(_CHEST_SLICES)),
        orientation=AXIAL,
        pixel_mm=(_CHEST_MM, _CHEST_MM),
        tags={"ConvolutionKernel": "STANDARD", **(tags if tagged else untagged)},
    )


def dose_sheet() -> OtherSeries:
    """A page of text as a picture, which goes by the modality CT."""
    page = np.zeros((128, 128), np.uint8)
    for line in range(10, 120, 12):
        page[line : line + 4, 10:100] = 255
    return OtherSeries(
        pixels=page[None],
        positions=((0.0, 0.0, 0.0),),
        orientation=(),
        pixel_mm=(1.0, 1.0),
        tags={
            "ImageType": ["DERIVED", "SECONDARY"],
            "SeriesDescription": "Patient Protocol",
            "ConversionType": "WSD",
            "PatientOrientation": "",
            "BodyPartExamined": "HEAD",
        },
    )


def mr(rng: np.random.Generator) -> OtherSeries:
    """Three MR images."""
    half = 64.0
    return OtherSeries(
        pixels=rng.integers(0, 500, (3, 128, 128)).astype(np.int16),
        positions=tuple((-half, -half, 5.0 * k) for k in range(3)),
        orientation=AXIAL,
        pixel_mm=(1.0, 1.0),
        tags={
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "SeriesDescription": "T2",
            "Modality": "MR",
            "BodyPartExamined": "HEAD",
            "ScanningSequence": "SE",
            "SequenceVariant": "NONE",
            "ScanOptions": "",
            "MRAcquisitionType": "2D",
            "RepetitionTime": "4000",
            "EchoTime": "90",
            "EchoTrainLength": "1",
        },
    )


def _of_head(exam: Exam, hu: np.ndarray, **tags: Any) -> OtherSeries:
    geometry = exam.geometry
    return OtherSeries(
        pixels=hu,
        positions=tuple(geometry.position(k) for k in range(geometry.num_slices)),
        orientation=geometry.orientation,
        pixel_mm=(geometry.pixel_mm, geometry.pixel_mm),
        tags={"BodyPartExamined": "HEAD", "SliceThickness": f"{geometry.step_mm:g}", **tags},
    )


def _as_hu(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), -3024, 4000).astype(np.int16)
