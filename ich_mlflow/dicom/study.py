"""Where a slice lies in its series, from DICOM's position and orientation."""

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
    cosines = np.asarray(orientation, dtype=np.float64)
    if cosines.shape != (6,) or not np.isfinite(cosines).all():
        raise ValueError(f"orientation has shape {cosines.shape}, expected 6 finite numbers")
    normal = np.cross(cosines[:3], cosines[3:])
    length = np.linalg.norm(normal)
    if length < 0.5:
        raise ValueError("orientation spans no plane, expected two perpendicular unit vectors")
    return normal / length * (-1.0 if normal[2] < 0 else 1.0)


def position_along_normal(position: Sequence[float], orientation: Sequence[float]) -> float:
    """Distance in mm of a slice from the origin along its normal, increasing towards the head.

    position: Image Position (Patient), mm, 3 numbers. With a tilted gantry the z coordinate alone would
    misplace slices. Raises ValueError as slice_normal does.
    """
    corner = np.asarray(position, dtype=np.float64)
    if corner.shape != (3,) or not np.isfinite(corner).all():
        raise ValueError(f"position has shape {corner.shape}, expected 3 finite numbers")
    return float(corner @ slice_normal(orientation))


def order_along_normal(slices: Iterable[S]) -> list[S]:
    """The slices of a series from the neck up. Slices at the same position keep their order."""
    return sorted(slices, key=lambda ct_slice: ct_slice.position_mm)
