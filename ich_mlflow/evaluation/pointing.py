"""The pointing game: does the peak of a saliency map lie in the lesion?

Source: Zhang et al., Int J Comput Vis 126 (2018), 1084: a hit within a tolerance around the object.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

#: Less is air: chance points somewhere into the head, not beside it.
_HEAD_HU = -200


@dataclass(frozen=True, kw_only=True)
class Pointed:
    """Where maps point: peaks float [n, 2] (row, column of the slice), hits bool [n], chance [n] in [0, 1].

    tolerance: how far from the lesion a peak may lie, in pixels of the slice.

    chance: the share of the head from which a random point would hit. A map that is the same everywhere points
    nowhere: its peak is NaN and it is a miss.
    """

    peaks: np.ndarray
    hits: np.ndarray
    chance: np.ndarray
    tolerance: int


def point(maps: np.ndarray, lesions: np.ndarray, hu: np.ndarray, *, tolerance: int | None = None) -> Pointed:
    """Play the pointing game: maps [n, h, w], lesions bool [n, H, W], hu [n, H, W] of the same slices.

    A map points at the middle of its highest place. tolerance: None for half a place, since a map can't point more
    finely (the paper has 15 pixels of a photograph). Raises ValueError where the shapes don't fit.
    """
    if lesions.shape != hu.shape or len(maps) != len(hu):
        raise ValueError(f"maps {maps.shape}, lesions {lesions.shape} and hu {hu.shape} don't fit")
    cell = np.array(hu.shape[1:]) / maps.shape[1:]
    if tolerance is None:
        tolerance = round(float(cell.max()) / 2)
    peaks, hits, chance = np.full((len(maps), 2), np.nan), np.zeros(len(maps), bool), np.zeros(len(maps))
    for number, (small, lesion, slice_hu) in enumerate(zip(maps, lesions, hu, strict=True)):
        target = _within(lesion, tolerance)
        head = slice_hu > _HEAD_HU
        chance[number] = (target & head).sum() / max(1, head.sum())
        if small.max() == small.min():
            continue
        peaks[number] = (np.array(np.unravel_index(int(small.argmax()), small.shape)) + 0.5) * cell - 0.5
        row, column = np.rint(peaks[number]).astype(int)
        hits[number] = target[row, column]
    return Pointed(peaks=peaks, hits=hits, chance=chance, tolerance=tolerance)


def _within(lesion: np.ndarray, distance: int) -> np.ndarray:
    """Pixels bool [H, W] at most so far from the lesion; none where there is no lesion."""
    if not lesion.any():
        return lesion
    return np.asarray(ndimage.distance_transform_edt(~lesion)) <= distance
