"""One label in many resamples, none of which is built: a resample weights every patient by how often it was drawn.

What adds up over slices then is a product of weights and per-patient sums; AUC and average precision are sums along
the slices in the order of their probability.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ich_mlflow.evaluation.counts import Counts, ratio


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """AUC (ties count one half) and average precision in each resample, float64 [b]."""

    auc: np.ndarray
    average_precision: np.ndarray


class Ranking:
    """The slices of one label in the order of their probability, to be weighted again and again."""

    def __init__(self, targets: np.ndarray, probabilities: np.ndarray, patient_of: np.ndarray) -> None:
        order = np.argsort(probabilities, kind="stable")
        self._patient_of = patient_of[order]
        self._positive = targets[order].astype(np.float32)
        ranked = probabilities[order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self._has_ties = len(self._starts) < len(ranked)

    def weighted(self, weights: np.ndarray) -> Ranked:
        """Rank with patient weights [b, P]."""
        slices = weights[:, self._patient_of]
        positive = slices * self._positive
        negative = slices - positive
        if self._has_ties:
            positive = np.add.reduceat(positive, self._starts, axis=1)
            negative = np.add.reduceat(negative, self._starts, axis=1)
        # float32 holds whole numbers to 16 million exactly; products are summed in float64
        below = np.cumsum(negative, axis=1)
        positives, negatives = positive.sum(axis=1, dtype=np.float64), below[:, -1].astype(np.float64)
        won = np.einsum("bn,bn->b", positive, below - negative / 2, dtype=np.float64, casting="same_kind")
        false_positive = negatives[:, None] - below + negative
        true_positive = positives[:, None] - np.cumsum(positive, axis=1) + positive
        decided = true_positive + false_positive
        precision = np.where(decided > 0, true_positive / np.where(decided > 0, decided, 1), 0)
        gained = np.einsum("bn,bn->b", positive, precision, dtype=np.float64, casting="same_kind")
        return Ranked(auc=ratio(won, positives * negatives), average_precision=ratio(gained, positives))


@dataclass(frozen=True, kw_only=True)
class LabelSums(Counts):
    """One label in each of b resamples; the counts are float64 [b].

    added: of each metric that has addends, their sums [K, b] over the rows drawn, by its name.
    weights, ranking: how often each patient was drawn, [b, P], and the rows in the order of their probability.
    """

    added: Mapping[str, np.ndarray]
    weights: np.ndarray
    ranking: Ranking

    @cached_property
    def ranked(self) -> Ranked:
        """AUC and average precision [b], which one pass along the ranking gives together."""
        return self.ranking.weighted(self.weights)
