"""What a trained network is packed with: all that the validation split chooses, and the null models."""

from dataclasses import dataclass

import numpy as np

from ich_mlflow.dataset.split import group_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.abstention import (
    DEFAULT_ALPHA,
    Abstention,
    choose_abstention,
    distances_of_exams,
)
from ich_mlflow.evaluation.aggregate import Exams, to_exams
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.choose import choose, choose_aggregation, choose_smoothing
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.null_models import POSITION, PREVALENCE, NullModel, fit_null_model
from ich_mlflow.evaluation.operating_point import MAX_F1
from ich_mlflow.labels import ANY, ClassScheme, with_any
from ich_mlflow.models.registry import SLICE_CNN
from ich_mlflow.models.series import AUTO, NONE, smoothed_each
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.stored_sets import OF_SLICES, describe, label_level


@dataclass(frozen=True, kw_only=True)
class FromValidation:
    """Parts of a Specification, and the validation slices and exams: calibrated, with the rule's thresholds.

    labels: of the network; the rest is of its findings. slice_predictions: None where only studies are labelled.
    study_uids, distances [M]: of the exams; distances, how unlike each is training, None where that isn't said.
    """

    labels: tuple[str, ...]
    series_smoothing: str
    mirror: bool
    slices: Chosen
    exams: Chosen
    aggregation: str
    null_models: dict[str, NullModel]
    exam_null_model: NullModel
    slice_predictions: Predictions | None
    exam_predictions: Predictions
    study_uids: np.ndarray
    abstention: Abstention | None = None
    distances: np.ndarray | None = None

    def specification(
        self,
        stored: StoredSet,
        *,
        run_id: str,
        weights: str,
        recipe: str,
        decides_by: str = MAX_F1,
        context: int = 0,
        family: str = SLICE_CNN,
        members: int = 1,
    ) -> Specification:
        """What a model of that run, trained on `stored` from `weights` by `recipe`, is packed with."""
        return Specification(
            labels=self.labels,
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
            series_smoothing=self.series_smoothing,
            mirror=self.mirror,
            family=family,
            members=members,
            abstention=self.abstention,
        )


def from_validation(
    stored: StoredSet,
    outputs: np.ndarray,
    scheme: ClassScheme,
    *,
    calibration: str,
    rule: str,
    series_smoothing: str = AUTO,
    mirror: bool = False,
    of_series: np.ndarray | None = None,
    slice_model: Specification | None = None,
    train_rows: np.ndarray | None = None,
    alpha: float = DEFAULT_ALPHA,
    distances: np.ndarray | None = None,
) -> FromValidation:
    """Choose everything on the validation split: outputs [N, L] of the network, of its slices.

    series_smoothing: one of SMOOTHINGS, or auto to choose it here; a network that reads series is not smoothed. mirror:
    whether the outputs are means with those of the mirror images, as the version's then are. of_series [N, L]: what the
    network says of each slice's series itself, where it does. slice_model: what the version of the slices chose, which
    stands for them where the set's labels are of whole studies.

    Null models come from the labels of train_rows, the training split where None, all of it. alpha: what abstention
    promises, 0 for none; distances [N]: how unlike each slice is what the network has learned from, where that is said.
    """
    rows = stored.rows("validation")
    targets, where = scheme.finding_targets(stored.subtypes[rows]), columns(stored, rows)
    findings = scheme.findings
    if of_series is not None:
        series_smoothing = NONE
    if series_smoothing == AUTO:
        series_smoothing = choose_smoothing(
            targets, outputs, where.position_mm, where.studies, where.patients, where.series, scheme.labels
        )
    outputs = smoothed_each(outputs, where.position_mm, where.series, series_smoothing)
    scores = with_any(outputs, scheme.labels)
    aggregation, exams = choose_aggregation(
        targets,
        scores,
        where.studies,
        where.patients,
        where.series,
        findings,
        of_series=None if of_series is None else with_any(of_series, scheme.labels),
    )
    chosen = choose(exams.targets, exams.scores, exams.patients, findings, calibration=calibration)
    learned = stored.rows("train") if train_rows is None else train_rows
    null_models, exam_null_model = _null_models(stored, learned, scheme, targets, where, exams)
    place = findings.index(ANY)
    far = None if distances is None else distances_of_exams(distances, where.studies, where.series)
    of_slices = label_level(stored) == OF_SLICES
    if of_slices or slice_model is None:
        slices = choose(targets, scores, where.patients, findings, calibration=calibration)
    else:
        slices, null_models = slice_model.slices, dict(slice_model.null_models)
    return FromValidation(
        labels=scheme.labels,
        series_smoothing=series_smoothing,
        mirror=mirror,
        slices=slices,
        exams=chosen,
        aggregation=aggregation,
        null_models=null_models,
        exam_null_model=exam_null_model,
        slice_predictions=Predictions(
            labels=findings,
            targets=targets,
            probabilities=slices.calibrated(scores),
            thresholds=slices.thresholds(rule),
            patients=where.patients,
            scores=scores,
        )
        if of_slices
        else None,
        exam_predictions=Predictions(
            labels=findings,
            targets=exams.targets,
            probabilities=chosen.calibrated(exams.scores),
            thresholds=chosen.thresholds(rule),
            patients=exams.patients,
            unit=EXAMS,
            scores=exams.scores,
        ),
        study_uids=exams.study_uids,
        distances=far,
        abstention=choose_abstention(
            exams.targets[:, place], exams.scores[:, place], exams.patients, alpha=alpha, distances=far
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Of some rows of a stored set, [N] each. position: in the head, 0 to 1; position_mm: along the series."""

    patients: np.ndarray
    studies: np.ndarray
    series: np.ndarray
    position: np.ndarray
    position_mm: np.ndarray


def columns(stored: StoredSet, rows: np.ndarray) -> Columns:
    """Patient, study, series and position of those rows.

    Patients that share a study or a series count as one, as they do where the set is split.
    """
    table = stored.table.iloc[rows]
    return Columns(
        patients=group_patients(table["patient_id"], table["study_uid"], table["series_uid"]),
        studies=table["study_uid"].to_numpy(),
        series=table["series_uid"].to_numpy(),
        position=table["position_fraction"].to_numpy(),
        position_mm=table["position_mm"].to_numpy(),
    )


def _null_models(
    stored: StoredSet,
    rows: np.ndarray,
    scheme: ClassScheme,
    targets: np.ndarray,
    where: Columns,
    exams: Exams,
) -> tuple[dict[str, NullModel], NullModel]:
    train = scheme.finding_targets(stored.subtypes[rows])
    learned = columns(stored, rows)
    both = (train, learned.position, targets, where.position, where.patients, scheme.findings)
    null_models = {PREVALENCE: fit_null_model(*both, num_bins=1), POSITION: fit_null_model(*both)}
    train_exams = to_exams(train, train, learned.studies, learned.patients, learned.series)
    exam_null_model = fit_null_model(
        train_exams.targets,
        np.zeros(len(train_exams.targets)),
        exams.targets,
        np.zeros(len(exams.targets)),
        exams.patients,
        scheme.findings,
        num_bins=1,
    )
    return null_models, exam_null_model
