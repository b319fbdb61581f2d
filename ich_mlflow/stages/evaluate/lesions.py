"""Masks of where the blood is: of phantoms from the cohort, which has them in full; else those that the set stores."""

from pathlib import Path

import numpy as np

from ich_mlflow.ct.blood import UNNAMED, mask_of
from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.phantom.lesions import has_lesions, read_lesions
from ich_mlflow.sources.registry import PHANTOM
from ich_mlflow.stages.common.scoring import Scored


def lesion_folder(scored: Scored) -> Path | None:
    """The cohort's folder; None where the set is of another source, or the cohort is gone or has no masks."""
    manifest = scored.stored.manifest
    path = manifest.get("source_path", "")
    if manifest["source"] != PHANTOM or not path or not has_lesions(Path(path)):
        return None
    return Path(path)


def lesions_of(scored: Scored, folder: Path, rows: np.ndarray, label: str) -> np.ndarray:
    """Masks bool [n, 256, 256] of a label on those table rows; empty where the cohort has no mask of a slice."""
    masks = []
    for uid in scored.stored.table["sop_uid"].to_numpy()[rows]:
        of_slice = read_lesions(folder, str(uid))
        masks.append(_stored(of_slice, label))
    return np.stack(masks) if masks else np.zeros((0, 256, 256), bool)


def has_masks(scored: Scored) -> bool:
    """Whether it is known of any slice of the split where its blood is."""
    return lesion_folder(scored) is not None or bool(scored.stored.blood_known(scored.rows).any())


def masks_of(scored: Scored, rows: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks bool [n, 256, 256] of a label on those table rows, and of which rows they can be relied on, bool [n].

    A cohort's always. A stored mask where it is there, says of which subtype its blood is, and shows some of the
    label, as it may not where readers and masks disagree.
    """
    folder = lesion_folder(scored)
    if folder is not None:
        return lesions_of(scored, folder, rows, label), np.ones(len(rows), bool)
    blood, known = scored.stored.blood(rows)
    masks = mask_of(blood, label)
    named = np.array([label == ANY or not (of_slice & UNNAMED).any() for of_slice in blood], bool)
    return masks, known & named & masks.any(axis=(1, 2))


def lesion_areas(scored: Scored) -> np.ndarray | None:
    """Area of each finding's bleed on each slice, mm², float64 [N, F], NaN where it is 0; None without masks."""
    folder = lesion_folder(scored)
    if folder is None:
        return None
    labels = scored.specification.findings
    table = scored.stored.table.iloc[scored.rows]
    pixel = (table["row_spacing_mm"] * table["column_spacing_mm"]).to_numpy()
    areas = np.full((len(table), len(labels)), np.nan)
    bleeds = np.flatnonzero(scored.stored.subtypes[scored.rows].any(axis=1))
    for place in bleeds:
        of_slice = read_lesions(folder, str(table["sop_uid"].iloc[place]))
        for i, label in enumerate(labels):
            pixels = int(_stored(of_slice, label).sum())
            if pixels:
                areas[place, i] = pixels * pixel[place]
    return areas


def _stored(of_slice: np.ndarray | None, label: str) -> np.ndarray:
    """A label's mask of a slice [5, H, W] at the size of the stored set, bool [256, 256]: half covered or more."""
    if of_slice is None:
        return np.zeros((256, 256), bool)
    mask = of_slice.any(axis=0) if label == ANY else of_slice[SUBTYPES.index(label)]
    return to_stored_size(np.where(mask, 1000, -1000).astype(np.int16)) >= 0
