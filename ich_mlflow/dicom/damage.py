"""Damage a good DICOM file in the ways that files are damaged, to see that each is found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import EnhancedCTImageStorage, JPEG2000Lossless


@dataclass(frozen=True, kw_only=True)
class Fault:
    """damage: edits the file at a path. reason, tag: what the SliceError of reading it must say."""

    damage: Callable[[Path], object]
    reason: str
    tag: str = ""


def _edit(change: Callable[[FileDataset], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path, enforce_file_format=True)

    return damage


def _set(keyword: str, value: object) -> Callable[[Path], None]:
    return _edit(lambda dataset: setattr(dataset, keyword, value))


def _remove(keyword: str) -> Callable[[Path], None]:
    return _edit(lambda dataset: delattr(dataset, keyword))


def _blank(dataset: FileDataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def _break_stream(dataset: FileDataset) -> None:
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 64])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def _enhance(dataset: FileDataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = 1


FILE_FAULTS: dict[str, Fault] = {
    "cut short": Fault(
        damage=lambda path: path.write_bytes(path.read_bytes()[:-1000]), reason="truncated", tag="PixelData"
    ),
    "empty": Fault(damage=lambda path: path.write_bytes(b""), reason="not_dicom"),
    "not DICOM": Fault(damage=lambda path: path.write_bytes(b"404 Not Found\n" * 99), reason="not_dicom"),
    "blank": Fault(damage=_edit(_blank), reason="constant", tag="PixelData"),
    "no rescale slope": Fault(damage=_remove("RescaleSlope"), reason="no_rescale", tag="RescaleSlope"),
    "no rescale intercept": Fault(
        damage=_remove("RescaleIntercept"), reason="no_rescale", tag="RescaleIntercept"
    ),
    "other units": Fault(damage=_set("RescaleType", "OD"), reason="not_hounsfield", tag="RescaleType"),
    "MR": Fault(damage=_set("Modality", "MR"), reason="not_ct", tag="Modality"),
    "another slice": Fault(
        damage=_set("SOPInstanceUID", "ID_000000000"), reason="another_slice", tag="SOPInstanceUID"
    ),
    "no patient": Fault(damage=_remove("PatientID"), reason="no_identity", tag="PatientID"),
    "no series": Fault(damage=_remove("SeriesInstanceUID"), reason="no_identity", tag="SeriesInstanceUID"),
    "no position": Fault(
        damage=_remove("ImagePositionPatient"), reason="no_geometry", tag="ImagePositionPatient"
    ),
    "inverted": Fault(
        damage=_set("PhotometricInterpretation", "MONOCHROME1"),
        reason="unsupported_pixels",
        tag="PhotometricInterpretation",
    ),
    "8 bits": Fault(damage=_set("BitsAllocated", 8), reason="unsupported_pixels", tag="BitsAllocated"),
    "enhanced": Fault(damage=_edit(_enhance), reason="multi_frame", tag="SOPClassUID"),
    "several frames": Fault(damage=_set("NumberOfFrames", 2), reason="multi_frame", tag="NumberOfFrames"),
    "broken stream": Fault(damage=_edit(_break_stream), reason="undecodable", tag="TransferSyntaxUID"),
}
