"""A CT volume in a NIfTI file, slice by slice as DICOM would show it. The only importer of nibabel.

NIfTI counts towards the patient's right, front and head (RAS+); a DICOM image has rows towards the back and columns
towards the patient's left. The file's affine says how its own axes lie. Source: NIfTI-1.1, DICOM PS3.3 C.7.6.2.1.1.
"""

import gzip
import io
import logging
import zlib
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import io_orientation

from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import SliceError

#: Enough of a file for its header, packed or not.
START_BYTES = 4096
#: Far above any head CT; a packed file of a few kilobytes could otherwise ask for gigabytes.
_MAX_BYTES = 2**31
_GZIP = b"\x1f\x8b"
_LOWEST_HU = -1024
#: Air is around every head; a volume without anything like it is a mask, or windowed to grey levels.
_AIR_BELOW_HU = -500
#: How far sform and qform may be apart: rounding, not another place.
_FORM_DEGREES, _FORM_MM, _FORM_SHARE = 1.0, 1.0, 0.01
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])

# Headers with small faults are common, and nibabel says each on the terminal: what matters is checked here.
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An axial volume, its slices in the order of the file.

    stored   [i, j, n] as in the file; HU = stored * slope + intercept
    affine   float64 [4, 4], voxel numbers to millimetres in RAS+
    axes     int [3, 2], of each voxel axis the RAS+ axis that it is closest to, and 1 or -1: along or against it
    zooms_mm voxel size along the file's three axes
    """

    stored: np.ndarray
    slope: float
    intercept: float
    affine: np.ndarray
    axes: np.ndarray
    zooms_mm: tuple[float, float, float]

    def hu(self, number: int) -> np.ndarray:
        """Hounsfield units int16 [rows, columns] of slice `number` (from 0), at least -1024; NaN becomes -1024."""
        plane = self.stored[:, :, number].astype(np.float64) * self.slope + self.intercept
        image = plane if self._row_axis == 0 else plane.T
        if self.axes[self._row_axis, 1] > 0:  # towards the front
            image = image[::-1]
        if self.axes[1 - self._row_axis, 1] > 0:  # towards the right
            image = image[:, ::-1]
        image = np.nan_to_num(image, nan=_LOWEST_HU, posinf=_LOWEST_HU, neginf=_LOWEST_HU)
        return np.ascontiguousarray(np.clip(np.rint(image), _LOWEST_HU, 32767).astype(np.int16))

    def position_mm(self, number: int) -> float:
        """Where the slice lies along the slice normal, increasing towards the head."""
        corner = (self.affine @ (0, 0, number, 1))[:3] * _RAS_TO_LPS
        plane = [
            self.affine[:3, axis] / np.linalg.norm(self.affine[:3, axis]) * _RAS_TO_LPS for axis in (0, 1)
        ]
        return position_along_normal(corner.tolist(), [*plane[0], *plane[1]])

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """(between rows, between columns); None where the header has no sizes."""
        spacing = (self.zooms_mm[self._row_axis], self.zooms_mm[1 - self._row_axis])
        return spacing if min(spacing) > 0 and np.isfinite(spacing).all() else None

    @property
    def _row_axis(self) -> int:
        """The voxel axis, 0 or 1, that lies from front to back."""
        return 0 if self.axes[0, 0] == 1 else 1


def num_slices(start: bytes, name: str) -> int:
    """How many slices a volume has, by its first START_BYTES. Raises SliceError where they are no NIfTI header."""
    return _shape(_header(_start_unpacked(start, name), name), name)[2]


def parse_volume(data: bytes, name: str, *, is_ct: bool = True) -> Volume:
    """Read a .nii or .nii.gz file's bytes. `name` stands in messages. is_ct: whether it has to be Hounsfield units.

    Raises SliceError where they are no NIfTI file or end too early, are not numbers, not one axial volume (third
    axis between feet and head), not Hounsfield units, or have an sform and a qform of which one turns or mirrors what
    the other says. Where they differ in place or size alone the sform holds (forms_differ).
    """
    data = _unpacked(data, name)
    header = _header(data, name)
    shape = _shape(header, name)
    kind = header.get_data_dtype()
    if kind.kind not in "iuf":
        raise SliceError(
            f"{name} holds voxels of type {kind}, expected numbers: export it again",
            reason="unsupported_pixels",
        )
    expected = int(header["vox_offset"]) + int(np.prod(shape, dtype=object)) * kind.itemsize
    if len(data) < expected:
        raise SliceError(
            f"{name} has {len(data):,} bytes, expected {expected:,}: it is cut short, copy it again",
            reason="truncated",
        )
    try:
        image: Any = nibabel.Nifti1Image.from_bytes(data)
        stored = np.reshape(image.dataobj.get_unscaled(), shape)
        slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    except Exception:  # Broken bytes make nibabel raise whatever it stumbled over.
        raise _damaged(name, "its header makes no sense") from None
    if is_ct:
        _check_hounsfield(stored, slope, intercept, name)
        _check_forms(header, name)
    zooms = tuple(map(float, header.get_zooms()[:3]))
    return Volume(
        stored=stored,
        slope=slope,
        intercept=intercept,
        affine=image.affine,
        axes=_axes(image.affine, name),
        zooms_mm=(zooms[0], zooms[1], zooms[2]),
    )


def _start_unpacked(start: bytes, name: str) -> bytes:
    if not start.startswith(_GZIP):
        return start
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, START_BYTES)
    except zlib.error:
        raise _damaged(name, "it can't be unpacked") from None


def _header(data: bytes, name: str) -> Any:
    try:
        return nibabel.Nifti1Header.from_fileobj(io.BytesIO(data))
    except Exception:  # As in parse_volume.
        raise _damaged(name, "no NIfTI-1 header") from None


def _shape(header: Any, name: str) -> tuple[int, int, int]:
    shape = tuple(map(int, header.get_data_shape()))
    if len(shape) < 3 or min(shape) < 1 or any(size != 1 for size in shape[3:]):
        raise SliceError(
            f"{name} has the shape {shape}, expected one volume [i, j, slices]: export it again",
            reason="unsupported_pixels",
        )
    return shape[0], shape[1], shape[2]


def _axes(affine: np.ndarray, name: str) -> np.ndarray:
    finite = np.isfinite(affine).all()
    axes = io_orientation(affine) if finite else np.full((3, 2), np.nan)
    if np.isnan(axes).any() or axes[2, 0] != 2:
        raise SliceError(
            f"{name} has an affine that does not say how it lies, or a third axis that is not between feet and "
            "head: export it again as axial slices",
            reason="no_geometry",
        )
    return axes.astype(int)


def forms_differ(start: bytes, name: str) -> bool:
    """Whether the header's sform and qform place the volume, or size its voxels, more than 1 mm or 1 % apart.

    start: the first START_BYTES. Raises SliceError where they are no NIfTI header.
    """
    forms = _forms(_header(_start_unpacked(start, name), name))
    if forms is None:
        return False
    sform, qform = forms
    sizes = [np.linalg.norm(form[:3, :3], axis=0) for form in forms]
    moved = np.abs(sform[:3, 3] - qform[:3, 3]).max() > _FORM_MM
    return bool(moved or (np.abs(sizes[0] / sizes[1] - 1) > _FORM_SHARE).any())


def _check_forms(header: Any, name: str) -> None:
    """Raise SliceError where sform and qform lie turned or mirrored to each other: neither is to be trusted."""
    forms = _forms(header)
    if forms is None:
        return
    directions = [form[:3, :3] / np.linalg.norm(form[:3, :3], axis=0) for form in forms]
    cosines = (directions[0] * directions[1]).sum(axis=0)
    if (cosines < np.cos(np.radians(_FORM_DEGREES))).any():
        mirrored = np.linalg.det(directions[0]) * np.linalg.det(directions[1]) < 0
        raise SliceError(
            f"{name} has an sform and a qform that disagree: one is {'mirrored' if mirrored else 'turned'} to the "
            "other, expected both alike; export it again, or set the wrong one's code to 0",
            reason="no_geometry",
        )


def _forms(header: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Affines of sform and qform; None where the header has not both, or one makes no sense (_axes looks at that)."""
    try:
        forms = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    except Exception:  # a quaternion that is none
        return None
    if any(form is None or not np.isfinite(form).all() for form in forms):
        return None
    if any((np.linalg.norm(form[:3, :3], axis=0) == 0).any() for form in forms):
        return None
    return forms


