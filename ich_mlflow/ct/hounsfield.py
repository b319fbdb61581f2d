"""Hounsfield units: from stored values, and back from displayed windows."""

import cv2
import numpy as np

from ich_mlflow.ct.window import Window

AIR_HU = -1000
#: Below this, RSNA files hold padding outside the field of view (-2000 stored), not attenuation.
MIN_HU = -1024
MAX_HU = 32767

#: Of 12-bit unsigned files with intercept 0 or 1, values from here up are negative HU stored modulo 4096.
WRAP_FROM = 3096
WRAP = 4096


def to_hounsfield(stored_values: np.ndarray, *, slope: float, intercept: float) -> np.ndarray:
    """Convert stored values [H, W] to Hounsfield units, int16 [H, W], clipped to [-1024, 32767].

    Source: DICOM PS3.3 C.11.1.1.2 (output = slope * stored value + intercept).
    """
    if slope == 1 and -MAX_HU <= intercept <= 0 and intercept % 1 == 0 and stored_values.dtype == np.int16:
        # What nearly every scanner writes. Clipped before the shift, nothing leaves 16 bits.
        clipped = _maximum(stored_values, MIN_HU - int(intercept))
        clipped += np.int16(intercept)
        return clipped
    # Other whole numbers in int32, unless a 16-bit value could overflow it.
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if whole and abs(slope) < 2**14 and abs(intercept) < 2**30:
        hu = stored_values.astype(np.int32)
        if slope != 1:
            hu *= int(slope)
        hu += int(intercept)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # a header may say a slope of 1e308
            hu = np.rint(stored_values.astype(np.float64) * slope + intercept)
        np.nan_to_num(hu, copy=False, nan=MIN_HU, posinf=MAX_HU, neginf=MIN_HU)
    return np.clip(hu, MIN_HU, MAX_HU, out=hu).astype(np.int16)


def _maximum(values: np.ndarray, lowest: int) -> np.ndarray:
    """Values int16 [H, W], raised to `lowest`, in a new array.

    By OpenCV, which takes a fifth of the time: NumPy has no vector code for the maximum of 16-bit integers.
    """
    if values.ndim != 2 or min(values.shape) < 8:
        return np.maximum(values, np.int16(lowest))  # OpenCV takes very small arrays for scalars
    return cv2.max(values, float(lowest))  # type: ignore[call-overload]


def unwrap_12_bit(stored_values: np.ndarray) -> np.ndarray:
    """Undo the wrap of 12-bit unsigned files without an intercept, int32 [H, W].

    HU = stored value, minus 4096 where the stored value is 3,096 or more: negative HU had been stored
    modulo 4096. Source: the pixels of the 123 such training files of RSNA 2019.
    """
    values = stored_values.astype(np.int32)
    return np.where(values >= WRAP_FROM, values - WRAP, values)


def from_windows(
    *, narrow: np.ndarray, narrow_window: Window, wide: np.ndarray, wide_window: Window
) -> np.ndarray:
    """Rebuild Hounsfield units, int16 [H, W], from one slice displayed in two windows (uint8 [H, W]).

    Where the narrow window is not saturated (2 < grey < 253; JPEG noise blurs the ends) its finer step is
    used, elsewhere the wide one's. With CT-ICH's 40/120 and 700/3200 the steps are 0.47 and 12.5 HU.
    """
    if narrow.shape != wide.shape:
        raise ValueError(f"the two windows differ in size: {narrow.shape} and {wide.shape}")
    unsaturated = (narrow > 2) & (narrow < 253)
    hu = np.where(unsaturated, _undisplay(narrow, narrow_window), _undisplay(wide, wide_window))
    return np.clip(np.rint(hu), MIN_HU, MAX_HU).astype(np.int16)


def _undisplay(grey: np.ndarray, window: Window) -> np.ndarray:
    lowest = window.center - window.width / 2
    return lowest + window.width * grey.astype(np.float32) / np.float32(255)
