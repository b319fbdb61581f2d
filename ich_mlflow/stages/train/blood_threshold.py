"""The threshold of a lesion map, chosen on the validation slices of which it is known where their blood is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.dataset.split import FOLD, VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.blood_threshold import BloodTally
from ich_mlflow.models.family import Network
from ich_mlflow.models.lesion_maps import all_blood, enlarged
from ich_mlflow.models.slice_cnn.lesion_head import lesion_head_of

#: Slices that are looked at together.
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class BloodThreshold:
    """threshold: share of blood from which a pixel is blood, and by masks of how many patients that was chosen."""

    threshold: float
    patients: int


def chosen_blood_threshold(
    networks: Sequence[Network], stored: StoredSet, *, context: int, mirror: bool
) -> BloodThreshold | None:
    """The threshold with the best Dice on validation; None of networks without a lesion head, or without masks there.

    networks: one, or one for each fold of `stored`: then each is asked of the fold that it has not learned from.
    mirror: whether the map is the mean with that of the mirror image, as the version's then is.
    """
    if not all(lesion_head_of(one.keras) for one in networks):
        return None
    tally, patients = BloodTally(), set()
    for network, rows in zip(networks, _rows_of(networks, stored), strict=True):
        known = rows[stored.blood_known(rows)]
        patients |= set(stored.table["patient_id"].to_numpy()[known])
        for start in range(0, len(known), _BATCH):
            some = known[start : start + _BATCH]
            shares = _shares(network.keras, stored.hu_with_context(some, context), mirror)
            for of_slice, blood in zip(shares, stored.blood(some)[0], strict=True):
                tally.add(all_blood(enlarged(of_slice)), blood > 0)
    best = tally.best()
    return None if best is None else BloodThreshold(threshold=best, patients=len(patients))


def _rows_of(networks: Sequence[Network], stored: StoredSet) -> list[np.ndarray]:
    """Of each network the rows that validate it."""
    rows = stored.rows(VALIDATION)
    if len(networks) == 1:
        return [rows]
    fold = stored.table[FOLD].to_numpy()[rows]
    return [rows[fold == number] for number in range(len(networks))]


def _shares(model: Any, hu: np.ndarray, mirror: bool) -> np.ndarray:
    """Shares of blood float32 [n, h, w, 5] of those slices [n, 256, 256, 1 + 2 * context]."""
    straight = np.asarray(model(hu.astype(np.float32), training=False)[1])
    if not mirror:
        return straight
    turned = np.asarray(model(hu[:, :, ::-1].astype(np.float32), training=False)[1])
    return (straight + turned[:, :, ::-1]) / 2
