"""Write DICOM images as scanners and PACS export them: complete, valid headers, of several modalities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

CT, MR, SECONDARY_CAPTURE = "ct", "mr", "secondary_capture"
_SOP_CLASSES = {CT: CTImageStorage, MR: MRImageStorage, SECONDARY_CAPTURE: SecondaryCaptureImageStorage}


def uid_of(*parts: object) -> str:
    """A valid UID, the same for the same parts."""
    return str(generate_uid(entropy_srcs=["/".join(map(str, parts))]))


def write_image(path: Path, pixels: np.ndarray, tags: Mapping[str, Any], *, kind: str) -> None:
    """Write one image. tags: every element but those of pixels and SOP class, by keyword; RescaleType may be one.

    pixels: HU int16 [H, W] of CT, int16 [H, W] of MR, uint8 [H, W] of a secondary capture.
    """
    dataset = _file(path, _SOP_CLASSES[kind], tags["SOPInstanceUID"])
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID = _SOP_CLASSES[kind]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    values = pixels
    if kind == CT:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = (
            "-1024",
            "1",
            tags.get("RescaleType", "HU"),
        )
        dataset.WindowCenter, dataset.WindowWidth = "40", "80"
        values = np.clip(pixels.astype(np.int32) + 1024, -(2**15), 2**15 - 1).astype(np.int16)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_directory(path: Path) -> None:
    """Write a DICOMDIR that lists nothing."""
    dataset = _file(path, MediaStorageDirectoryStorage, uid_of("directory", path.name))
    dataset.FileSetID = "PHANTOM"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = []
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def _file(path: Path, sop_class: str, sop_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
