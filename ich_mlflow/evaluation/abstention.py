"""When a model version should rather say nothing of an exam: by a conformal rule, and by inputs unlike its training.

An exam is called clear, that is not flagged and not uncertain, only where its score of any bleed is lower than that of
nearly all validation exams with a bleed. Conformal prediction promises, of an exam with a bleed that is exchangeable
with those of validation, that it is called clear with probability alpha at most, however good or bad the network is.
Likewise an exam is called unlike only where it is farther than nearly all of validation, so that one exchangeable with
them is with probability alpha at most. Where validation also chose the epoch, smoothing and aggregation its scores are
a little better than others will be, so that the promise is approximate; it is exact of exams that chose nothing else.
Sources: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Vovk, Machine Learning 92, 2013
(the promise for each class by itself); Angelopoulos and Bates, arXiv 2107.07511, section 1 (the quantile of finitely
many). Needs no scikit-learn.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

#: The share that is promised where nobody says another: nineteen validation patients with a bleed are enough for it.
DEFAULT_ALPHA = 0.05
#: Room for rounding in alpha * (n + 1), which is a whole number of patients by design.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """What validation chose.

    alpha            of exams with a bleed at most this share is called clear, of exams like those of validation at most
                     this share is called unlike, each on average over validation cohorts; 0: no exam is ever uncertain
    clear_below      an exam is called clear only where its score of any bleed is below this; None where validation has
                     too few patients with a bleed for that promise, so that nothing is uncertain by its score
    bleeding_patients of validation, by whom that was chosen
    far_from         an exam is unlike what was learned from where its distance is above this; None where the version
                     has no feature distance, or validation too few patients
    patients         of validation, by whom that was chosen
    """

    alpha: float
    clear_below: float | None = None
    bleeding_patients: int = 0
    far_from: float | None = None
    patients: int = 0

    def reasons(self, score: float, distance: float | None, *, is_flagged: bool) -> tuple[str, ...]:
        """Why an exam is uncertain; () where it is not.

        score: of any bleed, 0 to 1, as the network ranks exams. distance: mean feature distance of its slices, None or
        NaN where not known. is_flagged: a flagged exam has been called, and can be unlike alone.
        """
        found = []
        if not is_flagged and self.clear_below is not None and not score < self.clear_below:
            found.append(
                f"a bleed can't be excluded: the score of any bleed is {score:.3g}, and an exam is clear only "
                f"below {self.clear_below:.3g}, where at most {percent(self.alpha)} of exams with a bleed are"
            )
        if self.far_from is not None and distance is not None and distance > self.far_from:
            found.append(
                f"unlike what the model learned from: feature distance {distance:.2f}, while at least "
                f"{percent(1 - self.alpha)} of validation exams are within {self.far_from:.2f}"
            )
        return tuple(found)

    @property
    def can(self) -> bool:
        """Whether it has either rule."""
        return self.clear_below is not None or self.far_from is not None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What it can't promise, in lines."""
        if not self.alpha:
            return ("no exam is uncertain: this version was made with abstention=0",)
        least = least_patients(self.alpha)
        found = []
        if self.clear_below is None:
            found.append(
                f"no exam is uncertain by its score: to promise {percent(self.alpha)} takes {least} validation "
                f"patients with a bleed, and there were {self.bleeding_patients}"
            )
        if self.far_from is None and self.patients:
            found.append(
                f"no exam is uncertain for being unlike training: to promise {percent(self.alpha)} takes {least} "
                f"validation patients, and there were {self.patients}"
            )
        elif self.far_from is None:
            found.append(
                "no exam is uncertain for being unlike training: this version has no feature distance, which a slice "
                "CNN gets when it is trained on 40 slices or more"
            )
        return tuple(found)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The same as whole sentences."""
        return tuple(f"{text[0].upper()}{text[1:]}." for text in self.lacks)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Abstention":
        """The reverse of to_dict. Raises TypeError for other keys."""
        return cls(**values)


def percent(share: float) -> str:
    """`5 %`, `2.5 %`: not rounded, or less would be promised than is said."""
    return f"{100 * share:.6g} %"


def least_patients(alpha: float) -> int:
    """How many patients it takes to promise alpha: the smallest n with alpha * (n + 1) at least 1."""
    return math.ceil(1 / alpha - 1 - _ROUNDING)


def choose_abstention(
    targets: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    alpha: float,
    distances: np.ndarray | None = None,
) -> Abstention:
    """The rules of exams [M]: targets bool and scores [M] of any bleed, patients [M], and their distances [M] if known.

    Patients count, not exams: of each the lowest score of an exam with a bleed, and the farthest exam. NaN in distances
    is not known. With an alpha of 0 neither rule is chosen. Raises ValueError for an alpha that is not of 0 to 1.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is {alpha}, expected 0 or more and below 1")
    if not alpha:
        return Abstention(alpha=0.0)
    targets = np.asarray(targets, bool)
    lowest = _of_each(np.asarray(scores, np.float64)[targets], patients[targets], np.minimum)
    farthest = np.empty(0)
    if distances is not None:
        known = np.isfinite(distances)
        farthest = _of_each(np.asarray(distances, np.float64)[known], patients[known], np.maximum)
    return Abstention(
        alpha=alpha,
        clear_below=lower_limit(lowest, alpha),
        bleeding_patients=len(lowest),
        far_from=upper_limit(farthest, alpha),
        patients=len(farthest),
    )


