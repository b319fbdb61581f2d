"""One axial CT image: what the project knows of it, and how it is read from a DICOM file."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One axial CT image (a DICOM SOP instance, or what a source has in its place).

    hu                int16 [H, W], Hounsfield units, at least -1024
    sop_uid           identifies the image; RSNA: ID_<9 hex>
    patient_id        the unit of splitting
    study_uid         one visit's imaging
    series_uid        one acquisition or reconstruction
    position_mm       position along the slice normal, increasing towards the head
    pixel_spacing_mm  (between rows, between columns); None where the source doesn't record it
    """

    hu: np.ndarray
    sop_uid: str
    patient_id: str
    study_uid: str
    series_uid: str
    position_mm: float
    pixel_spacing_mm: tuple[float, float] | None
