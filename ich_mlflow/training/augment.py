"""Augmentation of Hounsfield units, before any window: one affine warp a slice."""

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU
from ich_mlflow.training.hyperparameters import Hyperparameters


def augment_slices(hu: np.ndarray, seeds: np.ndarray, hyperparameters: Hyperparameters) -> np.ndarray:
    """Rotate, shift, zoom and flip each slice of hu [B, H, W] at random; float32 [B, H, W], air outside.

    seeds: integers [B, K], one row a slice: the same seeds give the same pixels whatever the batch.
    """
    return np.stack([_warp(image, seed, hyperparameters) for image, seed in zip(hu, seeds, strict=True)])


def _warp(image: np.ndarray, seed: np.ndarray, hyperparameters: Hyperparameters) -> np.ndarray:
    matrix = affine_matrix(np.random.default_rng(seed.tolist()), image.shape, hyperparameters)
    height, width = image.shape
    return cv2.warpAffine(
        image.astype(np.float32),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float(AIR_HU),
    )


def affine_matrix(
    rng: np.random.Generator, shape: tuple[int, ...], hyperparameters: Hyperparameters
) -> np.ndarray:
    """A random affine matrix [2, 3] from source to target pixels, about the centre of the image."""
    height, width = shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    angle = np.deg2rad(rng.uniform(-1, 1) * hyperparameters.rotation_degrees)
    zoom = 1 + rng.uniform(-1, 1) * hyperparameters.zoom
    shift = rng.uniform(-1, 1, size=2) * hyperparameters.shift * np.array([width, height])
    mirror = -1.0 if hyperparameters.flip and rng.random() < 0.5 else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = zoom * rotation @ np.diag([mirror, 1.0])
    return np.column_stack([linear, centre + shift - linear @ centre])
