"""Pixels that are padding, and pixels that only have the same value: padding is joined to the border of the image."""

from typing import NamedTuple

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import MIN_HU

#: Below this a padding value is air, or less: that it may stand for air inside the head as well changes nothing.
_AIR_HU = -900
#: Ten times the range of 12 bits, which extended CT scales end at: above it nothing was measured.
HIGHEST_HU = 30710
AS_TISSUE = "its Pixel Padding Value stands inside the image too, where it is read as tissue"


class Padded(NamedTuple):
    """hu: int16 [H, W]. remark: that not all pixels of the padding value were padding; '' where they were, or none."""

    hu: np.ndarray
    remark: str


def without_padding(hu: np.ndarray, padding: np.ndarray) -> Padded:
    """Hounsfield units int16 [H, W] with -1024 in the pixels that are padding, written in place.

    padding: bool [H, W], the pixels of the padding value or range. Where those are -900 HU at most, or more than any CT
    measures, all are padding. Otherwise those that are joined to the border of the image: water is a padding value of 0
    with an intercept of 0, and a scan's padding lies outside its field of view. Source: DICOM PS3.3 C.7.5.1.1.2.
    """
    if not padding.any():
        return Padded(hu, "")
    tissue = padding & (hu > _AIR_HU) & (hu <= HIGHEST_HU)
    if not tissue.any():
        hu[padding] = MIN_HU
        return Padded(hu, "")
    outside = joined_to_border(padding)
    inside = tissue & ~outside
    hu[padding & ~inside] = MIN_HU
    return Padded(hu, AS_TISSUE if inside.any() else "")


def joined_to_border(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask bool [H, W] that are joined to the border of the image, by their sides."""
    framed = cv2.copyMakeBorder(
        np.ascontiguousarray(mask).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1
    )
    _, parts = cv2.connectedComponents(framed, connectivity=4)
    return (parts == parts[0, 0])[1:-1, 1:-1] & mask
