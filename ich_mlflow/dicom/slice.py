"""One axial CT image: what the project knows of it, and how it is read from a DICOM file."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ich_mlflow.dicom import acquisition, header
from ich_mlflow.dicom.contrast import Contrast, contrast_tags
from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts, facts_of
from ich_mlflow.dicom.kind import ENHANCED, is_ct, remarks_on_kind
from ich_mlflow.dicom.parse import Parsed, parse_any, parse_plain
from ich_mlflow.dicom.part10 import read_file
from ich_mlflow.dicom.pixels import read_image
from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import SliceError

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
    is_localizer      the file says that it is one; False where the source doesn't record it
    has_contrast      the file's tags name contrast agent, or may; False where the source doesn't record it
    tilt_degrees      between slice normal and body axis, 0 (axial) to 90; None where the source doesn't record it
    blood             uint8 [H, W], bit i set where blood of labels.SUBTYPES[i] is, bit 5 where blood is whose subtype
                      the source doesn't know (ct/blood.py); None where it doesn't know where blood is
    remarks           what the file says amiss and was read nevertheless, a sentence each
    facts             how it was taken and packed, by its header; of other sources nothing
    subtypes          0 or 1 for each of labels.SUBTYPES, where only reading can tell; None: as its source lists it
    """

    hu: np.ndarray
    sop_uid: str
    patient_id: str
    study_uid: str
    series_uid: str
    position_mm: float
    pixel_spacing_mm: tuple[float, float] | None
    is_localizer: bool = False
    has_contrast: bool = False
    tilt_degrees: float | None = None
    blood: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    subtypes: tuple[int, ...] | None = None
    facts: HeaderFacts = NO_FACTS


def read_slice(path: Path) -> Slice:
    """Read a slice of a data set from a file. As parse_slice, and SliceError where it can't be read."""
    try:
        data = read_file(Path(path))
    except OSError as error:
        raise SliceError(
            f"{path} can't be read ({error.strerror}): check its path and permissions", reason="unreadable"
        ) from None
    return parse_slice(data, str(path))


def parse_slice(data: bytes, name: str, *, patient_id: str = "") -> Slice:
    """Read a slice of a data set from a file's bytes: pixels, identity and position must all be there.

    `name` stands in messages. patient_id: where it is known, and better than the file knows it; it then need not be
    in the file. Raises SliceError where the bytes are no DICOM file or not CT, lack an
    identifier or their position, or where slice_from_bytes would refuse the pixels.
    """
    return _read(data, name, partial(_strict, patient_id=patient_id))


def slice_from_bytes(data: bytes, name: str) -> Slice:
    """Read a slice from a DICOM file's bytes, to be classified by itself. `name` stands in messages.

    Strict on pixels; an identifier that is missing becomes '', a position that is missing 0.0.
    Raises SliceError where the bytes are no DICOM file or not CT, lack rescale tags, are cut short, can't be
    decoded, or are anything but one frame of 16-bit MONOCHROME2. Messages hold no text from the header.
    """
    return _read(data, name, _lenient)


def _read(data: bytes, name: str, make: Callable[[Parsed, str], Slice]) -> Slice:
    """The quick way where it succeeds; dcmread has the last word on what can't be used."""
    plain = parse_plain(data)
    if plain is not None:
        with contextlib.suppress(SliceError):
            return make(plain, name)
    return make(parse_any(data, name), name)


def _strict(parsed: Parsed, name: str, *, patient_id: str = "") -> Slice:
    dataset = parsed.dataset
    _check_kind(dataset, name)
    identity = _identity(dataset)
    identity["PatientID"] = patient_id or identity["PatientID"]
    missing = [keyword for keyword, value in identity.items() if not value]
    if missing:
        raise SliceError(
            f"{name} has no {', '.join(missing)}, which grouping by patient and series needs: "
            "export it again with its identifiers (pseudonyms will do)",
            reason="no_identity",
            tag=missing[0],
        )
    try:
        position_mm = _position_mm(dataset)
    except ValueError:
        raise SliceError(
            f"{name} has no usable ImagePositionPatient (3 numbers) and ImageOrientationPatient (6 numbers): "
            "export it again with its geometry",
            reason="no_geometry",
            tag="ImagePositionPatient",
        ) from None
    return _slice(parsed, name, identity, position_mm)


def _lenient(parsed: Parsed, name: str) -> Slice:
    _check_kind(parsed.dataset, name)
    try:
        position_mm = _position_mm(parsed.dataset)
    except ValueError:
        position_mm = 0.0
    return _slice(parsed, name, _identity(parsed.dataset), position_mm, guarded=True)


def _identity(dataset: Dataset) -> dict[str, str]:
    return {keyword: header.text(dataset, keyword) for keyword in _IDENTITY}


def _check_kind(dataset: Dataset, name: str) -> None:
    if header.text(dataset, "SOPClassUID") in ENHANCED or "SharedFunctionalGroupsSequence" in dataset:
        raise SliceError(
            f"{name} is an Enhanced CT image: its frames and their geometry stand in functional groups, which "
            "are not read here. Convert it to single CT images (dcm4che's emf2sf does)",
            reason="multi_frame",
            tag="SOPClassUID",
        )
    if not is_ct(dataset):
        raise SliceError(
            f"{name} has a Modality other than CT: pass CT images only", reason="not_ct", tag="Modality"
        )
    if "PixelData" not in dataset:  # it stands last, so whatever else is missing is missing for this
        raise SliceError(
            f"{name} has no PixelData: it is cut short or no image, copy it again or leave it out",
            reason="truncated",
            tag="PixelData",
        )


def _slice(
    parsed: Parsed, name: str, identity: dict[str, str], position_mm: float, *, guarded: bool = False
) -> Slice:
    sop_uid, patient_id, study_uid, series_uid = (identity[keyword] for keyword in _IDENTITY)
    image = read_image(parsed, name, guarded=guarded)
    return Slice(
        hu=image.hu,
        sop_uid=sop_uid,
        patient_id=patient_id,
        study_uid=study_uid,
        series_uid=series_uid,
        position_mm=position_mm,
        pixel_spacing_mm=_pixel_spacing_mm(parsed.dataset),
        is_localizer=acquisition.is_localizer(parsed.dataset),
        has_contrast=contrast_tags(parsed.dataset).contrast > Contrast.NONE,
        tilt_degrees=_tilt_degrees(parsed.dataset),
        remarks=(*remarks_on_kind(parsed.dataset), *image.remarks),
        facts=facts_of(parsed.dataset, parsed.syntax),
    )


def _position_mm(dataset: Dataset) -> float:
    """Raises ValueError where position or orientation is missing or makes no sense."""
    return position_along_normal(
        header.numbers(dataset, "ImagePositionPatient"), header.numbers(dataset, "ImageOrientationPatient")
    )


def _tilt_degrees(dataset: Dataset) -> float | None:
    try:
        return acquisition.tilt_degrees(header.numbers(dataset, "ImageOrientationPatient"))
    except ValueError:
        return None


def _pixel_spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    """Distance between rows and between columns, DICOM's order; None where it makes no sense."""
    spacing = header.numbers(dataset, "PixelSpacing")
    return (spacing[0], spacing[1]) if len(spacing) == 2 and min(spacing) > 0 else None
