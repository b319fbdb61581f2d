"""Write one CT slice as DICOM, with the tags that a file of RSNA 2019 has."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How HU become stored values.

    bits_stored: 12 or 16. signed: PixelRepresentation 1. intercept: RescaleIntercept, HU of stored value 0.
    implicit_vr: implicit instead of explicit VR little endian.
    """

    bits_stored: int = 16
    signed: bool = True
    intercept: int = -1024
    implicit_vr: bool = False


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who and where: UIDs as RSNA writes them (no valid UIDs), ImagePositionPatient and -Orientation, mm."""

    sop_uid: str
    patient_id: str
    study_uid: str
    series_uid: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, float]


def write_slice(path: Path, hu: np.ndarray, identity: Identity, encoding: Encoding) -> None:
    """Write HU int16 [H, W] to `path`. What the encoding can't hold is clipped to its range."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[identity.sop_uid])
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if encoding.implicit_vr else ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = identity.sop_uid
    dataset.Modality = "CT"
    dataset.PatientID = identity.patient_id
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.series_uid
    dataset.StudyID = ""
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in identity.position]
    dataset.ImageOrientationPatient = [f"{value:.6g}" for value in identity.orientation]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.PixelSpacing = [f"{value:.6g}" for value in identity.pixel_spacing_mm]
    dataset.BitsAllocated = 16
    dataset.BitsStored = encoding.bits_stored
    dataset.HighBit = encoding.bits_stored - 1
    dataset.PixelRepresentation = int(encoding.signed)
    dataset.WindowCenter, dataset.WindowWidth = "40", "80"
    dataset.RescaleIntercept, dataset.RescaleSlope = str(encoding.intercept), "1"
    dataset.PixelData = _stored_values(hu, encoding).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _stored_values(hu: np.ndarray, encoding: Encoding) -> np.ndarray:
    bits = encoding.bits_stored
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if encoding.signed else (0, 2**bits - 1)
    values = np.clip(hu.astype(np.int32) - encoding.intercept, lowest, highest)
    return values.astype("<i2" if encoding.signed else "<u2")
