"""From slices to exams: one number a finding for each study, and whether the study shows the finding.

A series is put together first, and of several series of a study the highest counts: they show one head.
"""

from dataclasses import dataclass

import numpy as np

MAX = "max"
#: Not an aggregation of slices: what a model that reads exams says of a series itself.
OF_MODEL = "model"
#: How many of a series' highest slices are averaged. None depends on how many slices a head was cut into, as 1 minus
#: the product of 1 minus each does: slices of .03 each make .60 of 30 slices, and .99 of 150.
AGGREGATIONS: dict[str, int] = {MAX: 1, "mean_of_2": 2, "mean_of_3": 3, "mean_of_5": 5}


@dataclass(frozen=True, kw_only=True)
class Exams:
    """Studies [M] in the order of their first slice: ids, patients, targets bool [M, F], scores [M, F]."""

    study_uids: np.ndarray
    patients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray


def to_exams(
    targets: np.ndarray,
    scores: np.ndarray,
    study_uids: np.ndarray,
    patients: np.ndarray,
    series_uids: np.ndarray,
    *,
    aggregation: str = MAX,
    of_series: np.ndarray | None = None,
) -> Exams:
    """Put slices [N] together to studies [M]: a study shows a finding where any of its slices does.

    scores [N, F]: what the network says. aggregation: one of AGGREGATIONS, `max` a series' highest score, `mean_of_3`
    the mean of its three highest, or of all where there are fewer; or `model`, what the model says of a series itself,
    of_series [N, F], the same for all slices of one. Raises ValueError for another, or for a study of two patients.
    """
    if aggregation == OF_MODEL and of_series is not None:
        scores, count = of_series, 1
    elif aggregation in AGGREGATIONS:
        count = AGGREGATIONS[aggregation]
    else:
        raise ValueError(f"aggregation is {aggregation!r}, expected one of {', '.join(AGGREGATIONS)}")
    studies, first, study_of = np.unique(study_uids, return_index=True, return_inverse=True)
    patients = np.asarray(patients)
    if (patients != patients[first][study_of]).any():
        raise ValueError("a study has slices of two patients, expected one")
    scores = np.asarray(scores, dtype=np.float64)
    shows = np.zeros((len(studies), targets.shape[1]), dtype=bool)
    np.logical_or.at(shows, study_of, np.asarray(targets, dtype=bool))
    together = np.full((len(studies), scores.shape[1]), -np.inf)
    # A series is known by its study too: UIDs of anonymised data can collide.
    _, series_of = np.unique(series_uids, return_inverse=True)
    _, part_of = np.unique(study_of * (series_of.max() + 1) + series_of, return_inverse=True)
    by_series = np.argsort(part_of, kind="stable")
    for places in np.split(by_series, np.cumsum(np.bincount(part_of))[:-1]):
        highest = np.sort(scores[places], axis=0)[-count:].mean(axis=0)
        study = study_of[places[0]]
        together[study] = np.maximum(together[study], highest)
    order = np.argsort(first, kind="stable")
    return Exams(
        study_uids=studies[order],
        patients=patients[first][order],
        targets=shows[order],
        scores=together[order],
    )
