"""A glance at the pixels of a series: whether it is of a head, and whether the head is whole."""

from collections.abc import Sequence

from ich_mlflow.ct.plausibility import LUNGS_MIN, enclosed_air
from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.ct.skull import Skull, skull_of
from ich_mlflow.dicom.part10 import read_file
from ich_mlflow.dicom.slice import slice_from_bytes
from ich_mlflow.errors import SliceError
from ich_mlflow.intake.survey import Image

#: Places along the series, as shares of it.
_PLACES = (0.3, 0.5, 0.6, 0.7, 0.8)
#: Share of a head's outline that the skull encloses where it is widest: 0.6 to 0.8 on CT-ICH and phantoms.
_BRAIN_OF_HEAD = 0.4
#: What the highest slice of a whole head encloses of the widest: at most 0.27 on 50 heads of CT-ICH, 0.36 on phantoms;
#: with 4 cm less 0.72 and 0.67 at least. And the lowest: at most 0.2.
_TOP_OF_WIDEST, _BASE_OF_WIDEST = 0.5, 0.4
#: At the skull base a ring may be open by chance: so many slices are looked at.
_BASE_SLICES = 3
#: Fewer slices than this have no ends to be looked at.
_MIN_SLICES = 10


def why_no_head(images: Sequence[Image]) -> str:
    """Why the pixels of a series, images from below, are no head's; '' where they may be.

    Lungs in most of five slices from its middle, or none of them with a ring of bone around what looks like brain: a
    ring is open where the field of view cuts it, or bone is missing. '' where none can be read: scoring will say so.
    """
    seen = [_look(images[place]) for place in sorted({int(share * len(images)) for share in _PLACES})]
    read = [one for one in seen if one is not None]
    if not read:
        return ""
    if sum(air > LUNGS_MIN for air, _ in read) > len(read) / 2:
        return "there are lungs"
    rings = sum(skull.brain > _BRAIN_OF_HEAD * skull.head for _, skull in read)
    return "" if rings else "there is no skull around a brain"


def why_cut(images: Sequence[Image]) -> str:
    """Which end of the head a series, images from below, does not show; '' where it is whole, or that can't be told."""
    if len(images) < _MIN_SLICES:
        return ""
    middle = [_look(images[int(share * len(images))]) for share in _PLACES]
    widest = max((skull.brain for one in middle if one for _, skull in [one]), default=0.0)
    if not widest:
        return ""
    base = [_look(image) for image in images[:_BASE_SLICES]]
    lacking = []
    if any(one and one[1].brain > _BASE_OF_WIDEST * widest for one in base):
        lacking.append("skull base")
    top = _look(images[-1])
    if top and top[1].brain > _TOP_OF_WIDEST * widest:
        lacking.append("vertex")
    shown = "are" if len(lacking) > 1 else "is"
    return f"the head is cut: its {' and '.join(lacking)} {shown} not shown" if lacking else ""


def _look(image: Image) -> tuple[float, Skull] | None:
    """Enclosed air and skull of a slice; None where it can't be read."""
    try:
        stored = to_stored_size(slice_from_bytes(read_file(image.file.path), "the file").hu)
    except (SliceError, OSError):
        return None
    return enclosed_air(stored), skull_of(stored)
