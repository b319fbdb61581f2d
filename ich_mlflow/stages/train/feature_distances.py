"""How unlike slices are what trained networks have learned from: fitted on training slices, said of validation's."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ich_mlflow.dataset.split import FOLD, TRAIN, VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.models.family import Network
from ich_mlflow.models.feature_distance import fit_gaussian

#: Training slices that the Gaussian is fitted to, spread over all: the mean of more would be the same to a few percent.
_FITTED = 1000
#: Validation slices that are looked at, in whole studies: of more the limit would be no surer than its promise needs.
_LOOKED_AT = 10_000
#: Slices that are looked at together.
_BATCH = 32


def with_gaussians(networks: Sequence[Network], stored: StoredSet, *, context: int) -> list[Network]:
    """The networks, each with the Gaussian of the features of what it has learned from; as they are without features.

    networks: one, or one for each fold of `stored`, which has learned from the other folds.
    """
    found = []
    for network, rows in zip(networks, _rows(networks, stored, TRAIN), strict=True):
        if network.pooled is None:
            found.append(network)
            continue
        some = rows[:: max(1, -(-len(rows) // _FITTED))]
        found.append(replace(network, features=fit_gaussian(_pooled(network, stored, some, context))))
    return found


def validation_distances(
    networks: Sequence[Network], stored: StoredSet, *, context: int
) -> np.ndarray | None:
    """Feature distances float32 [N] of the validation rows, each by the network that has not learned from it.

    NaN of studies that are not looked at, where there are many. None where a network has no Gaussian.
    """
    if any(network.features is None for network in networks):
        return None
    validation = stored.rows(VALIDATION)
    studies = stored.table["study_uid"].to_numpy()
    every = max(1, -(-len(validation) // _LOOKED_AT))
    looked_at = np.isin(studies, np.unique(studies[validation])[::every])
    distances = np.full(len(stored.table), np.nan, np.float32)
    for network, rows in zip(networks, _rows(networks, stored, VALIDATION), strict=True):
        rows = rows[looked_at[rows]]
        if len(rows) and network.features is not None:
            distances[rows] = network.features.distance(_pooled(network, stored, rows, context))
    return distances[validation]


def _rows(networks: Sequence[Network], stored: StoredSet, split: str) -> Iterator[np.ndarray]:
    """Of each network the rows that it learned from, or those that validate it."""
    if len(networks) == 1:
        yield stored.rows(split)
        return
    rows = stored.rows(VALIDATION)
    fold = stored.table[FOLD].to_numpy()[rows]
    for number in range(len(networks)):
        yield rows[(fold == number) == (split == VALIDATION)]


def _pooled(network: Network, stored: StoredSet, rows: np.ndarray, context: int) -> np.ndarray:
    """Pooled features float32 [n, D] of those rows."""
    assert network.pooled is not None
    return np.concatenate(
        [
            network.pooled(stored.hu_with_context(rows[start : start + _BATCH], context))
            for start in range(0, len(rows), _BATCH)
        ]
    )
