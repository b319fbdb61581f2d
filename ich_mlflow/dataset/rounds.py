"""Slices that come round: over the epochs each patient of a group as often as any other, and of a patient every slice.

A group gives so many slices to an epoch. Were they drawn anew each time, a patient with more slices than that would
show some of them thrice before others once. Here a round goes on where the last epoch left it. Pure NumPy; where it
stands follows from the epoch's number, so that a training that is resumed goes on as if it had never stopped.
"""

from dataclasses import dataclass

import numpy as np

#: Apart from other random numbers of the same seed.
_PATIENTS, _SLICES = 11, 12


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """The patients of a group in rounds: in each every patient once, with the next slice of a round of its own.

    group   of each patient its slices, as indices
    count   slices that the group gives to an epoch
    key     numbers that tell the group from others of the same seed
    """

    group: tuple[np.ndarray, ...]
    count: int
    key: tuple[int, ...] = ()

    def drawn(self, *, seed: int, epoch: int) -> np.ndarray:
        """Indices [count] of the slices of one epoch, counted from 0, in the order of the rounds.

        A patient comes as often as any other, to two in an epoch and to one in all epochs so far.
        """
        places = np.arange(epoch * self.count, (epoch + 1) * self.count)
        of_round, place = np.divmod(places, len(self.group))
        found = np.empty(self.count, np.int64)
        for number in np.unique(of_round).tolist():
            here = of_round == number
            patients = _shuffled(len(self.group), (seed, _PATIENTS, *self.key, number))[place[here]]
            found[here] = [self._slice(patient, number, seed) for patient in patients.tolist()]
        return found

    def _slice(self, patient: int, visit: int, seed: int) -> int:
        """The slice that a patient shows at a visit: one a round of the group, so that their number is the round's."""
        slices = self.group[patient]
        of_round, place = divmod(visit, len(slices))
        if len(slices) == 1:
            return int(slices[0])
        return int(slices[_shuffled(len(slices), (seed, _SLICES, *self.key, patient, of_round))[place]])


def _shuffled(count: int, key: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(key).permutation(count)
