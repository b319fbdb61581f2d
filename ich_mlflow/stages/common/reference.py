"""What a version said of the exams that chose for it, as the monitor's records: the reference that travels in it."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.abstention import Abstention, called
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.record import (
    EXAM,
    FLAGGED,
    MAX_THUMBNAILS,
    NOT_FLAGGED,
    UNCERTAIN,
    Record,
    known,
    soft_tissue,
    thumbnail,
)
from ich_mlflow.monitoring.reference import VALIDATION_SITE, reference_text

#: More exams tell little more, and lie in every copy of the version.
MAX_EXAMS = 1000


def reference_of(
    stored: StoredSet,
    study_uids: np.ndarray,
    exams: Predictions,
    *,
    rule: str,
    abstention: Abstention | None = None,
    distances: np.ndarray | None = None,
) -> str:
    """The text of the reference's file: exams [M] of the stored set by their study, with decisions by that rule.

    Of more than MAX_EXAMS some are taken, evenly.
    distances [M]: feature distances, where they are known. Nothing of it says whose they are.
    """
    place = exams.labels.index(ANY)
    decided = exams.probabilities >= exams.thresholds
    uncertain = np.zeros(len(decided), bool)
    if abstention is not None:
        uncertain = called(
            abstention,
            bleeds=exams.targets[:, place],
            scores=exams.ranked_by[:, place],
            flagged=decided[:, place],
            patients=exams.patients,
            distances=distances,
        ).uncertain
    every = max(1, -(-len(decided) // MAX_EXAMS))
    rows_of = stored.table.groupby("study_uid", sort=False).indices
    now = datetime.now(UTC)
    return reference_text(
        [
            Record(
                time=now,
                site=VALIDATION_SITE,
                study="",
                model_name="",
                model_version="",
                unit=EXAM,
                status=FLAGGED if decided[one, place] else UNCERTAIN if uncertain[one] else NOT_FLAGGED,
                uncertain=bool(uncertain[one]),
                operating_point=rule,
                probabilities={
                    label: round(float(exams.probabilities[one, column]), 5)
                    for column, label in enumerate(exams.labels)
                },
                positive=tuple(label for column, label in enumerate(exams.labels) if decided[one, column]),
                distance=None if distances is None else known(float(distances[one]), 4),
                **_taken(stored, np.sort(rows_of[study_uids[one]])),
            )
            for one in range(0, len(decided), every)
        ]
    )


def _taken(stored: StoredSet, rows: np.ndarray) -> dict[str, Any]:
    """How an exam was taken, as far as the stored set knows: of its first series step and soft tissue.

    The spacing of its pixels is of the stored size, and a record's of the file's own, so that it is left out.
    """
    table = stored.table.iloc[rows]
    first = rows[(table["series_uid"] == table["series_uid"].iloc[0]).to_numpy()]
    places = np.unique(stored.table["position_mm"].to_numpy()[first].round(2))
    places = places[np.isfinite(places)]
    every = max(1, math.ceil(len(first) / MAX_THUMBNAILS))
    step = float(np.median(np.diff(places))) if len(places) > 1 else math.nan
    return {
        "slices": len(rows),
        "step_mm": known(step),
        "soft_tissue_hu": known(soft_tissue(thumbnail(one) for one in stored.hu(first[::every]))),
    }
