"""From which share of blood on a lesion map a pixel is counted as blood: chosen where masks say what is right. Pure."""

from dataclasses import dataclass, field

import numpy as np

#: Of which one is chosen. Below 0.05 is what a map says of a healthy brain, too.
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
#: Taken where two serve alike.
_MIDDLE = 0.5


@dataclass
class BloodTally:
    """Pixels that thresholds would find, and rightly, added up slice by slice: no map is kept.

    found, right  int [T] pixels that reach each of THRESHOLDS, and those of them that are blood;  blood: all that are
    """

    found: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    right: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    blood: int = 0

    def add(self, shares: np.ndarray, mask: np.ndarray) -> None:
        """Add a slice: its shares of all blood [H, W], 0 to 1, and where blood is, bool [H, W]."""
        # float32, as maps are: a share of 0.35 reaches 0.35
        bins = np.searchsorted(THRESHOLDS.astype(np.float32), shares.astype(np.float32), side="right")
        self.found += _at_least(bins)
        self.right += _at_least(bins[mask])
        self.blood += int(mask.sum())

    def dice(self) -> np.ndarray:
        """Dice of all slices together at each of THRESHOLDS, float64 [T]; NaN where there is neither map nor blood."""
        both = self.found + self.blood
        return np.divide(2.0 * self.right, both, out=np.full(len(THRESHOLDS), np.nan), where=both > 0)

    def best(self) -> float | None:
        """The threshold with the highest Dice, of equal ones the nearest to one half; None where there is no blood.

        Of all slices together, those without blood too: what is found there counts against a threshold.
        """
        if not self.blood:
            return None
        dice = self.dice()
        equal = THRESHOLDS[dice >= dice.max() - 1e-12]
        return float(equal[np.abs(equal - _MIDDLE).argmin()])


def _at_least(bins: np.ndarray) -> np.ndarray:
    """Of how many the bin is above t, for each t of THRESHOLDS."""
    counts = np.bincount(bins.ravel(), minlength=len(THRESHOLDS) + 1)
    return np.asarray(counts[::-1].cumsum()[::-1][1:])
