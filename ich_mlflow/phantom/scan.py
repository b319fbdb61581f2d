"""From a head's HU to a scanner's image: beam hardening, point spread, noise, head-holder, quantisation."""

from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.phantom.geometry import ScanGrid

MAX_HU = 3071  # what 12 bits hold with intercept -1024
PADDING_HU = -1024


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """What differs from scanner to scanner.

    blur_mm       standard deviation of the in-plane point spread
    noise_hu      standard deviation of the noise in the brain
    noise_grain   correlation length of the noise in mm
    cupping_hu    how much brighter the brain is next to bone
    holder        radius of the head-holder's arc in mm, its distance behind the middle, half-opening in radians
    padded        values outside the circular field of view are padding
    """

    blur_mm: float
    noise_hu: float
    noise_grain: float
    cupping_hu: float
    holder: tuple[float, float, float]
    padded: bool


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """A scanner at random; noise of 3-5 HU in the brain, as in routine head CT."""
    radius = float(rng.uniform(105, 150))
    return Scanner(
        blur_mm=float(rng.uniform(0.40, 0.60)),
        noise_hu=float(rng.uniform(2.8, 4.8)),
        noise_grain=float(rng.uniform(0.40, 0.65)),
        cupping_hu=float(rng.uniform(1.5, 5)),
        holder=(radius, float(rng.uniform(112, 126)), float(rng.uniform(0.7, 1.2))),
        padded=bool(rng.random() < 0.4),
    )


def harden_beam(hu: np.ndarray, mni: np.ndarray, inner_mm: np.ndarray, scanner: Scanner) -> None:
    """Add, in place, the brightening next to bone and the dark band between the petrous bones."""
    inside = inner_mm < 0
    hu += np.where(inside, np.float32(scanner.cupping_hu) * np.exp(np.minimum(inner_mm, 0) / 5), 0)
    x, y, z = mni
    band = np.exp(-(((y + 24) / 6) ** 2) - ((z + 38) / 7) ** 2) - 0.5 * np.exp(
        -(((y + 36) / 5) ** 2) - ((z + 38) / 7) ** 2
    )
    hu -= np.where(inside & (np.abs(x) < 45), np.float32(1.8 * scanner.cupping_hu) * band, 0)


def make_image(hu: np.ndarray, grid: ScanGrid, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Scan HU [N, h, w] (float32): int16 [N, rows, rows], in [-1024, 3071]."""
    size = (grid.rows, grid.rows)
    sigma = scanner.blur_mm / grid.pixel_mm
    holder, cover = _head_holder(grid, scanner)
    level = _noise_level(grid)
    image = np.empty((len(hu), *size), dtype=np.int16)
    for index, plane in enumerate(hu):
        pixels = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        np.copyto(pixels, pixels + cover * (holder - pixels), where=pixels < -900)
        pixels = cv2.GaussianBlur(pixels, (0, 0), max(sigma, 0.1))
        pixels += _noise(grid, scanner, rng) * level
        image[index] = np.clip(np.rint(pixels), PADDING_HU + 1, MAX_HU)
    if scanner.padded:
        image[:, _radius(grid) > grid.rows / 2] = PADDING_HU
    return image


def _noise(grid: ScanGrid, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Correlated noise [rows, rows] of SD noise_hu: fine grain, with the slowest waves taken out."""
    white = rng.standard_normal((grid.rows, grid.rows), dtype=np.float32)
    sigma = max(scanner.noise_grain / grid.pixel_mm, 0.3)
    grain = cv2.GaussianBlur(white, (0, 0), sigma)
    grain -= 0.6 * cv2.GaussianBlur(grain, (0, 0), 3 * sigma)
    return grain * np.float32(scanner.noise_hu / max(float(grain.std()), 1e-6))


def _noise_level(grid: ScanGrid) -> np.ndarray:
    """Noise relative to the brain's, [rows, rows]: most in the middle, where the beam is weakest."""
    distance = _radius(grid) * grid.pixel_mm
    return (0.55 + 0.55 * np.exp(-((distance / 85) ** 2))).astype(np.float32)


def _radius(grid: ScanGrid) -> np.ndarray:
    offsets = np.arange(grid.rows) - (grid.rows - 1) / 2
    return np.hypot(offsets[:, None], offsets)


def _head_holder(grid: ScanGrid, scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """HU of the head-holder (a shell of carbon around foam) and where it is, each [rows, rows]."""
    radius, behind, half_opening = scanner.holder
    y = (np.arange(grid.rows)[:, None] - grid.rows / 2) * grid.pixel_mm - (behind - radius)
    x = (np.arange(grid.rows)[None, :] - grid.rows / 2) * grid.pixel_mm
    distance = np.hypot(x, y) - radius
    here = np.abs(np.arctan2(x, np.maximum(y, 1e-3))) < half_opening
    shell = np.clip(1.6 - np.abs(distance), 0, 1) * here
    foam = ((distance > 0) & (distance < 14) & here).astype(np.float32)
    hu = np.where(shell > 0, 220, -930).astype(np.float32)
    return hu, np.maximum(shell, foam).astype(np.float32)
