"""Scoring a stored set with a model version: its slices and exams, and what the null models say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.evaluation.abstention import distances_of_exams
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.blood import BloodSlices
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.null_models import PREVALENCE
from ich_mlflow.labels import scheme_of_labels
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.family import Reading
from ich_mlflow.models.series import known_positions
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.serving.response import ModelVersion
from ich_mlflow.sources.registry import PHANTOM
from ich_mlflow.stages.common.blood_meter import BloodMeter
from ich_mlflow.stages.common.names import MODEL_NAMES
from ich_mlflow.stages.common.run_models import serving_of_run
from ich_mlflow.stages.common.specification import columns
from ich_mlflow.stages.common.stored_sets import OF_SLICES, ids_of, label_level
from ich_mlflow.system.quiet import native_stderr_muted
from ich_mlflow.tracking.registry import (
    CHAMPION,
    alias_version,
    full_model_uri,
    run_name,
    run_of_model,
    run_parameters,
)
from ich_mlflow.tracking.versions import source_of

BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model version, ready to score. uri: a version, not an alias. trained_path: of the set it learned from."""

    uri: str
    trained_run: str
    trained_path: str | None
    classifier: Classifier

    @property
    def short(self) -> str:
        """`ich-5class v3`; of a model that is not registered the run that made it, by its id."""
        named = ModelVersion.of(self.uri, self.specification)
        return f"{named.name} v{named.version}" if named.version.isdigit() else f"run {self.trained_run[:8]}"

    @property
    def called(self) -> str:
        """As short, and of a model that is not registered what its training is called."""
        name = run_name(self.trained_run).removeprefix("train ")
        return f"{name} ({self.trained_run[:8]})" if name and self.short.startswith("run ") else self.short

    @property
    def specification(self) -> Specification:
        """What the version knows of itself."""
        return self.classifier.specification

    @property
    def ancestry(self) -> Ancestry:
        """What the version, and whatever its weights come from, has learned from."""
        return self.classifier.ancestry


def load_model(text: str) -> LoadedModel:
    """The model that a user named: a registered name with alias or version, a URI, a run's id. Raises ModelError."""
    uri = full_model_uri(serving_of_run(text))
    trained_run = run_of_model(uri)
    with native_stderr_muted():  # LiteRT says what it runs on
        classifier = load_classifier(uri)
    return LoadedModel(
        uri=uri,
        trained_run=trained_run,
        trained_path=run_parameters(trained_run).get("data.path"),
        classifier=classifier,
    )


