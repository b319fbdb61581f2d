"""What a slice's header says of its series, without its pixels: enough to choose one series of many."""

from collections.abc import Callable
from io import BytesIO
from math import isnan

import pydicom
from pydicom.dataset import Dataset

from ich_mlflow.dicom.image_header import KEYWORDS, ImageHeader, image_header_of
from ich_mlflow.dicom.kind import is_ct
from ich_mlflow.dicom.parse import parse_any
from ich_mlflow.dicom.part10 import START_BYTES, is_part10, part10
from ich_mlflow.errors import SliceError


def read_header(read: Callable[[int | None], bytes], name: str) -> ImageHeader:
    """The header of a CT image. `name` stands in messages.

    read: gives the file's first so many bytes, or with None all; all are asked for only where the header does not
    end in the first. Raises SliceError where they are no CT image, or lack UIDs, position or orientation.
    """
    start = read(START_BYTES)
    dataset = _of_start(start)
    if dataset is None:
        # What doesn't begin as DICOM is none, and may be a film of gigabytes.
        begins = is_part10(part10(start, name, is_whole=False).data)
        dataset = parse_any(read(None) if begins else start, name).dataset
    if not is_ct(dataset):
        raise SliceError(
            f"{name} has a Modality other than CT: pass CT images only", reason="not_ct", tag="Modality"
        )
    found = image_header_of(dataset, name)
    if isnan(found.position_mm):
        raise SliceError(
            f"{name} has no usable ImagePositionPatient (3 numbers) and ImageOrientationPatient (6 numbers): "
            "export it again with its geometry",
            reason="no_geometry",
            tag="ImagePositionPatient",
        )
    return found


def _of_start(data: bytes) -> Dataset | None:
    """The elements before the pixels, if they begin within `data`; None otherwise, or where it can't be read."""
    try:
        data = part10(data, is_whole=False).data
        stream = BytesIO(data)
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=KEYWORDS)
    except Exception:  # Broken bytes, or an end in the middle, make pydicom raise whatever it stumbled over.
        return None
    # Where it met the pixels, it stands before them.
    return dataset if stream.tell() < len(data) else None
