"""A slice as another scanner might have given it: its calibration, reconstruction kernel, blur and noise.

Each function takes HU float32 [H, W, C] of the stored size, a generator, and the largest change. A slice and its
neighbours, its channels, come from one scanner and are changed alike, but for noise. phantom/scanner.py, in
millimetres, and pretraining_batches.py vary the same things of phantoms; a stored pixel is about 0.9 mm of a head.
A reader's other window is an offset and a gain, too, so it needs no change of its own.
"""

from typing import Any

import numpy as np

#: Air is what scanners are calibrated by: only what is denser than this moves.
_BODY_HU = -500.0
#: Deviation of the Gaussian, in pixels, that tells a kernel's detail from what all kernels show.
_DETAIL_PIXELS = 1.0
#: Deviations of the Gaussian, in pixels, that correlates noise: neighbours share 0.4 of it, as they do in phantoms that
#: were scanned at 0.45 mm with a grain of 0.3 to 0.55 mm and stored at 0.9 mm.
_GRAIN_PIXELS = (0.5, 0.65)


def shift_hu(hu: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Add an offset of up to `largest` HU, to either side, to what is no air."""
    return hu + (hu > _BODY_HU) * np.float32(generator.uniform(-largest, largest))


def scale_hu(hu: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Multiply HU of what is no air by 1 - largest to 1 + largest: water stays water."""
    return hu * (1 + (hu > _BODY_HU) * np.float32(generator.uniform(-largest, largest)))


def change_kernel(hu: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Take up to that share of the finest detail away, as a smooth kernel does, or add as much, as a sharp one does."""
    share = np.float32(generator.uniform(-largest, largest))
    return hu + share * (hu - _smoothed(hu, _DETAIL_PIXELS))


def blur(hu: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Blur by a Gaussian whose deviation is up to `largest` pixels."""
    return _smoothed(hu, generator.uniform(0, largest))


def add_noise(hu: np.ndarray, generator: np.random.Generator, largest: float) -> np.ndarray:
    """Add noise whose deviation is up to `largest` HU, correlated between pixels as CT's is, of each slice its own."""
    deviation = generator.uniform(0, largest)
    noise = _smoothed(
        generator.standard_normal(hu.shape, dtype=np.float32), generator.uniform(*_GRAIN_PIXELS)
    )
    return hu + noise * np.float32(deviation / noise.std())


def _smoothed(image: np.ndarray, deviation: float) -> np.ndarray:
    import cv2  # where used: --help reads the table of augmentations

    # Below, every weight beside the pixel's own is 0 in float32, and OpenCV takes 0 for "choose one".
    if deviation < 0.1:
        return image
    smooth: Any = cv2.GaussianBlur(image, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)
    return smooth.reshape(image.shape)
