"""What a model's lesion map finds while a stored set is scored, measured against its masks series by series."""

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.blood import BloodSlices, counted
from ich_mlflow.models.family import Reading
from ich_mlflow.models.lesion_maps import extents_mm, found_pixels
from ich_mlflow.serving.classifier import Classifier


class BloodMeter:
    """Measures each series that it is given, and keeps numbers alone: maps of a whole set would not fit the memory."""

    def __init__(self, classifier: Classifier, stored: StoredSet) -> None:
        self._classifier, self._stored = classifier, stored
        self._parts: list[BloodSlices] = []

    def add(self, members: np.ndarray, read: Reading) -> None:
        """Measure a whole series: its table rows, from below, and what is said of it."""
        known = np.asarray(self._stored.blood_known(members), bool)
        if read.lesions is None or not known.any():
            return
        rows = members[known]
        row = self._stored.table.iloc[int(members[0])]
        self._parts.append(
            counted(
                found_pixels(read.lesions[known], threshold=self._classifier.blood_threshold),
                self._stored.blood(rows)[0],
                pixel_ml=self._pixel_ml(members)[known],
                exam=f"{row.study_uid} {row.series_uid}",
                patient=row.patient_id,
            )
        )

    @property
    def found(self) -> BloodSlices | None:
        """All that was measured; None where nothing was."""
        return BloodSlices.together(self._parts) if self._parts else None

    def _pixel_ml(self, members: np.ndarray) -> np.ndarray:
        """Millilitres [n] that a pixel of each slice stands for; NaN where sizes or places are not known."""
        table = self._stored.table.iloc[members]
        extents = extents_mm(table["position_mm"].to_numpy())
        if extents is None:
            return np.full(len(members), np.nan)
        area = (table["row_spacing_mm"] * table["column_spacing_mm"]).to_numpy()
        return np.asarray(area * extents / 1000)
