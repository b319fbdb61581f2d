"""From slices to exams: one probability a label for each study, and whether the study shows the label."""

from dataclasses import dataclass

import numpy as np

MAX, NOISY_OR = "max", "noisy_or"
AGGREGATIONS = (MAX, NOISY_OR)


@dataclass(frozen=True, kw_only=True)
class Exams:
    """Studies [M] in the order of their first slice: ids, patients, targets bool [M, L], probabilities [M, L]."""

    study_uids: np.ndarray
    patients: np.ndarray
    targets: np.ndarray
    probabilities: np.ndarray


def to_exams(
    targets: np.ndarray,
    probabilities: np.ndarray,
    study_uids: np.ndarray,
    patients: np.ndarray,
    *,
    aggregation: str = MAX,
) -> Exams:
    """Put slices [N] together to studies [M]: a study shows a label where any of its slices does.

    aggregation: `max`, the study's highest probability; `noisy_or`, one minus the product of one minus each, as if
    slices erred independently, which they don't (Pearl, 1988, 4.3.2). Raises ValueError for another, or for a study
    of two patients.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation is {aggregation!r}, expected one of {', '.join(AGGREGATIONS)}")
    studies, first, study_of = np.unique(study_uids, return_index=True, return_inverse=True)
    if (np.asarray(patients) != np.asarray(patients)[first][study_of]).any():
        raise ValueError("a study has slices of two patients, expected one")
    shape = (len(studies), targets.shape[1])
    shows = np.zeros(shape, dtype=bool)
    np.logical_or.at(shows, study_of, np.asarray(targets, dtype=bool))
    if aggregation == MAX:
        together = np.zeros(shape)
        np.maximum.at(together, study_of, probabilities)
    else:
        sums = np.zeros(shape)
        np.add.at(sums, study_of, np.log1p(-np.clip(probabilities, 0, 1 - 1e-12)))
        together = -np.expm1(sums)
    order = np.argsort(first, kind="stable")
    return Exams(
        study_uids=studies[order],
        patients=np.asarray(patients)[first][order],
        targets=shows[order],
        probabilities=together[order],
    )
