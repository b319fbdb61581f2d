"""What a slice's header says of its series, without its pixels: enough to choose one series of many."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset

from ich_mlflow.dicom import acquisition, header
from ich_mlflow.dicom.parse import parse_any
from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import SliceError

#: The header of nearly every CT image ends before this.
_START_BYTES = 2**15
_KEYWORDS = [
    "ImageType", "SOPInstanceUID", "Modality", "SeriesDescription", "ContrastBolusAgent", "ConvolutionKernel",
    "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceHeader:
    """Of one CT image: which it is, where it lies, and what its series says of itself.

    position_mm    along the slice normal, increasing towards the head
    tilt_degrees   between slice normal and body axis, 0 (axial) to 90
    description    SeriesDescription; kernel: the first ConvolutionKernel; '' where missing
    has_contrast   ContrastBolusAgent names an agent
    is_localizer   ImageType says so
    """

    sop_uid: str
    series_uid: str
    position_mm: float
    tilt_degrees: float
    description: str
    kernel: str
    has_contrast: bool
    is_localizer: bool


def read_header(read: Callable[[int | None], bytes], name: str) -> SliceHeader:
    """The header of a CT image. `name` stands in messages.

    read: gives the file's first so many bytes, or with None all; all are asked for only where the header does not
    end in the first. Raises SliceError where they are no CT image, or lack UIDs, position or orientation.
    """
    dataset = _of_start(read(_START_BYTES))
    if dataset is None:
        dataset = parse_any(read(None), name).dataset
    if header.text(dataset, "Modality") != "CT":
        raise SliceError(
            f"{name} has a Modality other than CT: pass CT images only", reason="not_ct", tag="Modality"
        )
    uids = {keyword: header.text(dataset, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID")}
    missing = [keyword for keyword, value in uids.items() if not value]
    if missing:
        raise SliceError(
            f"{name} has no {', '.join(missing)}, which telling series apart needs: export it again",
            reason="no_identity",
            tag=missing[0],
        )
    position = header.numbers(dataset, "ImagePositionPatient")
    orientation = header.numbers(dataset, "ImageOrientationPatient")
    try:
        position_mm = position_along_normal(position, orientation)
        tilt = acquisition.tilt_degrees(orientation)
    except ValueError:
        raise SliceError(
            f"{name} has no usable ImagePositionPatient (3 numbers) and ImageOrientationPatient (6 numbers): "
            "export it again with its geometry",
            reason="no_geometry",
            tag="ImagePositionPatient",
        ) from None
    return SliceHeader(
        sop_uid=uids["SOPInstanceUID"],
        series_uid=uids["SeriesInstanceUID"],
        position_mm=position_mm,
        tilt_degrees=tilt,
        description=header.text(dataset, "SeriesDescription"),
        kernel=header.first_text(dataset, "ConvolutionKernel"),
        has_contrast=acquisition.has_contrast(dataset),
        is_localizer=acquisition.is_localizer(dataset),
    )


def _of_start(data: bytes) -> Dataset | None:
    """The elements before the pixels, if they begin within `data`; None otherwise, or where it can't be read."""
    stream = BytesIO(data)
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_KEYWORDS)
    except Exception:  # Broken bytes, or an end in the middle, make pydicom raise whatever it stumbled over.
        return None
    # Where it met the pixels, it stands before them.
    return dataset if stream.tell() < len(data) else None
