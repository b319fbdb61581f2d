"""Where a model finds blood in the slices of a series, at their own resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ich_mlflow.ct.resample import to_slice_size
from ich_mlflow.errors import DataError
from ich_mlflow.intake.plan import PlannedSeries
from ich_mlflow.models.lesion_maps import found_subtypes
from ich_mlflow.models.series import known_positions
from ich_mlflow.prediction.score import read_planned
from ich_mlflow.prediction.verdict import StudyResult
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.rows import row_of_slice


@dataclass(frozen=True, kw_only=True)
class FoundBlood:
    """blood: uint8 [n, H, W] of the slices at `places` of the series, as models/lesion_maps.found_subtypes."""

    series: PlannedSeries
    places: tuple[int, ...]
    blood: np.ndarray


def find_blood(result: StudyResult, classifier: Classifier) -> list[FoundBlood]:
    """Ask the networks again for the usable slices of each scored series of a study, where they find blood.

    Series without any blood are left out. Raises DataError where slices can't be read again, or those of a series
    differ in size. The classifier must find blood (Classifier.finds_blood).
    """
    found = []
    for series in result.study.series:
        places = [one.place for one in result.slices if one.series.key == series.key and not one.error]
        if places and (blood := _blood_of(series, places, classifier)).any():
            found.append(FoundBlood(series=series, places=tuple(places), blood=blood))
    return found


def _blood_of(series: PlannedSeries, places: Sequence[int], classifier: Classifier) -> np.ndarray:
    try:
        slices = [read_planned(series, place) for place in places]
    except OSError as error:
        raise DataError(f"a slice that was scored can't be read again ({error.strerror})") from None
    hu = np.stack([row_of_slice(one).hu for one in slices])
    position_mm = known_positions(np.array(series.positions_mm))[list(places)]
    lesions = classifier.predict_series(hu, position_mm).lesions
    if lesions is None:
        raise DataError("this model has no lesion maps: it was trained without lesion_weight=")
    shapes = [one.hu.shape for one in slices]
    if len(set(shapes)) > 1:
        raise DataError(
            f"slices of {len(set(shapes))} sizes, expected one: a segmentation can't be laid over them"
        )
    threshold = classifier.blood_threshold
    return np.stack(
        [
            found_subtypes(to_slice_size(one, shape), threshold=threshold)
            for one, shape in zip(lesions, shapes, strict=True)
        ]
    )
