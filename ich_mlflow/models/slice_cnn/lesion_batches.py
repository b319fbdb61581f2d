"""What a lesion head is taught: the share of each cell that is blood, of slices as augmentation moved them."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ich_mlflow.ct.blood import BITS, UNNAMED, mask_of
from ich_mlflow.ct.frame import HEAD, IMAGE, frame_weights, head_frames
from ich_mlflow.ct.resample import resize_weights
from ich_mlflow.dataset.batches import SliceBatches
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.models.slice_cnn.lesion_head import ALL_BLOOD, NAMED, NUM_TARGETS, UNNAMED_ONLY

#: (draws in [0, 1) [B, num_draws], height and width) -> affine matrices [B, 2, 3], as the slices are moved
Matrices = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


class SlicesWithBlood(SliceBatches):
    """SliceBatches whose targets are (labels [B, L], lesions [B, cells, cells, 8]) as KnownLesionLoss takes them.

    matrices: of the warp that `augment` moves the slices by. cells: places of the lesion head a side. framing: of what
    the network sees of a slice, which the cells cover.
    """

    def __init__(
        self, *arguments: Any, matrices: Matrices, cells: int, framing: str = IMAGE, **options: Any
    ) -> None:
        self._matrices, self._cells, self._framing = matrices, cells, framing
        super().__init__(*arguments, **options)

    def targets_at(self, places: np.ndarray, inputs: np.ndarray) -> Any:
        blood, known = self._stored.blood(self._rows[self.order[places]])
        blood = warped_blood(blood, self._matrices(self._draws[places], blood.shape[1:]))
        frames = head_frames(inputs[..., inputs.shape[-1] // 2]) if self._framing == HEAD else None
        return super().targets_at(places, inputs), lesion_targets(blood, known, self._cells, frames)


def warped_blood(blood: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Blood uint8 [B, H, W], each slice moved by its affine matrix [2, 3]; none outside."""
    size = (blood.shape[2], blood.shape[1])
    moved = [
        cv2.warpAffine(one, matrix, size, flags=cv2.INTER_NEAREST)
        for one, matrix in zip(blood, matrices, strict=True)
    ]
    return np.stack(moved)


def lesion_cells(blood: np.ndarray, cells: int, frames: np.ndarray | None = None) -> np.ndarray:
    """Share of each cell that is blood, float32 [B, cells, cells, 5], of blood uint8 [B, 256, 256].

    frames [B, 3]: what of each slice the cells cover (ct/frame.py); None: all of it.
    """
    shares: Any = np.zeros((len(blood), cells, cells, len(SUBTYPES)), np.float32)
    for of_slice, share, (rows, columns) in zip(blood, shares, _weights(blood, cells, frames), strict=True):
        for number in np.flatnonzero(np.bitwise_or.reduce(of_slice, axis=None) & BITS):
            share[..., number] = rows @ ((of_slice & BITS[number]) > 0).astype(np.float32) @ columns.T
    return shares


def lesion_targets(
    blood: np.ndarray, known: np.ndarray, cells: int, frames: np.ndarray | None = None
) -> np.ndarray:
    """Targets float32 [B, cells, cells, 8] of KnownLesionLoss, of blood uint8 [B, 256, 256], known bool [B].

    frames: as lesion_cells has them.
    """
    targets = np.zeros((len(blood), cells, cells, NUM_TARGETS), np.float32)
    targets[..., :ALL_BLOOD] = lesion_cells(blood, cells, frames)
    weights = _weights(blood, cells, frames)
    for of_slice, is_known, target, (rows, columns) in zip(blood, known, targets, weights, strict=True):
        if not is_known:
            continue
        has_unnamed = (of_slice & UNNAMED).any()
        target[..., UNNAMED_ONLY if has_unnamed else NAMED] = 1.0
        if has_unnamed:
            target[..., ALL_BLOOD] = rows @ mask_of(of_slice, ANY).astype(np.float32) @ columns.T
    return targets


def _weights(
    blood: np.ndarray, cells: int, frames: np.ndarray | None
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Of each slice the weights [cells, 256] of its rows and of its columns."""
    size = blood.shape[1]
    if frames is None:
        weights = resize_weights(size, cells)
        return [(weights, weights)] * len(blood)
    rows, columns = (
        frame_weights(frames[:, axis], frames[:, 2], source=size, target=cells) for axis in (0, 1)
    )
    return list(zip(rows, columns, strict=True))
