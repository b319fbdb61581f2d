"""Whether a file is a CT image, by Modality and SOP class, which do not always say so."""

from pydicom.dataset import Dataset

from ich_mlflow.dicom import header
from ich_mlflow.dicom.layout import says_hounsfield

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
#: Enhanced and legacy converted enhanced CT Image Storage.
ENHANCED = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
#: Secondary Capture, and its multi-frame form of 16 bits grey: pictures of the screen, and what is stored as them.
_CAPTURES = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.3")
#: Modalities that say nothing: of whatever was stored as another kind of image.
_ANY_MODALITY = ("", "OT", "SC")
#: What tells where a CT image lies and what its values are; a picture of the screen has none of it.
_OF_CT = ("RescaleSlope", "RescaleIntercept", "ImagePositionPatient", "ImageOrientationPatient")
KEYWORDS = ["Modality", "SOPClassUID", "RescaleType", "BitsAllocated", *_OF_CT]


def is_ct(dataset: Dataset) -> bool:
    """Whether it goes by CT: by Modality; where that says nothing by CT's SOP class, or as a capture in HU."""
    modality = header.text(dataset, "Modality").upper()
    if modality not in _ANY_MODALITY:
        return modality == "CT"
    if not modality and sop_class(dataset) in (CT_IMAGE, *ENHANCED):
        return True
    return is_captured_ct(dataset) and says_hounsfield(dataset)


def is_captured_ct(dataset: Dataset) -> bool:
    """Whether it is a Secondary Capture of 16 bits with rescale and geometry: a CT image that was stored as one."""
    return (
        sop_class(dataset) in _CAPTURES
        and header.numbers(dataset, "BitsAllocated") == (16.0,)
        and all(header.numbers(dataset, keyword) for keyword in _OF_CT)
    )


def sop_class(dataset: Dataset) -> str:
    """SOPClassUID, or where it is missing the meta header's."""
    found = header.text(dataset, "SOPClassUID")
    meta = getattr(dataset, "file_meta", None)
    return found or ("" if meta is None else header.text(meta, "MediaStorageSOPClassUID"))


def remarks_on_kind(dataset: Dataset) -> tuple[str, ...]:
    """What is odd about how an image that goes by CT says so."""
    found = []
    if header.text(dataset, "Modality").upper() != "CT":
        found.append("its Modality does not say CT: its SOP class or RescaleType does")
    if is_captured_ct(dataset):
        found.append("a Secondary Capture with geometry and rescale, read as CT")
    return tuple(found)