def lower_limit(values: np.ndarray, alpha: float) -> float | None:
    """The value below which another one exchangeable with these [n] is with probability alpha at most; None of too few.

    It is the k-th lowest, k = floor(alpha * (n + 1)): the new one's rank among n + 1 is even, and below the k-th lowest
    of the others its rank is k at most.
    """
    count = math.floor(alpha * (len(values) + 1) + _ROUNDING)
    return float(np.sort(values)[count - 1]) if count else None


def upper_limit(values: np.ndarray, alpha: float) -> float | None:
    """The value above which another one exchangeable with these [n] is with probability alpha at most."""
    limit = lower_limit(-np.asarray(values), alpha)
    return None if limit is None else -limit


def distances_of_exams(distances: np.ndarray, studies: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Distances [M] of studies in the order of their first slice: of each series the mean, of several the farthest.

    distances [N] of slices; NaN, as of one that is not known, makes a series' mean NaN and counts as not known.
    """
    found: dict[Any, float] = {}
    keys = list(zip(studies.tolist(), series.tolist(), strict=True))
    places: dict[Any, list[int]] = {}
    for number, key in enumerate(keys):
        places.setdefault(key, []).append(number)
    for (study, _), members in places.items():
        mean = float(np.asarray(distances, np.float64)[members].mean())
        found[study] = float(np.fmax(found.get(study, np.nan), mean))
    return np.array(list(found.values()))


def _of_each(values: np.ndarray, patients: np.ndarray, how: np.ufunc) -> np.ndarray:
    """One value of each patient: of np.minimum the lowest, of np.maximum the highest."""
    unique, patient_of = np.unique(patients, return_inverse=True)
    found = np.full(len(unique), np.inf if how is np.minimum else -np.inf)
    how.at(found, patient_of, values)
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Called:
    """What exams [M] are called, bool each: flagged, uncertain (not flagged, by either rule) or else clear; unlike, of
    flagged ones too; bleeds [M], which of them have one; patients [M]."""

    flagged: np.ndarray
    uncertain: np.ndarray
    unlike: np.ndarray
    bleeds: np.ndarray
    patients: np.ndarray

    @property
    def clear(self) -> np.ndarray:
        """Neither flagged nor uncertain."""
        return ~self.flagged & ~self.uncertain

    @property
    def missed(self) -> tuple[int, int]:
        """Patients of whom an exam with a bleed is called clear, and all patients with a bleed: what alpha bounds."""
        return (
            len(np.unique(self.patients[self.bleeds & self.clear])),
            len(np.unique(self.patients[self.bleeds])),
        )

    @property
    def among_clear(self) -> tuple[int, int]:
        """Exams with a bleed among those called clear, and all that are: it depends on how frequent bleeds are."""
        return int((self.bleeds & self.clear).sum()), int(self.clear.sum())


def called(
    rule: Abstention,
    *,
    bleeds: np.ndarray,
    scores: np.ndarray,
    flagged: np.ndarray,
    patients: np.ndarray,
    distances: np.ndarray | None = None,
) -> Called:
    """What the rule calls exams [M] of those scores of any bleed; distances [M], NaN or None where not known."""
    flagged, scores = np.asarray(flagged, bool), np.asarray(scores)
    unlike = np.zeros(len(flagged), bool)
    if rule.far_from is not None and distances is not None:
        unlike = np.asarray(distances) > rule.far_from
    by_score = np.zeros(len(flagged), bool) if rule.clear_below is None else ~(scores < rule.clear_below)
    return Called(
        flagged=flagged,
        uncertain=~flagged & (by_score | unlike),
        unlike=unlike,
        bleeds=np.asarray(bleeds, bool),
        patients=np.asarray(patients),
    )
