"""What is made of the shares of blood that a network finds in the cells of slices: maps, blood or not, millilitres.

Pure. Shares are float32 [..., h, w, 5], in the order of SUBTYPES, of cells that cover the square slice.
"""

from collections.abc import Sequence

import numpy as np

from ich_mlflow.ct.blood import BITS
from ich_mlflow.ct.resample import STORED_SIZE, resize_weights
from ich_mlflow.labels import ANY, SUBTYPES

#: A cell is blood from this share of all blood on, where validation has not chosen another.
CELL_THRESHOLD = 0.5
#: What millilitres are said of, in their order.
VOLUMES = (ANY, *SUBTYPES)


def all_blood(shares: np.ndarray) -> np.ndarray:
    """Shares of all blood [..., h, w]: 1 - (1 - p1) (1 - p2) ... (1 - p5), as the loss has it."""
    return 1 - np.prod(1 - shares, axis=-1)


def label_maps(shares: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """A map a label, float32 [B, L, h, w], of shares [B, h, w, 5]; of `any` that of all blood."""
    maps = [all_blood(shares) if label == ANY else shares[..., SUBTYPES.index(label)] for label in labels]
    return np.stack(maps, axis=1).astype(np.float32)


def found_blood(shares: np.ndarray, *, threshold: float = CELL_THRESHOLD) -> np.ndarray:
    """The blood that is found in cells, uint8 [..., h, w] with the bits of ct.blood: a cell is of one subtype or none.

    It is blood where all blood reaches the threshold, and of the subtype with the highest share.
    """
    return np.concatenate([np.zeros(1, np.uint8), BITS])[found_subtypes(shares, threshold=threshold)]


def found_subtypes(shares: np.ndarray, *, threshold: float = CELL_THRESHOLD) -> np.ndarray:
    """The same, uint8 [..., h, w]: 0 where there is none, else 1 and the subtype's place in SUBTYPES."""
    return np.where(all_blood(shares) >= threshold, shares.argmax(axis=-1) + 1, 0).astype(np.uint8)


def enlarged(shares: np.ndarray, *, size: int = STORED_SIZE) -> np.ndarray:
    """The shares of one slice float32 [h, w, 5] at each pixel of it, [size, size, 5], linear between cells' middles."""
    rows, columns = (resize_weights(cells, size) for cells in shares.shape[:2])
    across = np.einsum("qw,hwc->hqc", columns, shares, optimize=True)
    return np.einsum("ph,hqc->pqc", rows, across, optimize=True)


def found_pixels(shares: np.ndarray, *, threshold: float = CELL_THRESHOLD) -> np.ndarray:
    """found_blood at the pixels of stored slices, uint8 [n, 256, 256], of shares [n, h, w, 5].

    Outlines that follow pixels and not cells of four are nearer to those of masks.
    """
    found = np.zeros((len(shares), STORED_SIZE, STORED_SIZE), np.uint8)
    for of_slice, out in zip(shares, found, strict=True):
        if (
            all_blood(of_slice).max() >= threshold
        ):  # what lies between cells is never more than the highest of them
            out[:] = found_blood(enlarged(of_slice), threshold=threshold)
    return found


def cell_counts(found: np.ndarray) -> np.ndarray:
    """Cells of each of VOLUMES on slices, int [n, 6], of what is found there, uint8 [n, h, w]."""
    of_subtypes = [(found & bit > 0).sum(axis=(1, 2)) for bit in BITS]
    return np.stack([(found > 0).sum(axis=(1, 2)), *of_subtypes], axis=1)


def extents_mm(position_mm: np.ndarray) -> np.ndarray | None:
    """How much of a series each of its slices stands for, mm [n]: half the way to each neighbour, in any order.

    Outermost slices stand for as much outwards as inwards. Slices at one place share it. None where there are no two
    places, or one is not known.
    """
    position_mm = np.asarray(position_mm, np.float64)
    if not np.isfinite(position_mm).all():
        return None
    places, at, count = np.unique(position_mm, return_inverse=True, return_counts=True)
    if len(places) < 2:
        return None
    steps = np.diff(places)
    extents = (np.r_[steps[0], steps] + np.r_[steps, steps[-1]]) / 2
    return np.asarray((extents / count)[at])


def millilitres(areas_mm2: np.ndarray, position_mm: np.ndarray) -> np.ndarray | None:
    """Blood of each of VOLUMES in a series, millilitres [6], of its areas [n, 6] on slices at position_mm [n].

    None where an area or a place is not known (NaN), or there are no two places.
    """
    extents = extents_mm(position_mm)
    if extents is None or not np.isfinite(areas_mm2).all():
        return None
    return np.asarray((areas_mm2 * extents[:, None]).sum(axis=0) / 1000)
