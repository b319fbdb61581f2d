"""What a trained network is packed with: all that the validation split chooses, and the null models."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.dataset.split import group_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.aggregate import Exams, to_exams
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.choose import choose, choose_aggregation
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.null_models import POSITION, PREVALENCE, NullModel, fit_null_model
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.evaluation.scores import EXAMS
from ich_mlflow.labels import ClassScheme
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.stored_sets import describe


@dataclass(frozen=True, kw_only=True)
class FromValidation:
    """Parts of a Specification, and the validation slices and exams: calibrated, with the rule's thresholds."""

    slices: Chosen
    exams: Chosen
    aggregation: str
    null_models: dict[str, NullModel]
    exam_null_model: NullModel
    slice_predictions: Predictions
    exam_predictions: Predictions

    def specification(
        self,
        stored: StoredSet,
        *,
        run_id: str,
        weights: str,
        recipe: str,
        decides_by: str = MAX_F1,
        context: int = 0,
    ) -> Specification:
        """What a model of that run, trained on `stored` from `weights` by `recipe`, is packed with."""
        return Specification(
            labels=self.slice_predictions.labels,
            slices=self.slices,
            exams=self.exams,
            aggregation=self.aggregation,
            null_models=self.null_models,
            exam_null_model=self.exam_null_model,
            decides_by=decides_by,
            run_id=run_id,
            trained_on=describe(stored),
            data_digest=stored.digest,
            weights=weights,
            recipe=recipe,
            context=context,
        )


def from_validation(
    stored: StoredSet, probabilities: np.ndarray, scheme: ClassScheme, *, calibration: str, rule: str
) -> FromValidation:
    """Choose everything on the validation split: probabilities [N, L] are the network's own, of its slices.

    Null models come from the labels of the training split, all of it.
    """
    rows = stored.rows("validation")
    targets = scheme.targets(stored.subtypes[rows]).astype(bool)
    patients, studies, position = columns(stored, rows)
    slices = choose(targets, probabilities, scheme.labels, calibration=calibration)
    calibrated = slices.calibrated(probabilities)
    aggregation, exams = choose_aggregation(targets, calibrated, studies, patients, scheme.labels)
    chosen = choose(exams.targets, exams.probabilities, scheme.labels, calibration=calibration)
    null_models, exam_null_model = _null_models(stored, scheme, targets, position, exams)
    return FromValidation(
        slices=slices,
        exams=chosen,
        aggregation=aggregation,
        null_models=null_models,
        exam_null_model=exam_null_model,
        slice_predictions=Predictions(
            labels=scheme.labels,
            targets=targets,
            probabilities=calibrated,
            thresholds=slices.thresholds(rule),
            patients=patients,
        ),
        exam_predictions=Predictions(
            labels=scheme.labels,
            targets=exams.targets,
            probabilities=chosen.calibrated(exams.probabilities),
            thresholds=chosen.thresholds(rule),
            patients=exams.patients,
            unit=EXAMS,
        ),
    )


def columns(stored: StoredSet, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patient, study and position in the head (0 to 1) of those rows, each [N].

    Patients that share a study or a series count as one, as they do where the set is split.
    """
    table = stored.table.iloc[rows]
    return (
        group_patients(table["patient_id"], table["study_uid"], table["series_uid"]),
        table["study_uid"].to_numpy(),
        table["position_fraction"].to_numpy(),
    )


def _null_models(
    stored: StoredSet, scheme: ClassScheme, targets: np.ndarray, position: np.ndarray, exams: Exams
) -> tuple[dict[str, NullModel], NullModel]:
    rows = stored.rows("train")
    train = scheme.targets(stored.subtypes[rows])
    patients, studies, train_position = columns(stored, rows)
    both = (train, train_position, targets, position, scheme.labels)
    null_models = {PREVALENCE: fit_null_model(*both, num_bins=1), POSITION: fit_null_model(*both)}
    train_exams = to_exams(train, train, studies, patients)
    exam_null_model = fit_null_model(
        train_exams.targets,
        np.zeros(len(train_exams.targets)),
        exams.targets,
        np.zeros(len(exams.targets)),
        scheme.labels,
        num_bins=1,
    )
    return null_models, exam_null_model