def champion_name(*, option: str = "model") -> str:
    """The champion that stands for `auto`, as load_model takes it. Raises ModelError where the registry has none.

    One that learned from real data goes before one of phantoms, which is said in a line where it is taken.
    """
    found = {name: version for name in MODEL_NAMES if (version := alias_version(name, CHAMPION)) is not None}
    of_phantoms = {name for name, version in found.items() if source_of(name, version) == PHANTOM}
    for name in sorted(found, key=lambda name: name in of_phantoms):
        if name in of_phantoms:
            print(f"note: {name}@{CHAMPION} learned from phantoms, and there is no champion that did not")
        return f"{name}@{CHAMPION}"
    raise ModelError(
        f"no model was named and the registry has no champion: pass -P {option}=runs:/<run id>/serving, or run "
        f"{next_command('promote')}, or to try it {next_command('demonstrate')} and -P {option}="
        "ich-5class-ctich-demo/1"
    )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The test split of a stored set, scored.

    outputs       of the network, float32 [N, L], of the rows
    probabilities of the findings, calibrated, float64 [N, F]
    slices        findings against labels of slices; None where the labels are of whole studies
    exams         slices put together as the model's version says, in the order of study_uids
    null_models   what each null model says of the slices; exam_null_models: of the exams
    blood         what the model's lesion map found on the slices whose masks are known; None where it has no map, or
                  the split no masks
    distances     of the exams, how unlike each is what the model has learned from; None where it doesn't say
    """

    stored: StoredSet
    rows: np.ndarray
    specification: Specification
    outputs: np.ndarray
    probabilities: np.ndarray
    slices: Predictions | None
    exams: Predictions
    study_uids: np.ndarray
    null_models: dict[str, Predictions]
    exam_null_models: dict[str, Predictions]
    blood: BloodSlices | None = None
    distances: np.ndarray | None = None


def score(classifier: Classifier, stored: StoredSet, *, rule: str) -> Scored:
    """Score the test split with decisions by that rule of operating points. Raises DataError where it is empty."""
    specification = classifier.specification
    rows = stored.rows(TEST)
    if not len(rows):
        raise DataError(f"{stored.path} has no test split, expected slices to evaluate on")
    meter = BloodMeter(classifier, stored)
    read = score_rows(classifier, stored, rows, each=meter.add)
    outputs, scores = read.slices, specification.scores(read.slices)
    probabilities = specification.slices.calibrated(scores)
    findings = specification.findings
    targets = scheme_of_labels(specification.labels).finding_targets(stored.subtypes[rows])
    where = columns(stored, rows)
    exams = to_exams(
        targets,
        scores,
        where.studies,
        where.patients,
        where.series,
        aggregation=specification.aggregation,
        of_series=None if read.of_series is None else specification.scores(read.of_series),
    )
    of_slices = partial(Predictions, labels=findings, targets=targets, patients=where.patients)
    of_exams = partial(
        Predictions, labels=findings, targets=exams.targets, patients=exams.patients, unit=EXAMS
    )
    nowhere = np.zeros(len(exams.targets))
    of_exam = specification.exam_null_model
    return Scored(
        stored=stored,
        rows=rows,
        specification=specification,
        outputs=outputs,
        probabilities=probabilities,
        slices=of_slices(
            probabilities=probabilities, thresholds=specification.slices.thresholds(rule), scores=scores
        )
        if label_level(stored) == OF_SLICES
        else None,
        exams=of_exams(
            probabilities=specification.exams.calibrated(exams.scores),
            thresholds=specification.exams.thresholds(rule),
            scores=exams.scores,
        ),
        study_uids=exams.study_uids,
        null_models={
            name: of_slices(
                probabilities=null.probabilities(where.position), thresholds=null.thresholds(rule)
            )
            for name, null in specification.null_models.items()
        },
        exam_null_models={
            PREVALENCE: of_exams(
                probabilities=of_exam.probabilities(nowhere), thresholds=of_exam.thresholds(rule)
            )
        },
        blood=meter.found,
        distances=read.distances_of(where.studies, where.series),
    )


@dataclass(frozen=True, eq=False)
class ReadRows:
    """What a model version says of slices, float32 [N, L], and of their series; of_series is None where of none.

    distance [N]: how unlike each slice is what the model has learned from; None where it doesn't say.
    """

    slices: np.ndarray
    of_series: np.ndarray | None
    distance: np.ndarray | None = None

    def distances_of(self, studies: np.ndarray, series: np.ndarray) -> np.ndarray | None:
        """Of the exams [M] in the order of their first slice; None where nothing is said."""
        return None if self.distance is None else distances_of_exams(self.distance, studies, series)


def score_rows(
    classifier: Classifier,
    stored: StoredSet,
    rows: np.ndarray,
    *,
    each: Callable[[np.ndarray, Reading], None] = lambda members, read: None,
) -> ReadRows:
    """What the model version says of those rows, as it serves them: series by series, each whole.

    each: is given the rows of every series and what is said of it, of which the rest isn't kept.
    """
    rows = np.asarray(rows)
    slices, of_series = np.empty((2, len(stored.table), len(classifier.specification.labels)), np.float32)
    distance = np.full(len(stored.table), np.nan, np.float32)
    says_exams = False
    position_mm = stored.table["position_mm"].to_numpy()
    whole = stored.whole_series(rows)
    with tqdm(total=sum(map(len, whole)), desc="scoring", unit="slice", leave=False) as progress:
        for members in whole:
            read = classifier.predict_series(stored.hu(members), known_positions(position_mm[members]))
            slices[members] = read.slices
            each(members, read)
            if read.exam is not None:
                of_series[members], says_exams = read.exam, True
            if read.distance is not None:
                distance[members] = read.distance
            progress.update(len(members))
    return ReadRows(
        slices[rows],
        of_series[rows] if says_exams else None,
        None if np.isnan(distance[rows]).all() else distance[rows],
    )


def expect_unseen(
    model: LoadedModel, stored: StoredSet, *, rows: np.ndarray | None = None
) -> tuple[str, ...]:
    """Names of what the model's weights come from of which it is not known whether it saw patients of the test split.

    Raises ModelError where the model, or anything that its weights come from, was trained, validated or recalibrated on
    a patient, a study or a series of it. rows: others than the test split.
    """
    shared = model.ancestry.shared_with(ids_of(stored, stored.rows(TEST) if rows is None else rows))
    if not shared:
        return model.ancestry.unknown
    one = shared[0]
    itself = one.ancestor is model.ancestry.ancestors[-1]
    whose = model.uri if itself else f"what the weights of {model.uri} come from"
    also = f", and of {len(shared) - 1} more" if len(shared) > 1 else ""
    own = f" (-P data={model.trained_path})" if model.trained_path else ""
    mend = f"on the test split of its own set{own}" if itself else "train it from other weights"
    mend = f"evaluate on other patients, or {mend}" if rows is None else "recalibrate on other patients"
    raise ModelError(
        f"{one.count:,} {one.kind} of {'the test split of ' if rows is None else ''}{stored.path} were in the training "
        f"or validation split of {whose}, {one.ancestor.said}{also}: expected none; {mend}"
    )


def say_not_known(names: tuple[str, ...]) -> str:
    """That it is not known what those have learned from, in a line; '' where there is none."""
    if not names:
        return ""
    return f"it is not known what {', '.join(names)} learned from, so shared patients can't be ruled out"
