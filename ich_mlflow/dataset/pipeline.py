"""The batches a model reads: which rows of a stored set in which order, by seed and epoch alone."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.store import StoredSet

#: (hu int16 [B, 256, 256], seeds of the batch's slices [B, 3]) -> hu float32 [B, 256, 256]
Augment = Callable[[np.ndarray, np.ndarray], np.ndarray]


def natural_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """A permutation [num_rows]: every slice once an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(num_rows)


def class_balanced_order(targets: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Indices [N] drawn with replacement so that every label, and no label at all, is drawn as often.

    Each draw picks one of the groups (slices positive for label 1, …, for label L, slices with no positive
    label) with equal probability, then a slice of the group. Groups without slices are left out.
    targets: [N, L], 0 or 1.
    """
    groups = [np.flatnonzero(column) for column in targets.T]
    groups.append(np.flatnonzero(~targets.any(axis=1)))
    groups = [group for group in groups if len(group)]
    rng = np.random.default_rng((seed, epoch))
    chosen = rng.integers(len(groups), size=len(targets))
    order = np.empty(len(targets), dtype=np.int64)
    for number, group in enumerate(groups):
        mask = chosen == number
        order[mask] = rng.choice(group, size=int(mask.sum()))
    return order


class SliceBatches(keras.utils.PyDataset):
    """Batches (hu float32 [B, 256, 256, 1], targets float32 [B, L]) of some rows of a stored set.

    order: indices into rows for an epoch number; None reads the rows as they stand, each once.
    augment: applied to each batch with one seed a slice, (seed, epoch, place in the epoch).
    """

    def __init__(
        self,
        stored: StoredSet,
        rows: np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        seed: int = 0,
        order: Callable[[int], np.ndarray] | None = None,
        augment: Augment | None = None,
    ) -> None:
        super().__init__()
        if len(rows) != len(targets):
            raise ValueError(f"{len(rows)} rows but {len(targets)} targets")
        self._stored, self._rows, self._targets = stored, np.asarray(rows), targets
        self._batch_size, self._seed, self._augment = batch_size, seed, augment
        self._order_of = order
        self._start_epoch(0)

    def _start_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.order = np.arange(len(self._rows)) if self._order_of is None else self._order_of(epoch)

    def on_epoch_end(self) -> None:
        self._start_epoch(self.epoch + 1)

    @property
    def num_slices(self) -> int:
        return len(self._rows)

    @property
    def targets(self) -> np.ndarray:
        """Targets float32 [N, L] of the rows; `order` says how the epoch draws from them."""
        return self._targets

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        places = np.arange(index * self._batch_size, min((index + 1) * self._batch_size, len(self.order)))
        chosen = self.order[places]
        hu = self._stored.hu(self._rows[chosen])
        if self._augment is not None:
            seeds = np.stack(
                [np.full_like(places, self._seed), np.full_like(places, self.epoch), places], axis=1
            )
            hu = self._augment(hu, seeds)
        return hu.astype(np.float32)[..., None], self._targets[chosen]
