"""A glance at the pixels of a series whose headers don't say what it is of."""

from collections.abc import Sequence

from ich_mlflow.ct.plausibility import LUNGS_MIN, enclosed_air
from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import SliceError
from ich_mlflow.intake.survey import Image

#: Places along the series, as shares of it.
_PLACES = (0.3, 0.5, 0.7)


def has_lungs(images: Sequence[Image]) -> bool:
    """Whether most of three slices, from the middle of the series (images from below), have lungs in them."""
    seen = [_enclosed_air(images[int(place * len(images))]) for place in _PLACES]
    return sum(air > LUNGS_MIN for air in seen) >= 2


def _enclosed_air(image: Image) -> float:
    """0 where the slice can't be read: scoring will say so."""
    try:
        return enclosed_air(to_stored_size(slice_from_bytes(image.file.path.read_bytes(), "the file").hu))
    except (SliceError, OSError):
        return 0.0
