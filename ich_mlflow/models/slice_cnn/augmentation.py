"""Augmentation of Hounsfield units, before any window: one affine warp a slice."""

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters


def augment_slices(hu: np.ndarray, draws: np.ndarray, hyperparameters: Hyperparameters) -> np.ndarray:
    """Rotate, shift, zoom and flip each slice of hu [B, H, W, C]; float32 [B, H, W, C], air outside.

    draws: [B, 5] in [0, 1), for rotation, zoom, shift right, shift down and flip. A slice's channels move together.
    """
    matrices = affine_matrices(draws, hu.shape[1:3], hyperparameters)
    warped = np.empty(hu.shape, np.float32)
    for image, matrix, out in zip(hu.astype(np.float32), matrices, warped, strict=True):
        # OpenCV is several times faster on floats than on int16.
        result = cv2.warpAffine(
            image,
            matrix,
            (hu.shape[2], hu.shape[1]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(float(AIR_HU),) * 4,
        )
        out[...] = result.reshape(out.shape)
    return warped


def affine_matrices(
    draws: np.ndarray, shape: tuple[int, ...], hyperparameters: Hyperparameters
) -> np.ndarray:
    """Affine matrices [B, 2, 3] from source to target pixels, about the centre of the image, of draws [B, 5]."""
    height, width = shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    signed = 2 * draws - 1
    angle = np.deg2rad(signed[:, 0] * hyperparameters.rotation_degrees)
    zoom = 1 + signed[:, 1] * hyperparameters.zoom
    shift = signed[:, 2:4] * hyperparameters.shift * np.array([width, height])
    mirror = np.where((draws[:, 4] < 0.5) & hyperparameters.flip, -1.0, 1.0)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.stack([cos * mirror, -sin, sin * mirror, cos], axis=1).reshape(-1, 2, 2)
    return np.concatenate([linear, (centre + shift - linear @ centre)[:, :, None]], axis=2)
