"""One drawn variant of a series: pixels, masks and labels that agree."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.synthesis.anatomy import Anatomy
from ich_mlflow.synthesis.axial import epidural, subdural
from ich_mlflow.synthesis.blood import SEEN_BY_SHAPE
from ich_mlflow.synthesis.edit import Bleed, MakeBleed
from ich_mlflow.synthesis.inner import intraparenchymal, intraventricular, subarachnoid
from ich_mlflow.synthesis.render import paint
from ich_mlflow.synthesis.shams import apply_shams

#: By subtype, in labels.SUBTYPES' order.
BLEEDS: dict[str, MakeBleed] = {
    "epidural": epidural,
    "intraparenchymal": intraparenchymal,
    "intraventricular": intraventricular,
    "subarachnoid": subarachnoid,
    "subdural": subdural,
}
#: A slice shows a subtype where so much of its mask is broader than two pixels and beyond bone's blur; of less, nothing
#: is drawn in it.
MIN_BLOOD_MM2 = 25.0
_HIDDEN_HU, _SEEN_HU = 75.0, 7.0
_WIDE = np.ones((2, 2), np.uint8)
#: A second subtype is as often there, and a sham edit beside blood, so that neither says anything.
_SECOND, _SHAM_TOO = 0.3, 0.3
#: Places are drawn by chance; a head that has none for a subtype is tried with another.
_TRIES = 6


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A drawn variant of a series.

    hu        int16 [n, H, W]
    blood     uint8 [n, H, W], bit i set where the blood of labels.SUBTYPES[i] is
    subtypes  uint8 [n, 5], 1 where the slice's mask of the subtype has any pixel
    said      what was drawn, in words
    """

    hu: np.ndarray
    blood: np.ndarray
    subtypes: np.ndarray
    said: str


def draw(anatomy: Anatomy, subtypes: tuple[str, ...], rng: np.random.Generator, *, sham: bool) -> Drawn:
    """Draw blood of one or two of the subtypes into a head, or with `sham` edits that are no blood."""
    bleeds = {} if sham else _bleeds(anatomy, subtypes, rng)
    hu = paint(anatomy, [bleed.edit for bleed in bleeds.values()], rng) if bleeds else anatomy.hu.copy()
    said = [f"{name} ({bleed.style})" for name, bleed in bleeds.items()]
    if not bleeds or rng.random() < _SHAM_TOO:
        hu, names = apply_shams(anatomy, hu, rng, beside_blood=bool(bleeds))
        said += [f"sham: {', '.join(names)}"]
    blood = np.zeros(hu.shape, np.uint8)
    for name, bleed in bleeds.items():
        blood |= bleed.visible.astype(np.uint8) << SUBTYPES.index(name)
    bits = 1 << np.arange(len(SUBTYPES))
    present = np.any((blood[:, None] & bits[:, None, None]) > 0, axis=(2, 3)).astype(np.uint8)
    return Drawn(hu=np.rint(hu).astype(np.int16), blood=blood, subtypes=present, said="; ".join(said))


def _bleeds(anatomy: Anatomy, subtypes: tuple[str, ...], rng: np.random.Generator) -> dict[str, Bleed]:
    """One bleed, or two of different subtypes; none where the head has no place for any."""
    found: dict[str, Bleed] = {}
    wanted = 2 if len(subtypes) > 1 and rng.random() < _SECOND else 1
    for _ in range(_TRIES):
        left = [name for name in subtypes if name not in found]
        name = left[int(rng.integers(len(left)))]
        bleed = BLEEDS[name](anatomy, rng)
        bleed = None if bleed is None else _all_or_nothing(anatomy, bleed)
        if bleed is not None:
            found[name] = bleed
        if len(found) == wanted:
            break
    return {name: found[name] for name in SUBTYPES if name in found}


def _all_or_nothing(anatomy: Anatomy, bleed: Bleed) -> Bleed | None:
    """The bleed without the slices that show too little of it; None where none is left."""
    # Bone's blur hides the millimetre of blood that is next to it, and a line is lost in noise.
    seen = bleed.visible & (anatomy.hu < _HIDDEN_HU)
    if bleed.style not in SEEN_BY_SHAPE:
        brighter = bleed.edit.share * (bleed.edit.value - anatomy.tissue)
        seen &= (brighter if bleed.edit.added is None else brighter + bleed.edit.added) > _SEEN_HU
    seen = np.stack([cv2.morphologyEx(one.astype(np.uint8), cv2.MORPH_OPEN, _WIDE) for one in seen])
    shown = seen.sum(axis=(1, 2)) * anatomy.pixel_mm**2 >= MIN_BLOOD_MM2
    if not shown.any():
        return None
    edit, kept = bleed.edit, shown[:, None, None]
    added = None if edit.added is None else edit.added * kept
    return replace(
        bleed, visible=bleed.visible & kept, edit=replace(edit, share=edit.share * kept, added=added)
    )
