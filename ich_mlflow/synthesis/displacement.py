"""How brain gives way to what lies between it and the skull."""

import cv2
import numpy as np

from ich_mlflow.synthesis.anatomy import Anatomy

#: Displacements are smooth: they are found on a grid this much coarser.
_COARSE = 4
_ROUNDS = 160
#: CSF on the brain's surface gives way before the brain does: at most so much of its thickness.
_CSF_GIVES = 0.8


def displace(anatomy: Anatomy, inward: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Where tissue comes from, float32 [2, n, H, W] in pixels (rows, columns), beneath something of `thickness` in mm.

    At its inner surface what lay on the inner table arrives; elsewhere on the inner table nothing moves; between, the
    displacement is harmonic (Laplace's equation in space), so that tissue is compressed evenly and deep, the midline
    shifts, and no tissue is overwritten. inward: unit vectors [2, n, H, W]. The layer of CSF is pressed out first.
    """
    numbers = np.flatnonzero(anatomy.drawable)
    move = np.maximum(thickness - _CSF_GIVES * np.minimum(thickness, _csf_layer_mm(anatomy)), 0)
    # Where the vault slopes, a slice cuts it obliquely, and more of the slice is taken up.
    oblique = np.clip(anatomy.edge / np.where(np.abs(anatomy.depth) < 0.5, 0.5, anatomy.depth), 1, 1.5)
    edge, wanted = (_coarse(field[numbers]) for field in (anatomy.edge, move * oblique / anatomy.pixel_mm))
    full = _coarse((thickness * oblique)[numbers])
    fixed = edge < np.maximum(full, 0)
    # Free voxels next to the boundary start near its value: fewer rounds are needed.
    fade = np.exp(-np.maximum(edge - full, 0) / 25)
    weights = (1.0, 1.0, (_COARSE * anatomy.pixel_mm / anatomy.step_mm) ** 2)
    push = np.zeros((2, *anatomy.hu.shape), np.float32)
    height, width = anatomy.hu.shape[1:]
    for axis in range(2):
        known = -wanted * _coarse(inward[axis, numbers])
        solved = _harmonic(known * fade, fixed, weights)
        for number, field in zip(numbers, solved, strict=True):
            push[axis, number] = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return push


def _csf_layer_mm(anatomy: Anatomy) -> float:
    """How thick the CSF on the brain's surface is, on the whole: 0 to 4 mm."""
    rim = anatomy.inside & (anatomy.edge > 1.5) & (anatomy.edge < 6)
    return float(np.clip(4.5 * anatomy.csf[rim].mean(), 0, 4)) if rim.any() else 0.0


def _harmonic(start: np.ndarray, fixed: np.ndarray, weights: tuple[float, float, float]) -> np.ndarray:
    """Solve Laplace's equation on a grid [n, h, w] by averaging, as it stands where `fixed`.

    weights: of neighbours along rows, columns and slices. Beyond the ends the last slice is repeated.
    """
    field = start.astype(np.float32)
    free = ~fixed
    total = 2 * sum(weights)
    for _ in range(_ROUNDS):
        padded = np.pad(field, 1, mode="edge")
        mean = weights[0] * (padded[1:-1, :-2, 1:-1] + padded[1:-1, 2:, 1:-1])
        mean += weights[1] * (padded[1:-1, 1:-1, :-2] + padded[1:-1, 1:-1, 2:])
        mean += weights[2] * (padded[:-2, 1:-1, 1:-1] + padded[2:, 1:-1, 1:-1])
        np.copyto(field, mean / total, where=free)
    return field


def _coarse(field: np.ndarray) -> np.ndarray:
    """Block means, [n, H, W] to [n, H / 4, W / 4]."""
    n, height, width = field.shape
    blocks = field.reshape(n, height // _COARSE, _COARSE, width // _COARSE, _COARSE)
    return blocks.mean(axis=(2, 4)).astype(np.float32)
