"""The edits of a series painted into it: tissue displaced, blood laid in, bone mixed in at its edge, noise matched."""

from collections.abc import Sequence

import cv2
import numpy as np

from ich_mlflow.synthesis.anatomy import MAY_BE_MIXED, Anatomy
from ich_mlflow.synthesis.edit import Edit

#: What a scanner stores.
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
#: A pixel's neighbourhood holds bone where its densest is above this.
_BONE_HU = 200.0


def paint(anatomy: Anatomy, edits: Sequence[Edit], rng: np.random.Generator) -> np.ndarray:
    """The series with the edits, float32 [n, H, W] in HU. A pixel that no edit reaches keeps its value.

    A pixel at the skull is a mixture of bone and of what lies inside. Its share of bone stays, and the rest of it
    becomes what lies inside now: so no rim of the old CSF is left between blood and bone.
    """
    painted = anatomy.hu.copy()
    for number in np.flatnonzero(anatomy.drawable).tolist():
        if any(_reaches(edit, number) for edit in edits):
            painted[number] += _change(anatomy, edits, number, rng)
    return np.clip(painted, _LOWEST_HU, _HIGHEST_HU)


def _reaches(edit: Edit, number: int) -> bool:
    fields = [
        edit.share,
        *(() if edit.added is None else (edit.added,)),
        *(() if edit.push is None else edit.push),
    ]
    return any(bool(np.any(field[number])) for field in fields)


def _change(anatomy: Anatomy, edits: Sequence[Edit], number: int, rng: np.random.Generator) -> np.ndarray:
    """What the edits add to slice `number`, [H, W]."""
    before = anatomy.tissue[number]
    now = _displaced(before, [edit.push[:, number] for edit in edits if edit.push is not None])
    replaced = np.zeros_like(now)
    for edit in edits:
        if edit.added is not None:
            now = now + cv2.GaussianBlur(edit.added[number], (0, 0), 0.6)
        share = cv2.GaussianBlur(edit.share[number], (0, 0), anatomy.psf_pixels * 0.7)
        now = now + share * (edit.value[number] - now)
        replaced = np.maximum(replaced, share)
    now = now + replaced * noise_like(anatomy, rng)
    # Outside the inner table's mixed pixels lies bone or scalp.
    near = np.clip(2.5 + anatomy.edge[number] / anatomy.pixel_mm, 0, 1)
    change: np.ndarray = (1 - bone_share(anatomy, number)) * near * (now - before)
    return change


def bone_share(anatomy: Anatomy, number: int) -> np.ndarray:
    """Share of bone, 0 to 1, in each pixel of a slice: how far its value lies from tissue's towards the bone's."""
    image, tissue = anatomy.hu[number], anatomy.tissue[number]
    bone = cv2.dilate(image, np.ones((5, 5), np.uint8))
    share = np.clip((image - tissue) / np.maximum(bone - tissue, 1), 0, 1)
    mixed = (bone > _BONE_HU) & (anatomy.edge[number] < MAY_BE_MIXED * anatomy.pixel_mm)
    return np.where(mixed, share, 0).astype(np.float32)


def noise_like(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Noise [H, W] with the series' own deviation and grain."""
    white = rng.standard_normal(anatomy.hu.shape[1:]).astype(np.float32)
    grain = cv2.GaussianBlur(white, (0, 0), anatomy.noise_pixels)
    return grain * np.float32(anatomy.noise_hu / max(float(grain.std()), 1e-3))


def _displaced(image: np.ndarray, pushes: Sequence[np.ndarray]) -> np.ndarray:
    if not pushes:
        return image
    rows, columns = np.sum(pushes, axis=0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + columns, y + rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
