"""Soft edges, ellipsoids and smooth noise on a scan's grid. Arrays are float32 [n, h, w]."""

from collections.abc import Sequence

import cv2
import numpy as np


def inside(distance_mm: np.ndarray, edge_mm: float | np.ndarray = 0.8) -> np.ndarray:
    """1 where the signed distance is negative, 0 where positive, linear over edge_mm between."""
    return np.clip(0.5 - distance_mm / edge_mm, 0, 1)


def paint(hu: np.ndarray, amount: np.ndarray, value: np.ndarray | float) -> None:
    """Blend `value` into `hu` in place, by `amount` from 0 to 1."""
    hu += amount * (value - hu)


def ellipsoid_mm(
    xyz: Sequence[np.ndarray], centre: Sequence[float] | np.ndarray, radii: Sequence[float] | np.ndarray
) -> np.ndarray:
    """About the signed distance to an ellipsoid, mm: exact on its surface, scaled by the smallest radius off it."""
    squares = [((a - c) / r) ** 2 for a, c, r in zip(xyz, centre, radii, strict=True)]
    return (np.sqrt(squares[0] + squares[1] + squares[2]) - 1) * np.float32(min(radii))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], knots: int) -> np.ndarray:
    """Noise [n, h, w] of about unit variance, smooth over 1 / knots of the field of view in every direction.

    Random values at knots, cubic between them in plane and linear across slices.
    """
    num_slices, height, width = shape
    # A slice stack is about half as tall as the field of view is wide.
    levels = max(2, knots // 2)
    planes = rng.standard_normal((levels, knots, knots)).astype(np.float32)
    planes = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_CUBIC) for p in planes])
    at = np.linspace(0, levels - 1, num_slices, dtype=np.float32)
    lower = np.minimum(at.astype(int), levels - 2)
    share = (at - lower)[:, None, None]
    return (1 - share) * planes[lower] + share * planes[lower + 1]
