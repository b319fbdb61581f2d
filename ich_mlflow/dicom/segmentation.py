"""Where a model found blood in the slices of a series, as a DICOM Segmentation that viewers lay over the slices."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from ich_mlflow.dicom import derived, header
from ich_mlflow.dicom.derived import Source
from ich_mlflow.dicom.findings import Algorithm
from ich_mlflow.dicom.study import position_along_normal
from ich_mlflow.errors import DataError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.system.whole import write_whole

SERIES_NUMBER = 9003
SERIES_DESCRIPTION = "ich_mlflow lesions, research only"
CONTENT_LABEL = "ICH_LESIONS"
#: Of DICOM PS3.16 CID 7150 and 7159. Which of the subtypes it is stands in the segment's label.
_CATEGORY = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
_HEMORRHAGE = CodedConcept("50960005", "SCT", "Hemorrhage")
_FAMILY = CodedConcept("123109", "DCM", "Artificial Intelligence")
_BRAIN = CodedConcept("12738006", "SCT", "Brain")
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_COUNTS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_READ = [*_GEOMETRY, "Rows", "Columns", "FrameOfReferenceUID"]


def write_segmentation(
    path: Path, sources: Sequence[Path], blood: np.ndarray, algorithm: Algorithm, *, uid_seed: str
) -> None:
    """Write where blood was found to `path`, a binary segment for each subtype that was found anywhere.

    sources: the files of one series. blood: uint8 [n, H, W], of the pixels of each, 0 where there is none, else 1 and
    its subtype's place in SUBTYPES. Frames refer to the source images that they lie on; slices without blood have
    none. Segments have the tracking identifiers of the report's measurement groups (findings.py) for the same uid_seed.
    A frame of reference is taken from the sources, or made up where they name none. Raises SliceError and DataError
    as derived.read_sources, and DataError where positions, orientation or pixel spacing are missing, ValueError where
    `blood` is of another shape than the slices, or none is in it.
    Source: DICOM PS3.3 A.51, C.8.20; PS3.16 CID 7150, 7159.
    """
    read = derived.read_sources(sources)
    found = [place for place in range(len(SUBTYPES)) if (blood == place + 1).any()]
    if not found or len(blood) != len(read):
        raise ValueError(
            f"blood is {blood.shape} with {len(found)} subtypes, expected one or more in {len(read)} slices"
        )
    # Segments are numbered from 1 without gaps.
    numbers = np.zeros(len(SUBTYPES) + 1, np.uint8)
    for number, place in enumerate(found, start=1):
        numbers[place + 1] = number
    # Identifiers are kept as they are, and RSNA's are no valid UIDs.
    with pydicom.config.disable_value_validation():
        frame_uid = derived.derived_uid(uid_seed, read[0], "lesions", "frame of reference")
        images = [_image(one, source, frame_uid) for one, source in zip(sources, read, strict=True)]
        if {(one.Rows, one.Columns) for one in images} != {blood.shape[1:]}:
            raise ValueError(f"blood is {blood.shape}, expected slices all of that size")
        _fill_thickness(images)
        segmentation = _segmentation(images, numbers[blood], found, read[0], algorithm, uid_seed)
        derived.keep_identity(segmentation, read[0])
        derived.keep_compression(segmentation, read[0])
        write_whole(path, partial(segmentation.save_as, enforce_file_format=True))


def _segmentation(
    images: Sequence[Dataset],
    labels: np.ndarray,
    found: Sequence[int],
    first: Source,
    algorithm: Algorithm,
    uid_seed: str,
) -> Dataset:
    """labels: uint8 [n, H, W] of segment numbers."""
    segmentation = hd.seg.Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(number, SUBTYPES[place], first, algorithm, uid_seed)
            for number, place in enumerate(found, start=1)
        ],
        series_instance_uid=derived.derived_uid(uid_seed, first, "lesions", "series"),
        series_number=SERIES_NUMBER,
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=derived.derived_uid(uid_seed, first, "lesions", "instance"),
        instance_number=1,
        manufacturer=derived.MANUFACTURER,
        manufacturer_model_name=derived.plain_text(algorithm.model_name),
        software_versions=(  # type: ignore[arg-type]  # annotated as a tuple of one, and taken as of any number
            derived.plain_text(algorithm.project_version),
            derived.plain_text(algorithm.model_version),
        ),
        device_serial_number=derived.plain_text(algorithm.model_version),
        content_label=CONTENT_LABEL,
        content_description=derived.NOTICE,
    )
    segmentation.ContentQualification = "RESEARCH"
    return segmentation


def _segment(
    number: int, subtype: str, first: Source, algorithm: Algorithm, uid_seed: str
) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=subtype,
        segmented_property_category=_CATEGORY,
        segmented_property_type=_HEMORRHAGE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=derived.plain_text(algorithm.model_name),
            family=_FAMILY,
            version=derived.plain_text(algorithm.model_version),
        ),
        tracking_uid=derived.derived_uid(uid_seed, first, "findings", "tracking", subtype),
        tracking_id=f"{derived.MANUFACTURER} {subtype}",
        anatomic_regions=[_BRAIN],
    )


def _image(path: Path, source: Source, frame_uid: str) -> Dataset:
    """As much of a slice's header as highdicom needs; patient and study are put into the result afterwards."""
    read = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = source.sop_class_uid, source.sop_uid
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = source.series_uid, source.study_uid
    dataset.Modality = "CT"
    dataset.FrameOfReferenceUID = header.text(read, "FrameOfReferenceUID") or frame_uid
    for keyword in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator",
    ):  # fmt: skip
        setattr(dataset, keyword, None)
    dataset.Rows, dataset.Columns = (int(read[keyword].value) for keyword in ("Rows", "Columns"))
    for keyword in _GEOMETRY:
        values = header.numbers(read, keyword)
        if len(values) != _COUNTS.get(keyword, len(values)):
            raise DataError(
                f"a slice has no usable {keyword}, which laying a segmentation over it needs: export it again"
            )
        setattr(dataset, keyword, [f"{value:.10g}" for value in values])
    return dataset


def _fill_thickness(images: Sequence[Dataset]) -> None:
    """Where one lacks SliceThickness, it gets the usual distance from slice to slice; a lone one 1 mm."""
    places = np.sort(
        [position_along_normal(one.ImagePositionPatient, one.ImageOrientationPatient) for one in images]
    )
    steps = np.diff(places)
    usual = float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 1.0
    for one in images:
        if not one.get("SliceThickness"):
            one.SliceThickness = f"{usual:.6g}"
