"""What a CT image's header says of how it was taken."""

import math
from collections.abc import Sequence

from pydicom.dataset import Dataset

from ich_mlflow.dicom import header
from ich_mlflow.dicom.study import slice_normal


def is_localizer(dataset: Dataset) -> bool:
    """Whether ImageType says so. Source: DICOM PS3.3 C.8.2.1.1.1."""
    return "LOCALIZER" in header.text(dataset, "ImageType")


def tilt_degrees(orientation: Sequence[float]) -> float:
    """Degrees between slice normal and body axis, 0 (axial) to 90, of ImageOrientationPatient's six numbers.

    Raises ValueError where they make no sense.
    """
    return math.degrees(math.acos(min(1.0, slice_normal(tuple(orientation))[2])))
