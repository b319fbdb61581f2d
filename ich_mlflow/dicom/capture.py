"""Pictures of slices with heat maps on them, as DICOM Secondary Capture images for a viewer."""

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from ich_mlflow import __version__
from ich_mlflow.dicom import derived
from ich_mlflow.dicom.derived import Source
from ich_mlflow.errors import DataError
from ich_mlflow.system.whole import write_whole

SERIES_NUMBER = 9002
SERIES_DESCRIPTION = "ich_mlflow heat maps, research only"
WARNING = "RESEARCH ONLY - NOT A MEDICAL DEVICE"
#: Narrower pictures have no room for the warning.
MIN_WIDTH = 128

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LARGEST_SCALE = 0.5
_CHARACTERS_A_LINE = 44
_MARGIN = 4
#: Along x, y and z of the patient, the letters of the negative and of the positive direction.
_DIRECTIONS = (("R", "L"), ("A", "P"), ("F", "H"))


def write_captures(
    paths: Sequence[Path],
    sources: Sequence[Path],
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    uid_seed: str,
    planned: Sequence[tuple[str, str]] = (),
) -> None:
    """Write pictures of slices to `paths`, one Secondary Capture image a slice, all in one new series.

    sources: the file that each picture is made from, in the order in which a viewer shall show them. images: uint8
    RGB [H, W, 3], in the slice's orientation. captions: a line a picture, which must name no patient; it is burned
    in below the picture with WARNING, and stands in Image Comments. UIDs come from uid_seed and the sources.
    planned: as of derived.read_sources.
    Raises SliceError and DataError as derived.read_sources, DataError too where two sources are the same slice,
    ValueError where the numbers of arguments differ or an image is of another kind. Source: DICOM PS3.3 A.8.1, C.7.6.1.
    """
    read = derived.read_sources(sources, planned)
    if len({len(paths), len(sources), len(images), len(captions)}) > 1:
        raise ValueError("expected as many paths and sources as images and captions")
    if len({source.sop_uid for source in read}) < len(read):
        raise DataError(
            "two source slices have the same SOPInstanceUID, expected a picture a slice: leave one out"
        )
    # Identifiers are kept as they are, and RSNA's are no valid UIDs.
    with pydicom.config.disable_value_validation():
        series_uid = derived.derived_uid(uid_seed, read[0], "capture", "series")
        for place, (path, source, image, caption) in enumerate(
            zip(paths, read, images, captions, strict=True), 1
        ):
            capture = _capture(image, derived.plain_text(caption, 256), source, series_uid, place, uid_seed)
            write_whole(path, partial(capture.save_as, enforce_file_format=True))


def with_captions(image: np.ndarray, caption: str) -> np.ndarray:
    """The picture, uint8 RGB [H, W, 3], with WARNING and the caption in white on a black strip below it.

    Raises ValueError where it is of another kind or narrower than MIN_WIDTH.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[1] < MIN_WIDTH:
        raise ValueError(
            f"image is {image.dtype} {image.shape}, expected uint8 [H, W, 3] at least {MIN_WIDTH} wide"
        )
    lines = [WARNING, *textwrap.wrap(caption, _CHARACTERS_A_LINE)]
    width = image.shape[1]
    widest = max(cv2.getTextSize(line, _FONT, 1.0, 1)[0][0] for line in lines)
    scale = min(_LARGEST_SCALE, (width - 2 * _MARGIN) / widest)
    line_height = round(cv2.getTextSize(WARNING, _FONT, scale, 1)[0][1] * 1.4) + _MARGIN
    strip = np.zeros((line_height * len(lines) + 2 * _MARGIN, width, 3), np.uint8)
    for place, line in enumerate(lines, 1):
        cv2.putText(
            strip, line, (_MARGIN, place * line_height), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA
        )
    return np.concatenate([image, strip])


def _capture(
    image: np.ndarray, caption: str, source: Source, series_uid: str, place: int, uid_seed: str
) -> Dataset:
    pixels = with_captions(image, caption)
    orientation = _patient_orientation(source.orientation)
    capture = hd.sc.SCImage(
        pixel_array=pixels,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=orientation or ("L", "P"),
        study_instance_uid=source.study_uid,
        series_instance_uid=series_uid,
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=derived.derived_uid(uid_seed, source, "capture", "instance", source.sop_uid),
        instance_number=place,
        manufacturer=derived.MANUFACTURER,
        manufacturer_model_name=derived.MANUFACTURER,
        software_versions=__version__,
    )
    if orientation is None:
        capture.PatientOrientation = []
    capture.BodyPartExamined = "HEAD"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.BurnedInAnnotation = "NO"  # what is burned in tells neither the patient nor the date
    capture.ContentQualification = "RESEARCH"
    capture.ImageComments = caption
    capture.DerivationDescription = f"Heat map of a classifier over one CT slice. {derived.NOTICE}"
    capture.SourceImageSequence = [_source_image(source)]
    derived.keep_identity(capture, source)
    derived.keep_compression(capture, source)
    return capture


def _source_image(source: Source) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_uid
    item.PurposeOfReferenceCodeSequence = [
        hd.sr.CodedConcept("121322", "DCM", "Source image for image processing operation")
    ]
    return item


def _patient_orientation(cosines: Sequence[float]) -> tuple[str, str] | None:
    """Where a row and a column of the picture lead to, as letters; None where the slice doesn't say.

    A tilted direction counts as the axis that it is nearest to. Source: DICOM PS3.3 C.7.6.1.1.1.
    """
    if len(cosines) != 6 or not any(cosines[:3]) or not any(cosines[3:]):
        return None
    row, column = (max(range(3), key=lambda axis: abs(part[axis])) for part in (cosines[:3], cosines[3:]))
    return _DIRECTIONS[row][cosines[row] > 0], _DIRECTIONS[column][cosines[3 + column] > 0]
