"""Scoring a stored set with a model version: its slices and exams, and what the null models say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.null_models import PREVALENCE
from ich_mlflow.evaluation.scores import EXAMS
from ich_mlflow.labels import SCHEMES, scheme_of_labels
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.specification import columns
from ich_mlflow.system.quiet import native_stderr_muted
from ich_mlflow.tracking.registry import (
    CHAMPION,
    alias_version,
    full_model_uri,
    run_of_model,
    run_parameters,
)

BATCH_SIZE = 32
#: What the labels of a stored set are of, as its manifest says.
OF_SLICES, OF_STUDIES, NO_LABELS = "slice", "study", "none"
#: What tells that a patient was seen: a copy of the data may have its patients renamed, and its studies not.
_PATIENT_COLUMNS = {"patient_id": "patients", "study_uid": "studies", "series_uid": "series"}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model version, ready to score. uri: a version, not an alias. trained_path: of the set it learned from."""

    uri: str
    trained_run: str
    trained_path: str | None
    classifier: Classifier

    @property
    def specification(self) -> Specification:
        """What the version knows of itself."""
        return self.classifier.specification


def load_model(text: str) -> LoadedModel:
    """The model that a user named: a registered name with alias or version, or a model URI. Raises ModelError."""
    uri = full_model_uri(text)
    trained_run = run_of_model(uri)
    with native_stderr_muted():  # LiteRT says what it runs on
        classifier = load_classifier(uri)
    return LoadedModel(
        uri=uri,
        trained_run=trained_run,
        trained_path=run_parameters(trained_run).get("data.path"),
        classifier=classifier,
    )


def champion_name() -> str:
    """The champion that stands for `auto`, as load_model takes it. Raises ModelError where the registry has none."""
    for num_classes in (5, 4, 6):
        name = SCHEMES[num_classes].model_name
        if alias_version(name, CHAMPION) is not None:
            return f"{name}@{CHAMPION}"
    raise ModelError(
        "no model was named and the registry has no champion: pass -P model=runs:/<run id>/serving, or run "
        f"{next_command('promote')}, or to try it {next_command('demonstrate')} and -P model=ich-5class-phantom-demo/1"
    )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The test split of a stored set, scored.

    uncalibrated  the network's own probabilities float32 [N, L] of the rows
    slices        calibrated, against labels of slices; None where the labels are of whole studies
    exams         slices put together as the model's version says, in the order of study_uids
    null_models   what each null model says of the slices; exam_null_models: of the exams
    """

    stored: StoredSet
    rows: np.ndarray
    specification: Specification
    uncalibrated: np.ndarray
    probabilities: np.ndarray
    slices: Predictions | None
    exams: Predictions
    study_uids: np.ndarray
    null_models: dict[str, Predictions]
    exam_null_models: dict[str, Predictions]


def score(classifier: Classifier, stored: StoredSet, *, rule: str) -> Scored:
    """Score the test split with decisions by that rule of operating points. Raises DataError where it is empty."""
    specification = classifier.specification
    rows = stored.rows(TEST)
    if not len(rows):
        raise DataError(f"{stored.path} has no test split, expected slices to evaluate on")
    uncalibrated = score_rows(classifier, stored, rows)
    probabilities = specification.slices.calibrated(uncalibrated)
    labels = specification.labels
    targets = scheme_of_labels(labels).targets(stored.subtypes[rows]).astype(bool)
    patients, studies, position = columns(stored, rows)
    exams = to_exams(targets, probabilities, studies, patients, aggregation=specification.aggregation)

    def of_slices(said: np.ndarray, thresholds: np.ndarray) -> Predictions:
        return Predictions(
            labels=labels, targets=targets, probabilities=said, thresholds=thresholds, patients=patients
        )

    def of_exams(said: np.ndarray, thresholds: np.ndarray) -> Predictions:
        return Predictions(
            labels=labels,
            targets=exams.targets,
            probabilities=said,
            thresholds=thresholds,
            patients=exams.patients,
            unit=EXAMS,
        )

    per_slice = label_level(stored) == OF_SLICES
    nowhere = np.zeros(len(exams.targets))
    of_exam = specification.exam_null_model
    return Scored(
        stored=stored,
        rows=rows,
        specification=specification,
        uncalibrated=uncalibrated,
        probabilities=probabilities,
        slices=of_slices(probabilities, specification.slices.thresholds(rule)) if per_slice else None,
        exams=of_exams(
            specification.exams.calibrated(exams.probabilities), specification.exams.thresholds(rule)
        ),
        study_uids=exams.study_uids,
        null_models={
            name: of_slices(null.probabilities(position), null.thresholds(rule))
            for name, null in specification.null_models.items()
        },
        exam_null_models={PREVALENCE: of_exams(of_exam.probabilities(nowhere), of_exam.thresholds(rule))},
    )


def score_rows(classifier: Classifier, stored: StoredSet, rows: np.ndarray) -> np.ndarray:
    """The network's own probabilities float32 [N, L] of those rows, as the model version serves it."""
    starts = range(0, len(rows), BATCH_SIZE)
    batches = [
        classifier.uncalibrated(
            stored.hu_with_context(rows[start : start + BATCH_SIZE], classifier.specification.context)
        )
        for start in tqdm(starts, desc="scoring", unit="batch", leave=False)
    ]
    return np.concatenate(batches)


def label_level(stored: StoredSet) -> str:
    """What the set's labels are of: slice, study or none."""
    return str(stored.manifest.get("label_level", OF_SLICES))


def expect_unseen(
    specification: Specification,
    stored: StoredSet,
    trained_path: str | None,
    *,
    say: Callable[[str], None] = print,
) -> bool:
    """Whether it was checked that no patient, study or series of the test split was trained or validated on.

    The set that was trained on keeps its own test split, so nothing has to be looked up there. trained_path: of the
    stored set that was trained on. Raises ModelError where any is shared.
    """
    if specification.data_digest == stored.digest:
        return True
    path = Path(trained_path) if trained_path else None
    if path is None or not path.is_dir():
        say(
            f"note: the set that the model was trained on ({path or 'not recorded'}) is not here, so that no "
            "patient is in "
            "both can't be checked"
        )
        return False
    trained = StoredSet.open(path)
    if trained.digest != specification.data_digest:
        say(f"note: {path} has changed since the model was trained, so shared patients can't be ruled out")
        return False
    seen, test = trained.table[trained.table["split"] != TEST], stored.table.iloc[stored.rows(TEST)]
    for column, things in _PATIENT_COLUMNS.items():
        shared = set(seen[column]) & set(test[column])
        if shared:
            raise ModelError(
                f"{len(shared)} {things} of the test split of {stored.path} were in the training or validation "
                f"split of the model ({path}), such as {min(shared)}: expected none; evaluate on the model's own set "
                f"(-P data={path}), or on other patients"
            )
    return True