def _check_hounsfield(stored: np.ndarray, slope: float, intercept: float, name: str) -> None:
    finite = stored if stored.dtype.kind != "f" else stored[np.isfinite(stored)]
    ends = [float(end) * slope + intercept for end in (finite.min(), finite.max())] if finite.size else [0.0]
    if not min(ends) < _AIR_BELOW_HU:
        raise SliceError(
            f"{name} has no value below {_AIR_BELOW_HU} (the lowest is {min(ends):g}), expected Hounsfield units "
            "with the air around the head: a mask or a windowed image won't do",
            reason="not_hounsfield",
        )


def _unpacked(data: bytes, name: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(_MAX_BYTES + 1)
    except EOFError:
        raise SliceError(
            f"{name} ends too early: it is cut short, copy it again", reason="truncated"
        ) from None
    except (OSError, zlib.error):
        raise _damaged(name, "it can't be unpacked") from None
    if len(unpacked) > _MAX_BYTES:
        raise _damaged(name, f"it unpacks to more than {_MAX_BYTES >> 30} GiB")
    return unpacked


def _damaged(name: str, what: str) -> SliceError:
    return SliceError(
        f"{name} is not a readable NIfTI file ({what}), expected .nii or .nii.gz: copy it again",
        reason="not_nifti",
    )
