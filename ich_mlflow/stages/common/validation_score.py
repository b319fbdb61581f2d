"""What an epoch scores on the validation split, for the curves and for early stopping."""

from collections.abc import Callable

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.operating_point import default_thresholds
from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.labels import ClassScheme, with_any
from ich_mlflow.models.task import Outputs
from ich_mlflow.stages.common.stored_sets import OF_SLICES, label_level

#: What of an epoch's metrics is logged and what early stopping can go by: the rest is of thresholds at one half.
_LOGGED = ("val/auc/", "val/f1/macro")


class ValidationScore:
    """Figures of a network's outputs on the validation split: of slices, or of series where only exams are labelled.

    told: the network's outputs as they come -> Outputs.
    """

    def __init__(self, stored: StoredSet, scheme: ClassScheme, told: Callable[[np.ndarray], Outputs]) -> None:
        rows = stored.rows("validation")
        self._scheme, self._told = scheme, told
        self._of_slices = label_level(stored) == OF_SLICES
        if not self._of_slices:
            _, first = np.unique(stored.table["series_uid"].to_numpy()[rows], return_index=True)
            self._places, rows = first, rows[first]
        self._targets = scheme.targets(stored.subtypes[rows])
        self._findings = scheme.finding_targets(stored.subtypes[rows])

    def __call__(self, predicted: np.ndarray) -> dict[str, float]:
        """`val_loss`, the recalibrated cross-entropy, and AUC and F1 of each finding."""
        outputs = self._told(predicted)
        said = outputs.slices
        if not self._of_slices:
            assert outputs.of_series is not None
            said = outputs.of_series[self._places]
        findings = self._scheme.findings
        scored = evaluate_slices(
            self._findings, with_any(said, self._scheme.labels), default_thresholds(findings), findings
        )
        told = {
            name: value
            for name, value in scored.as_metrics("val").items()
            if name.startswith(_LOGGED) and not name.endswith("/micro")
        }
        return {"val_loss": recalibrated_loss(self._targets, said, self._scheme.labels), **told}
