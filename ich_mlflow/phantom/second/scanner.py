"""What scanners add in the second edition: more noise, sharp and soft kernels, dark and bright streaks, motion."""

from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom import scanner as first

#: Share of the exams with a sharp kernel, and with a patient who moves.
SHARP, MOVING = 0.25, 0.08


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How an exam is scanned.

    scanner: as in the first edition, with other ranges. sharpening: of edges, 0 for a soft kernel. motion_mm: how far
    the head moves within a slice, 0 mostly.
    """

    scanner: first.Scanner
    sharpening: float
    motion_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Acquisition":
        is_sharp = bool(rng.random() < SHARP)
        scanner = first.Scanner(
            noise_hu=1.8 + 3.0 * rng.random() ** 1.5 + (2.5 * rng.random() if is_sharp else 0.0),
            blur_mm=rng.uniform(0.25, 0.45) if is_sharp else rng.uniform(0.3, 0.75),
            grain_mm=rng.uniform(0.2, 0.4) if is_sharp else rng.uniform(0.3, 0.65),
            holder_mm=rng.uniform(102, 118),
            streaks_hu=rng.uniform(1.0, 7.0),
            circle=bool(rng.random() < 0.5),
        )
        return cls(
            scanner=scanner,
            sharpening=rng.uniform(0.3, 0.9) if is_sharp else 0.0,
            motion_mm=rng.uniform(1.5, 5.0) if rng.random() < MOVING else 0.0,
        )


def acquire(
    hu: np.ndarray, acquisition: Acquisition, *, pixel_mm: float, base: float, rng: np.random.Generator
) -> np.ndarray:
    """HU float32 [rows, rows] of the mean over the slice's thickness to int16 as the scanner gives it.

    base: how much of the skull base lies in the slice, 0 to 1.
    """
    image = hu
    if acquisition.motion_mm and rng.random() < 0.3:
        image = _moved(image, acquisition.motion_mm / pixel_mm, rng)
    if acquisition.sharpening:
        soft = cv2.GaussianBlur(image, (0, 0), 0.7 / pixel_mm)
        image = image + acquisition.sharpening * (image - soft)
    return first.scan_slice(image, acquisition.scanner, pixel_mm=pixel_mm, base=base, rng=rng)


def _moved(image: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """The slice with a ghost of it, turned and shifted."""
    rows = image.shape[0]
    matrix = cv2.getRotationMatrix2D((rows / 2, rows / 2), float(rng.uniform(-2, 2)), 1.0)
    matrix = matrix + np.pad(rng.uniform(-pixels, pixels, (2, 1)), ((0, 0), (2, 0)))
    ghost = cv2.warpAffine(image, matrix, (rows, rows), flags=cv2.INTER_LINEAR, borderValue=-1000)
    share = rng.uniform(0.15, 0.45)
    return np.asarray((1 - share) * image + share * ghost, dtype=np.float32)
