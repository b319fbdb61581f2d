"""One axial CT image: what the project knows of it, and how it is read from a DICOM file."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset

from ich_mlflow.dicom.pixels import header_text, read_hounsfield
from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import SliceError

#: A deflated file of a few kilobytes can unpack to gigabytes, so it is refused before it is parsed.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_BYTES = 2048

_IDENTITY = ("SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")


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


def read_slice(path: Path) -> Slice:
    """Read a slice of a data set: pixels, identity and position must all be there.

    Raises SliceError, naming the file, where it is no DICOM file, is not CT, lacks an identifier or its
    position, or where slice_from_bytes would refuse its pixels.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SliceError(f"{path} can't be read ({error.strerror}): check its path and permissions") from None
    dataset = _parse(data, str(path))
    missing = [keyword for keyword in _IDENTITY if not header_text(dataset, keyword)]
    if missing:
        raise SliceError(
            f"{path} has no {', '.join(missing)}, which grouping by patient and series needs: "
            "export it again with its identifiers (pseudonyms will do)"
        )
    try:
        position_mm = _position_mm(dataset)
    except Exception:  # Missing, or broken: a value is decoded when it is asked for, and raises anything.
        raise SliceError(
            f"{path} has no usable ImagePositionPatient (3 numbers) and ImageOrientationPatient (6 numbers): "
            "export it again with its geometry"
        ) from None
    return _slice(dataset, str(path), position_mm)


def slice_from_bytes(data: bytes, name: str) -> Slice:
    """Read a slice from a DICOM file's bytes, to be classified by itself. `name` stands in messages.

    Strict on pixels; an identifier that is missing becomes '', a position that is missing 0.0.
    Raises SliceError where the bytes are no DICOM file or not CT, are deflated, lack rescale tags, are cut
    short, or are anything but one frame of 16-bit MONOCHROME2. Messages hold no text from the header.
    """
    dataset = _parse(data, name)
    try:
        position_mm = _position_mm(dataset)
    except Exception:  # As in read_slice.
        position_mm = 0.0
    return _slice(dataset, name, position_mm)


def _parse(data: bytes, name: str) -> FileDataset:
    if _DEFLATED in data[:_META_BYTES]:
        raise SliceError(f"{name} is deflated, which is not accepted: store it uncompressed (gdcmconv --raw)")
    try:
        dataset = pydicom.dcmread(BytesIO(data))
    except Exception:  # Broken bytes make pydicom raise whatever its parser stumbled over.
        raise SliceError(
            f"{name} is not a readable DICOM file ({len(data)} bytes), expected a DICOM Part 10 file "
            "('DICM' at byte 128): check that it was copied whole"
        ) from None
    if header_text(dataset, "Modality") != "CT":
        raise SliceError(f"{name} has a Modality other than CT: pass CT images only")
    return dataset


def _slice(dataset: FileDataset, name: str, position_mm: float) -> Slice:
    sop_uid, patient_id, study_uid, series_uid = (header_text(dataset, keyword) for keyword in _IDENTITY)
    return Slice(
        hu=read_hounsfield(dataset, name),
        sop_uid=sop_uid,
        patient_id=patient_id,
        study_uid=study_uid,
        series_uid=series_uid,
        position_mm=position_mm,
        pixel_spacing_mm=_pixel_spacing_mm(dataset),
    )


def _position_mm(dataset: FileDataset) -> float:
    return position_along_normal(dataset.ImagePositionPatient, dataset.ImageOrientationPatient)


def _pixel_spacing_mm(dataset: FileDataset) -> tuple[float, float] | None:
    """Distance between rows and between columns, DICOM's order; None where it makes no sense."""
    try:
        rows, columns = (float(value) for value in dataset.PixelSpacing)
    except Exception:  # As in read_slice.
        return None
    return (rows, columns) if 0 < rows < np.inf and 0 < columns < np.inf else None
