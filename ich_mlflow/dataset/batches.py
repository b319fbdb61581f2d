"""The batches a model reads: which rows of a stored set in which order, by seed and epoch alone."""

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from ich_mlflow.errors import IchError

#: (hu int16 [B, 256, 256, C], draws in [0, 1) [B, num_draws]) -> hu float32 [B, 256, 256, C]
Augment = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Slices(Protocol):
    """Where slices come from: a stored set, or a pool of several."""

    def hu_with_context(self, rows: np.ndarray, context: int) -> np.ndarray: ...

    def blood(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


#: Epoch number -> indices into the rows
Order = Callable[[int], np.ndarray]


class OrderedBatches(keras.utils.PyDataset):
    """Batches of N examples with targets [N, L], each epoch in an order of its own.

    order: indices into the examples for an epoch number; None reads them as they stand, each once.
    Each epoch must be begun by `start_epoch`: Keras ends one more epoch than it shows.
    divisor: an epoch leaves out its last slices so that every batch can be divided by this number.
    size: how many slices an order has; None: as many as there are examples.
    error: the project's own error that ended a batch: TensorFlow hands on its text alone.
    Subclasses say what the examples at some places of the epoch are (`inputs`).
    """

    def __init__(
        self,
        targets: np.ndarray,
        *,
        batch_size: int,
        order: Order | None = None,
        divisor: int = 1,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self._targets, self._batch_size, self.order_of = targets, batch_size, order
        self.size = len(targets) if size is None else size
        self._divisor, self._num_shown = divisor, self.size - self.size % divisor
        self.error: IchError | None = None
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set the order to that of the epoch."""
        self.epoch = epoch
        self.order = np.arange(len(self._targets)) if self.order_of is None else self.order_of(epoch)

    def inputs(self, places: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def targets_at(self, places: np.ndarray, inputs: np.ndarray) -> Any:
        """What the network is taught of the examples at some places of the epoch, inputs: their targets [B, L]."""
        return self._targets[self.order[places]]

    @property
    def num_slices(self) -> int:
        """Slices that an epoch shows."""
        return self._num_shown

    @property
    def batch_size(self) -> int:
        """Slices of a batch, of the last one at most."""
        return self._batch_size

    @property
    def divisor(self) -> int:
        """What every batch can be divided by."""
        return self._divisor

    @property
    def targets(self) -> np.ndarray:
        """Targets float32 [N, L]; `order` says how the epoch draws from them."""
        return self._targets

    def __len__(self) -> int:
        return -(-self._num_shown // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        places = np.arange(index * self._batch_size, min((index + 1) * self._batch_size, self._num_shown))
        try:
            inputs = self.inputs(places)
            return inputs, self.targets_at(places, inputs)
        except IchError as error:
            self.error = error
            raise


class SliceBatches(OrderedBatches):
    """Batches (hu float32 [B, 256, 256, 1 + 2 * context], targets float32 [B, L]) of some rows of a stored set.

    context: neighbours of the same series on either side, as channels in the order of the head.
    augment: applied to each batch with num_draws random numbers a slice, which depend on seed, epoch and the slice's
    place in it.
    """

    def __init__(
        self,
        stored: Slices,
        rows: np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        seed: int = 0,
        context: int = 0,
        order: Order | None = None,
        augment: Augment | None = None,
        num_draws: int = 0,
        divisor: int = 1,
        size: int | None = None,
    ) -> None:
        if len(rows) != len(targets):
            raise ValueError(f"{len(rows)} rows but {len(targets)} targets")
        self._stored, self._rows, self._seed = stored, np.asarray(rows), seed
        self._context, self._augment, self._num_draws = context, augment, num_draws
        super().__init__(targets, batch_size=batch_size, order=order, divisor=divisor, size=size)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        # One stream an epoch, apart from the order's: the batch size doesn't matter, and no slice waits for it.
        self._draws = np.random.default_rng((self._seed, epoch, 1)).random((len(self.order), self._num_draws))

    def as_stored(self) -> "SliceBatches":
        """The same rows, each once, as they stand and not augmented."""
        return SliceBatches(
            self._stored, self._rows, self._targets, batch_size=self._batch_size, context=self._context
        )

    def mirrored(self) -> "SliceBatches":
        """The same rows, each once, left and right exchanged."""
        return SliceBatches(
            self._stored,
            self._rows,
            self._targets,
            batch_size=self._batch_size,
            context=self._context,
            augment=lambda hu, _: hu[:, :, ::-1],
        )

    def inputs(self, places: np.ndarray) -> np.ndarray:
        hu = self._stored.hu_with_context(self._rows[self.order[places]], self._context)
        if self._augment is not None:
            hu = self._augment(hu, self._draws[places])
        return hu.astype(np.float32, copy=False)


class FeatureBatches(OrderedBatches):
    """Batches (features float32 [B, D], targets float32 [B, L]) of features that were computed before."""

    def __init__(
        self,
        features: np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        order: Order | None = None,
        divisor: int = 1,
        size: int | None = None,
    ) -> None:
        self._features = features
        super().__init__(targets, batch_size=batch_size, order=order, divisor=divisor, size=size)

    def inputs(self, places: np.ndarray) -> np.ndarray:
        return self._features[self.order[places]]
