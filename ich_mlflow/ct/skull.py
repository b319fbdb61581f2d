"""The skull in a slice of Hounsfield units: how much is enclosed by bone. Pure NumPy and OpenCV."""

from dataclasses import dataclass

import cv2
import numpy as np

from ich_mlflow.ct.plausibility import AIR_BELOW_HU

#: Bone, also where a thin skull is averaged with what lies beside it.
_BONE_HU = 180
#: Sutures, fractures and burr holes up to this many pixels of 256 a side are bridged.
_BRIDGED = 7
#: The median of what is enclosed: brain, blood, CSF; neither air nor fat nor bone.
_BRAIN_HU = (5.0, 90.0)


@dataclass(frozen=True, kw_only=True)
class Skull:
    """brain: share of the image that bone encloses and that looks like brain. head: share of the body's outline."""

    brain: float
    head: float


def skull_of(stored: np.ndarray) -> Skull:
    """The skull of a slice at the stored size, HU [S, S]. brain is 0 where no ring of bone is closed."""
    head = _largest(stored > AIR_BELOW_HU)
    bone = ((stored > _BONE_HU) & head).view(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_BRIDGED, _BRIDGED))
    padded = cv2.copyMakeBorder(bone, _BRIDGED, _BRIDGED, _BRIDGED, _BRIDGED, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    _, parts = cv2.connectedComponents(1 - closed, connectivity=4)
    inside = ((parts != parts[0, 0]) & (closed == 0))[_BRIDGED:-_BRIDGED, _BRIDGED:-_BRIDGED]
    inside = _largest(inside)
    values = stored[inside]
    is_brain = len(values) > 0 and _BRAIN_HU[0] <= float(np.median(values)) <= _BRAIN_HU[1]
    return Skull(brain=float(inside.mean()) if is_brain else 0.0, head=float(head.mean()))


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask that hangs together; the mask itself where it is empty."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask).view(np.uint8), connectivity=4
    )
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))
