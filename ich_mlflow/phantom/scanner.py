"""What the scanner adds: blur, correlated noise, streaks between the petrous bones, the head holder."""

from dataclasses import dataclass

import cv2
import numpy as np

#: What CT scanners store outside the reconstructed circle, after the intercept.
PADDING_HU = -3024


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """noise_hu: standard deviation in soft tissue, HU. blur_mm, grain_mm: of the image, of the noise.

    holder_mm: distance of the head holder's arc from the centre of rotation. circle: pixels outside the
    reconstructed circle are padding.
    """

    noise_hu: float
    blur_mm: float
    grain_mm: float
    holder_mm: float
    streaks_hu: float
    circle: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Scanner":
        return cls(
            noise_hu=rng.uniform(2.2, 4.2),
            blur_mm=rng.uniform(0.35, 0.6),
            grain_mm=rng.uniform(0.3, 0.55),
            holder_mm=rng.uniform(102, 118),
            streaks_hu=rng.uniform(1.0, 4.0),
            circle=bool(rng.random() < 0.5),
        )


def scan_slice(
    hu: np.ndarray, scanner: Scanner, *, pixel_mm: float, base: float, rng: np.random.Generator
) -> np.ndarray:
    """HU float32 [rows, rows] of the ideal head to int16 as the scanner gives it.

    base: how much of the skull base lies in the slice, 0 to 1; that is where streaks are.
    """
    sharp: np.ndarray = hu.copy()
    _add_holder(sharp, scanner, pixel_mm)
    image = cv2.GaussianBlur(sharp, (0, 0), scanner.blur_mm / pixel_mm)
    white = np.asarray(rng.standard_normal(image.shape, dtype=np.float32))
    noise = cv2.GaussianBlur(white, (0, 0), scanner.grain_mm / pixel_mm)
    image = image + noise * np.float32(scanner.noise_hu / noise.std())
    if base > 0:
        image = image + base * scanner.streaks_hu * _streaks(image.shape, rng)
    if scanner.circle:
        image[_radius(image.shape[0]) > image.shape[0] / 2] = PADDING_HU
    return np.clip(np.rint(image), -3024, 3071).astype(np.int16)


def _radius(rows: int) -> np.ndarray:
    offset = np.arange(rows, dtype=np.float32) - (rows - 1) / 2
    return np.hypot(offset[:, None], offset[None, :])


def _add_holder(image: np.ndarray, scanner: Scanner, pixel_mm: float) -> None:
    """Two millimetres of carbon fibre in an arc behind the head."""
    rows = image.shape[0]
    offset = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * pixel_mm
    distance = np.abs(np.hypot(offset[:, None] + 12, offset[None, :]) - scanner.holder_mm)
    arc = np.clip(2.0 - distance, 0, 1) * (offset[:, None] > 20) * (image < -900)
    image += arc * 1150


def _streaks(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Bands across the image, strongest between the petrous bones, of unit height."""
    rows = shape[0]
    bands = cv2.GaussianBlur(rng.standard_normal((rows, 1)).astype(np.float32), (0, 0), rows / 60)
    offset = np.linspace(-1, 1, rows, dtype=np.float32)
    across = np.exp(-((offset / 0.35) ** 2))
    return bands / max(float(bands.std()), 1e-6) * across[None, :]
