"""Where a slice lies in its series, from DICOM's position and orientation."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np


class _Positioned(Protocol):
    @property
    def position_mm(self) -> float: ...


S = TypeVar("S", bound=_Positioned)


def slice_normal(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal float64 [3] of the slice plane, in patient coordinates, pointing towards the head.

    orientation: the direction cosines of a row, then of a column (Image Orientation (Patient), 6 numbers).
    The cross product's sign is turned where it points to the feet, so that a prone or mirrored series is
    still counted from the neck up. Raises ValueError where the two directions span no plane.
    Source: DICOM PS3.3 C.7.6.2.1.1 (x to the patient's left, y to the back, z to the head).
    """
    x, y, z = _normal(orientation)
    return np.array([x, y, z])


def position_along_normal(position: Sequence[float], orientation: Sequence[float]) -> float:
    """Distance in mm of a slice from the origin along its normal, increasing towards the head.

    position: Image Position (Patient), mm, 3 numbers. With a tilted gantry the z coordinate alone would
    misplace slices. Raises ValueError as slice_normal does.
    """
    corner = [float(value) for value in position]
    if len(corner) != 3 or not all(map(math.isfinite, corner)):
        raise ValueError(f"position has {len(corner)} values, expected 3 finite numbers")
    return sum(a * b for a, b in zip(corner, _normal(orientation), strict=True))


def _normal(orientation: Sequence[float]) -> tuple[float, float, float]:
    """As slice_normal. Plain numbers: on three values NumPy's cross product takes ten times as long."""
    cosines = [float(value) for value in orientation]
    if len(cosines) != 6 or not all(map(math.isfinite, cosines)):
        raise ValueError(f"orientation has {len(cosines)} values, expected 6 finite numbers")
    a, b, c, d, e, f = cosines
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = math.sqrt(x * x + y * y + z * z)
    if length < 0.5:
        raise ValueError("orientation spans no plane, expected two perpendicular unit vectors")
    scale = (-1.0 if z < 0 else 1.0) / length
    return x * scale, y * scale, z * scale


def order_along_normal(slices: Iterable[S]) -> list[S]:
    """The slices of a series from the neck up. Slices at the same position keep their order."""
    return sorted(slices, key=lambda ct_slice: ct_slice.position_mm)
