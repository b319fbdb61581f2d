"""What objects made from CT slices have in common: whose they are, which slices they refer to, their UIDs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage, generate_uid

from ich_mlflow.dicom import header
from ich_mlflow.dicom.kind import KEYWORDS as KIND_KEYWORDS
from ich_mlflow.dicom.kind import is_captured_ct
from ich_mlflow.dicom.part10 import inflated, part10
from ich_mlflow.errors import DataError, SliceError

NOTICE = "Research software, not a medical device."
MANUFACTURER = "ich_mlflow"

_REFERENCE = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
#: Patient and study of a source, taken over byte for byte, the character set that they are written in with them.
_KEPT = (
    "SpecificCharacterSet", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName",
)  # fmt: skip
#: Of _KEPT, what the standard wants absent rather than empty (type 1C and 3).
_OPTIONAL = ("SpecificCharacterSet", "IssuerOfPatientID")
_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_READ = [*KIND_KEYWORDS, *_REFERENCE, *_KEPT, *_COMPRESSION]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The header of a slice that something is derived from.

    sop_uid, series_uid, study_uid  as the file has them, which may be no valid UIDs (RSNA: ID_<hex>)
    patient_id                      '' where missing
    orientation                     Image Orientation (Patient), 6 direction cosines; () where missing
    identity, compression           the elements of patient and study, and of lossy compression if it was lossy
    """

    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str = field(repr=False)
    orientation: tuple[float, ...]
    identity: tuple[DataElement | RawDataElement, ...] = field(repr=False)
    compression: tuple[DataElement | RawDataElement, ...] = field(repr=False)
    sop_class_uid: str = CTImageStorage


def read_sources(paths: Sequence[Path], planned: Sequence[tuple[str, str]] = ()) -> list[Source]:
    """Read the headers, not the pixels, of the slices of one study, in the order of `paths`.

    planned: SOPInstanceUID and PatientID of the images that the files held before, where they may have changed;
    DataError where one has.
    A file without SOPClassUID, as RSNA's, counts as CT Image Storage. Raises SliceError where a file can't be read,
    is of another SOP class or has no UIDs, and DataError where there is none, or they are not of one patient and
    study. Messages name neither files nor values, which may be names of patients, but the place in `paths`.
    """
    if not paths:
        raise DataError("no source slices to derive from: pass at least one DICOM file")
    sources = [_read(path, f"source slice {place} of {len(paths)}") for place, path in enumerate(paths, 1)]
    if planned and [(source.sop_uid, source.patient_id) for source in sources] != list(planned):
        raise DataError("a source slice holds another image than when it was scored: run predict again")
    if len({(source.patient_id, source.study_uid) for source in sources}) > 1:
        raise DataError(
            "the source slices are of several patients or studies, expected one: pass one study at a time"
        )
    return sources


def derived_uid(seed: str, source: Source, *purpose: str) -> str:
    """A valid UID, the same for the same seed, study, series and purpose."""
    return str(generate_uid(entropy_srcs=["\n".join((seed, source.study_uid, source.series_uid, *purpose))]))


def keep_identity(dataset: Dataset, source: Source) -> None:
    """Give `dataset` the patient and study of its source, byte for byte; what the source lacks stays empty."""
    for keyword in _KEPT:
        if keyword in _OPTIONAL:
            dataset.pop(_tag(keyword), None)
        else:
            setattr(dataset, keyword, None)
    _put(dataset, source.identity)


def keep_compression(dataset: Dataset, source: Source) -> None:
    """Lossy Image Compression '00', but of a source that was compressed with loss, what that says.

    Once lossy, an image and what is derived from it stay so. Source: DICOM PS3.3 C.7.6.1.1.5.
    """
    dataset.LossyImageCompression = "00"
    _put(dataset, source.compression)


def plain_text(text: str, limit: int = 64) -> str:
    """Text that fits any character set and value representation: ASCII, no backslash, `limit` characters."""
    ascii_text = text.encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return " ".join("".join(one if one.isprintable() else " " for one in ascii_text).split())[:limit].rstrip()


def _read(path: Path, name: str) -> Source:
    dataset = _header(path, name)
    identity = _elements(dataset, _KEPT)  # as bytes, before anything below asks for their values
    uids = {keyword: header.text(dataset, keyword) for keyword in _REFERENCE}
    missing = [keyword for keyword, value in uids.items() if not value]
    if missing:
        raise SliceError(
            f"{name} has no {', '.join(missing)}, which a reference to it needs: export it again",
            reason="no_identity",
            tag=missing[0],
        )
    is_lossy = header.text(dataset, "LossyImageCompression") == "01"
    return Source(
        sop_uid=uids["SOPInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        study_uid=uids["StudyInstanceUID"],
        patient_id=header.text(dataset, "PatientID"),
        orientation=header.numbers(dataset, "ImageOrientationPatient"),
        identity=identity,
        compression=_elements(dataset, _COMPRESSION) if is_lossy else (),
        sop_class_uid=header.text(dataset, "SOPClassUID") or CTImageStorage,
    )


def _header(path: Path, name: str) -> Dataset:
    try:
        whole = part10(path.read_bytes()).data
        dataset = pydicom.dcmread(
            BytesIO(inflated(whole, name)), stop_before_pixels=True, specific_tags=list(_READ)
        )
    except OSError as error:
        raise SliceError(
            f"{name} can't be read ({error.strerror}): check its permissions", reason="unreadable"
        ) from None
    except Exception:  # Broken bytes make pydicom raise whatever its parser stumbled over.
        raise SliceError(
            f"{name} is not a readable DICOM file, expected a CT image: check that it was copied whole",
            reason="not_dicom",
        ) from None
    if header.text(dataset, "SOPClassUID") not in ("", CTImageStorage) and not is_captured_ct(dataset):
        raise SliceError(
            f"{name} is of another SOP class than CT Image Storage: pass single CT images only",
            reason="not_ct",
            tag="SOPClassUID",
        )
    return dataset


def _elements(dataset: Dataset, keywords: Sequence[str]) -> tuple[DataElement | RawDataElement, ...]:
    """The elements that are there, ready to be written as Explicit VR Little Endian."""
    found = [(keyword, dataset.get_item(_tag(keyword))) for keyword in keywords]
    return tuple(_explicit(element, keyword) for keyword, element in found if element is not None)


def _explicit(element: DataElement | RawDataElement, keyword: str) -> DataElement | RawDataElement:
    if not isinstance(element, RawDataElement):
        return element
    vr = dictionary_VR(_tag(keyword))
    value = element.value or b""
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return element._replace(
        VR=vr, value=value, length=len(value), is_implicit_VR=False, is_little_endian=True
    )


def _put(dataset: Dataset, elements: Sequence[DataElement | RawDataElement]) -> None:
    for element in elements:
        dataset[element.tag] = element


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of DICOM's")
    return Tag(tag)
