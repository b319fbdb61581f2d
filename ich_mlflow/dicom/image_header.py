"""What the header of any file says that might be a CT image: enough to sort a folder of all sorts of files."""

import stat
from dataclasses import dataclass
from io import BytesIO
from math import nan
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ich_mlflow.dicom import acquisition, header
from ich_mlflow.dicom.contrast import KEYWORDS as CONTRAST_KEYWORDS
from ich_mlflow.dicom.contrast import NO_CONTRAST, ContrastTags, contrast_tags
from ich_mlflow.dicom.facts import NO_FACTS, HeaderFacts, facts_of
from ich_mlflow.dicom.kind import CT_IMAGE, ENHANCED, is_captured_ct, is_ct
from ich_mlflow.dicom.kind import KEYWORDS as KIND_KEYWORDS
from ich_mlflow.dicom.layout import KEYWORDS as LAYOUT_KEYWORDS
from ich_mlflow.dicom.layout import why_unreadable
from ich_mlflow.dicom.parse import parse_any
from ich_mlflow.dicom.part10 import START_BYTES, is_part10, meta_end, part10, read_file, transfer_syntax
from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import SliceError

#: How archives begin: zip; 7z, RAR, xz, bzip2, Zstandard; and what stands in a tar's first header.
_ZIP = b"PK\x03\x04"
_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd")
_TAR, _TAR_PLACE = b"ustar", 257
_DICOMDIR = "1.2.840.10008.1.3.10"
#: No slice lies farther from its scanner's middle, and none is larger: greater numbers are nonsense.
_MAX_MM = 1e5
#: What a number of an image or series can be. Source: DICOM PS3.5 6.2 (IS).
_INTEGERS = range(-(2**31), 2**31)
KEYWORDS = [
    *CONTRAST_KEYWORDS,
    *KIND_KEYWORDS,
    *LAYOUT_KEYWORDS,
    "SpecificCharacterSet", "ImageType", "SOPInstanceUID", "StudyDate", "StudyDescription", "SeriesDescription",
    "PatientID", "BodyPartExamined", "ConvolutionKernel", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "PixelSpacing", "AcquisitionNumber", "SliceLocation",
    "ImagesInAcquisition", "Manufacturer",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageHeader:
    """Of one CT image: which it is, where it lies, and what its series says of itself. Texts are '' where missing.

    patient_id, study_uid, series_uid, sop_uid, study_date, study_description, description   as DICOM has them
    position_mm          along the slice normal, increasing towards the head; nan where missing or beyond 100 m
    slice_location_mm    SliceLocation, whose direction is the scanner's; nan where missing
    tilt_degrees         between slice normal and body axis, 0 (axial) to 90; nan without usable geometry
    kernel               the first ConvolutionKernel
    body_part            BodyPartExamined, upper case
    image_type           ImageType's values with backslashes between, upper case
    is_localizer         ImageType says so
    contrast             how surely its tags name contrast agent
    series_number, instance_number, images_in_acquisition     0 where missing, or beyond 32 bits
    field_of_view_mm     height and width; nan where PixelSpacing is missing
    acquisition          AcquisitionNumber
    facts                manufacturer, kernel and transfer syntax, without anything that may be a name
    spacing_mm           between rows; nan where PixelSpacing is missing
    has_frames           several in the file (Enhanced CT), which nothing here reads
    why_unreadable       why its pixels can't be read, as far as its header tells; '' where they may be
    """

    sop_uid: str
    series_uid: str
    patient_id: str = ""
    study_uid: str = ""
    study_date: str = ""
    study_description: str = ""
    description: str = ""
    kernel: str = ""
    body_part: str = ""
    image_type: str = ""
    acquisition: str = ""
    position_mm: float = nan
    slice_location_mm: float = nan
    tilt_degrees: float = nan
    field_of_view_mm: tuple[float, float] = (nan, nan)
    series_number: int = 0
    instance_number: int = 0
    images_in_acquisition: int = 0
    contrast: ContrastTags = NO_CONTRAST
    is_localizer: bool = False
    has_frames: bool = False
    why_unreadable: str = ""
    facts: HeaderFacts = NO_FACTS
    spacing_mm: float = nan


class NoCTImageError(SliceError):
    """A DICOM file that is no CT image. patient_id, study_uid, modality: what it says, '' where it doesn't."""

    def __init__(self, message: str, dataset: Dataset, *, reason: str, tag: str) -> None:
        super().__init__(message, reason=reason, tag=tag)
        self.patient_id, self.study_uid, self.modality = (
            header.text(dataset, keyword) for keyword in ("PatientID", "StudyInstanceUID", "Modality")
        )


def read_image_header(path: Path) -> ImageHeader:
    """Read the header of a CT image. Raises SliceError, with a reason, for any other file.

    Reasons: empty, unreadable, not_dicom, archive, truncated, dicomdir, not_ct, no_image (a report or picture that
    goes by CT), no_identity. Messages name no file: names of files may be names of patients.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting for ever
            raise SliceError("is no regular file", reason="not_dicom")
        with path.open("rb", buffering=0) as file:
            dataset = _dataset(file.read(START_BYTES), lambda: read_file(path))
    except OSError as error:
        raise SliceError(
            f"can't be read ({error.strerror}): check its permissions", reason="unreadable"
        ) from None
    _expect_ct_image(dataset)
    return image_header_of(dataset)


def image_header_of(dataset: Dataset, name: str = "") -> ImageHeader:
    """The header of a CT image that was read. `name` stands in messages. Raises SliceError where it lacks UIDs."""
    uids = {keyword: header.text(dataset, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID")}
    missing = [keyword for keyword, value in uids.items() if not value]
    if missing:
        raise SliceError(
            f"{name} has no {', '.join(missing)}, which telling series apart needs: export it again".lstrip(),
            reason="no_identity",
            tag=missing[0],
        )
    position_mm, tilt = _geometry(dataset)
    return ImageHeader(
        sop_uid=uids["SOPInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        patient_id=header.text(dataset, "PatientID"),
        study_uid=header.text(dataset, "StudyInstanceUID"),
        study_date=header.text(dataset, "StudyDate"),
        study_description=header.text(dataset, "StudyDescription"),
        description=header.text(dataset, "SeriesDescription"),
        kernel=header.first_text(dataset, "ConvolutionKernel"),
        body_part=header.text(dataset, "BodyPartExamined").upper(),
        image_type=_image_type(dataset),
        acquisition=header.text(dataset, "AcquisitionNumber"),
        position_mm=position_mm,
        slice_location_mm=_slice_location(dataset),
        tilt_degrees=tilt,
        field_of_view_mm=_field_of_view(dataset),
        series_number=_integer(dataset, "SeriesNumber"),
        instance_number=_integer(dataset, "InstanceNumber"),
        images_in_acquisition=_integer(dataset, "ImagesInAcquisition"),
        contrast=contrast_tags(dataset),
        is_localizer=acquisition.is_localizer(dataset),
        has_frames=_has_frames(dataset),
        why_unreadable=why_unreadable(dataset),
        facts=facts_of(dataset),
        spacing_mm=_spacing(dataset),
    )


def _dataset(start: bytes, read_all) -> FileDataset | Dataset:  # type: ignore[no-untyped-def]
    if not start:
        raise SliceError("is empty", reason="empty")
    is_whole = len(start) < START_BYTES
    begin = part10(start, is_whole=is_whole).data
    if not is_part10(begin):
        _refuse_archive(start, begin)
        raise SliceError("is no DICOM file ('DICM' at byte 128 is missing)", reason="not_dicom")
    if transfer_syntax(begin[: meta_end(begin)]) == DeflatedExplicitVRLittleEndian:
        return parse_any(read_all(), "the file").dataset  # which counts what comes out
    stream = BytesIO(begin)
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=KEYWORDS)
        # Where it met the pixels, it stands before them; a file of less than that has been read whole.
        if stream.tell() < len(begin) or is_whole:
            return dataset
    except Exception:  # Broken bytes, or an end in the middle, make pydicom raise whatever it stumbled over.
        pass
    return parse_any(read_all(), "the file").dataset


def _refuse_archive(start: bytes, unpacked: bytes) -> None:
    """Raise SliceError for the beginning of a file that packs others; `unpacked`: the same, of what is gzip'd."""
    if start.startswith(_ZIP):
        raise SliceError(
            "is a zip, and its name does not end in .zip, or it is cut short: if there are images in it, rename or "
            "unpack it",
            reason="archive",
        )
    if start.startswith(_ARCHIVES) or unpacked[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        raise SliceError(
            "is an archive of another kind than zip: if there are images in it, unpack it", reason="archive"
        )


def _expect_ct_image(dataset: FileDataset | Dataset) -> None:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and header.text(meta, "MediaStorageSOPClassUID") == _DICOMDIR:
        raise SliceError("is a DICOMDIR: the images it lists are found without it", reason="dicomdir")
    if not is_ct(dataset):
        raise NoCTImageError("is of another modality than CT", dataset, reason="not_ct", tag="Modality")
    if not header.text(dataset, "Modality") and not _integer(dataset, "Rows"):
        raise SliceError(
            "is cut short: its header ends before the image's size", reason="truncated", tag="Rows"
        )
    # RSNA's files name no SOP class.
    known = header.text(dataset, "SOPClassUID") in ("", CT_IMAGE, *ENHANCED) or is_captured_ct(dataset)
    if not known or not _integer(dataset, "Rows"):
        raise NoCTImageError(
            "has the Modality CT but is no CT image, like a dose sheet, a report or a screenshot",
            dataset,
            reason="no_image",
            tag="SOPClassUID",
        )


def _has_frames(dataset: Dataset) -> bool:
    return header.text(dataset, "SOPClassUID") in ENHANCED or _integer(dataset, "NumberOfFrames") > 1


def _geometry(dataset: Dataset) -> tuple[float, float]:
    orientation = header.numbers(dataset, "ImageOrientationPatient")
    try:
        position = position_along_normal(header.numbers(dataset, "ImagePositionPatient"), orientation)
        return (position, acquisition.tilt_degrees(orientation)) if abs(position) <= _MAX_MM else (nan, nan)
    except ValueError:
        return nan, nan


def _slice_location(dataset: Dataset) -> float:
    found = header.numbers(dataset, "SliceLocation")
    return found[0] if len(found) == 1 and abs(found[0]) <= _MAX_MM else nan


def _image_type(dataset: Dataset) -> str:
    try:
        value = dataset.get("ImageType") or ""
        return (value if isinstance(value, str) else "\\".join(map(str, value))).upper()
    except Exception:  # A value is decoded when it is asked for, and broken ones raise anything.
        return ""


def _integer(dataset: Dataset, keyword: str) -> int:
    found = header.numbers(dataset, keyword)
    return int(found[0]) if len(found) == 1 and int(found[0]) in _INTEGERS else 0


def _spacing(dataset: Dataset) -> float:
    spacing = header.numbers(dataset, "PixelSpacing")
    return spacing[0] if len(spacing) == 2 and 0 < min(spacing) <= max(spacing) <= _MAX_MM else nan


def _field_of_view(dataset: Dataset) -> tuple[float, float]:
    spacing = header.numbers(dataset, "PixelSpacing")
    if len(spacing) != 2 or min(spacing) <= 0:
        return nan, nan
    height, width = _integer(dataset, "Rows") * spacing[0], _integer(dataset, "Columns") * spacing[1]
    return min(height, _MAX_MM), min(width, _MAX_MM)
