"""The side of the seam where something is trained: what a family is given, and what it makes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.dataset.batches import OrderedBatches
from ich_mlflow.dataset.mixture import HomeSet, Pool, sets_of
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.labels import ClassScheme
from ich_mlflow.models.family import Network


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network says of validation slices float32 [N, L], in the order of their rows, and of their series.

    of_series [N, L] is the same for all slices of one; None where the network says nothing of series.
    """

    slices: np.ndarray
    of_series: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a family is given to train a network on.

    rows, validation_rows  of the stored set
    rows_beside            of each set beside it, where it is a home set, the rows to train on
    hyperparameters        the family's own
    replicas               devices that share a batch
    backbone               makes the backbone with its initial weights, of a family that has one
    lesion_head            after it, the initial weights of a lesion head by `<layer>/<number>`; empty: there are none
    slice_model            opens the model version of the slices, of a family that builds on one
    slices_labelled        whether labels are of slices; else all slices of a study bear the study's
    cache                  folder in which a family may keep what it computes of a stored set
    """

    stored: StoredSet
    rows: np.ndarray
    validation_rows: np.ndarray
    scheme: ClassScheme
    hyperparameters: Any
    seed: int
    replicas: int
    backbone: Callable[[], Any]
    slice_model: Callable[[], Any]
    slices_labelled: bool
    cache: Path
    lesion_head: Callable[[], Mapping[str, np.ndarray]] = dict
    rows_beside: Sequence[np.ndarray] = ()

    def pool(self) -> Pool:
        """The slices to train on, of all sets."""
        first, *beside = sets_of(self.stored)
        return Pool([(first, self.rows), *zip(beside, self.rows_beside, strict=True)])

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each set in an epoch; () of one set alone."""
        return self.stored.shares if isinstance(self.stored, HomeSet) else ()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network that is ready to be trained, and what it is trained and validated on.

    model             Keras model, built in the scope of the devices and under their precision
    train, validation its batches
    loss              of its outputs on `train`; a list where it has several
    told              network's outputs on `validation`, as they come -> Outputs
    seen              of an epoch's number, how often which labels are shown, by name
    mirrored          the batches of the validation slices' mirror images; None where the family looks there itself
    augmented         rows and a seed -> HU [n, 256, 256] as training sees them; None where nothing is augmented
    as_served         the same weights in a float32 graph on one device
    pack              the model as served -> Network
    """

    model: Any
    train: OrderedBatches
    validation: OrderedBatches
    loss: Any
    told: Callable[[np.ndarray], Outputs]
    seen: Callable[[int], Mapping[str, float]]
    mirrored: OrderedBatches | None
    augmented: Callable[[np.ndarray, int], np.ndarray] | None
    as_served: Callable[[Any], Any]
    pack: Callable[[Any], Network]
