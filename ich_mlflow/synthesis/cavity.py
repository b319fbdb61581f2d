"""The space inside the skull of a head CT series, found in its Hounsfield units."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

#: Outer breadth of an adult's skull. Source: head breadth of 144 (women) and 152 mm (men) over skin, Gordon et al.,
#: 2012 Anthropometric Survey of U.S. Army Personnel, less a scalp of 3 mm a side.
SKULL_BREADTH_MM = 143.0
#: A slice with less space than this inside its skull is of the vertex, or of the neck: nothing is drawn there.
MIN_CAVITY_MM2 = 4000.0
#: Half-way between brain and bone lies within these, for thin and for thick bone.
_HALF_HEIGHT_HU = (110.0, 450.0)
_BRAIN_HU = 35.0
#: Openings of the skull up to twice this are closed while the space inside it is looked for.
_CLOSING_MM = 4.0
#: Calcified plexus, pineal gland and falx are smaller than this, what the skull base sends up is larger.
_SPECK_MM2 = 120.0
#: Mean HU of what fills a skull: tissue and CSF, and no orbit (fat) or throat (air).
_CONTENT_HU = (12.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class Cavity:
    """Where the inside of the skull is.

    inside      bool [n, H, W], False all over in slices where nothing is drawn
    drawable    bool [n], the slices with a closed space of some size
    pixel_mm    side of a pixel, given or estimated
    bone        bool [n, H, W], above half-way between brain and bone
    """

    inside: np.ndarray
    drawable: np.ndarray
    pixel_mm: float
    bone: np.ndarray


def find_cavity(hu: np.ndarray, pixel_mm: float | None) -> Cavity:
    """Find the inside of the skull of a series, hu float32 [n, H, W] from feet to head.

    pixel_mm: None where it isn't known; it is then estimated by the breadth of the skull, and pixels are taken for
    square. Where no slice shows a closed skull, none is drawable.
    """
    bone = np.stack([_bone(image) for image in hu])
    size_mm = pixel_mm or estimate_pixel_mm(bone)
    candidates = [_enclosed(image, wall, size_mm) for image, wall in zip(hu, bone, strict=True)]
    areas = np.array([mask.sum() for mask in candidates]) * size_mm**2
    inside = np.zeros(hu.shape, bool)
    if not len(areas) or areas.max() < MIN_CAVITY_MM2:
        return Cavity(inside=inside, drawable=np.any(inside, axis=(1, 2)), pixel_mm=size_mm, bone=bone)
    best = int(areas.argmax())
    inside[best] = _largest(candidates[best])
    for step in (-1, 1):
        number = best + step
        while 0 <= number < len(hu):
            kept = _continued(candidates[number], inside[number - step], size_mm)
            if kept.sum() * size_mm**2 < MIN_CAVITY_MM2:
                break
            inside[number] = kept
            number += step
    return Cavity(inside=inside, drawable=np.any(inside, axis=(1, 2)), pixel_mm=size_mm, bone=bone)


def estimate_pixel_mm(bone: np.ndarray) -> float:
    """Side of a pixel in mm, 0.4 to 1.4, by the breadth of the broadest skull among bone masks bool [n, H, W]."""
    breadths = []
    for mask in bone:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if contours:
            (_, sides, _) = cv2.minAreaRect(max(contours, key=cv2.contourArea))
            breadths.append(min(sides))
    # The broadest slices agree; a single one may hold a head rest.
    broad = sorted(breadths)[-5:]
    return float(np.clip(SKULL_BREADTH_MM / max(np.median(broad), 1), 0.4, 1.4)) if broad else 1.0


def _bone(image: np.ndarray) -> np.ndarray:
    """Pixels above half-way between brain and the densest bone nearby: the inner table stands at its half-height."""
    densest = cv2.dilate(image, np.ones((7, 7), np.uint8))
    return image > np.clip((densest + _BRAIN_HU) / 2, *_HALF_HEIGHT_HU)


def _enclosed(image: np.ndarray, bone: np.ndarray, pixel_mm: float) -> np.ndarray:
    """What a skull without openings would enclose, and that is like brain, as a mask."""
    disc = _disc(_CLOSING_MM / pixel_mm)
    wall = cv2.morphologyEx(bone.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    filled = ndimage.binary_fill_holes(wall) & (wall == 0)
    soft = cv2.GaussianBlur(np.clip(image, -200, 200), (0, 0), 1.0)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), connectivity=4)
    kept = np.zeros(bone.shape, bool)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] * pixel_mm**2 < 200:
            continue
        part = labels == number
        if _CONTENT_HU[0] < soft[part].mean() < _CONTENT_HU[1] and (soft[part] < -20).mean() < 0.05:
            kept |= part
    # The closing took corners beside the bone as well: they are given back as far as they aren't bone.
    around = cv2.dilate(kept.astype(np.uint8), _disc(_CLOSING_MM / pixel_mm)) > 0
    whole: np.ndarray = around & ~bone & ndimage.binary_fill_holes(wall) & (soft > -30)
    opened = cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_OPEN, _disc(1.5 / pixel_mm)) > 0
    return _without_specks(opened, pixel_mm)


def _without_specks(mask: np.ndarray, pixel_mm: float) -> np.ndarray:
    """The mask with its small holes filled: calcium inside the brain is no skull."""
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * pixel_mm**2
    small = sizes < _SPECK_MM2
    small[0] = False
    filled: np.ndarray = mask | small[labels]
    return filled


def _continued(candidate: np.ndarray, neighbour: np.ndarray, pixel_mm: float) -> np.ndarray:
    """The parts of a slice's candidate that go on from the neighbouring slice's cavity."""
    near = cv2.dilate(neighbour.astype(np.uint8), _disc(6 / pixel_mm)) > 0
    labels, count = ndimage.label(candidate)
    kept = np.zeros(candidate.shape, bool)
    for number in range(1, count + 1):
        part = labels == number
        if (part & near).sum() > 0.8 * part.sum() and part.sum() * pixel_mm**2 > 400:
            kept |= part
    return kept


def _largest(mask: np.ndarray) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
