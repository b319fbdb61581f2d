"""Area resampling of CT slices, the only user of OpenCV's resize."""

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU

#: Rows and columns of a slice in the stored set, and of the pixels a model takes.
STORED_SIZE = 256


def pad_to_square(hu: np.ndarray) -> np.ndarray:
    """Centre HU [H, W] on a square of air, [S, S] with S = max(H, W). A square slice comes back as it is."""
    height, width = hu.shape
    size = max(height, width)
    if height == width:
        return hu
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size), AIR_HU, dtype=hu.dtype)
    square[top : top + height, left : left + width] = hu
    return square


def to_stored_size(hu: np.ndarray, *, size: int = STORED_SIZE) -> np.ndarray:
    """Resample HU int16 [H, W] to int16 [size, size]: padded square with air, then averaged by area.

    HU are resampled before any window is applied: after it, 1.5 % of pixels differ by over 8 grey levels.
    """
    square = np.ascontiguousarray(pad_to_square(hu), dtype=np.int16)
    if square.shape == (size, size):
        return square
    if square.shape[0] < size:
        return cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)


def to_slice_size(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bring maps float32 [h, w, C] of a square slice to the slice's own shape [H, W, C]: what to_stored_size undoes.

    Enlarged linearly to max(H, W) a side, then what was padded is cut off.
    """
    height, width = shape
    size = max(height, width)
    square = cv2.resize(maps, (size, size), interpolation=cv2.INTER_LINEAR).reshape(size, size, -1)
    top, left = (size - height) // 2, (size - width) // 2
    return square[top : top + height, left : left + width]


def area_weights(source: int, target: int) -> np.ndarray:
    """Weights float32 [target, source] that average a line of `source` pixels to `target` by area.

    Rows sum to 1. A @ image @ A.T is the area filter, the same on every runtime that can multiply matrices.
    Where target > source, pixels are repeated by area (no smoothing): for that, see resize_weights.
    """
    edges = np.arange(target + 1) * (source / target)
    lower, upper = edges[:-1, None], edges[1:, None]
    pixels = np.arange(source)
    overlap = np.minimum(upper, pixels + 1) - np.maximum(lower, pixels)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_weights(source: int, target: int) -> np.ndarray:
    """Weights float32 [target, source]: area_weights to fewer pixels, linear interpolation to more of them.

    Linear as OpenCV's INTER_LINEAR: pixel centres lie at half steps, and edges are repeated.
    """
    if target <= source:
        return area_weights(source, target)
    places = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    distance = np.abs(places[:, None] - np.arange(source))
    return np.clip(1 - distance, 0, None).astype(np.float32)
