"""The local exams: whether they are enough, and what the version says of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ich_mlflow.dataset.split import TEST, TRAIN, fold_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.labels import ANY, scheme_of_labels
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.stages.common.scoring import ReadRows, score_rows
from ich_mlflow.stages.common.specification import Columns, columns
from ich_mlflow.stages.common.stored_sets import NO_LABELS, OF_SLICES, label_level

#: Parts of the patients, of which each is decided by what the others chose.
NUM_FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many patients have an exam with a label, and how many one without."""

    positive: int
    negative: int

    @property
    def rarer(self) -> int:
        """Of the kind that is rarer."""
        return min(self.positive, self.negative)


@dataclass(frozen=True, kw_only=True)
class LocalExams:
    """Rows of a stored set that are recalibrated on: targets bool [N, F] of their slices, and patients by label."""

    stored: StoredSet
    rows: np.ndarray
    labels: tuple[str, ...]
    targets: np.ndarray
    where: Columns
    counts: Mapping[str, Counts]

    @property
    def num_patients(self) -> int:
        """Patients in all."""
        return len(np.unique(self.where.patients))

    def with_enough(self, least: int) -> tuple[str, ...]:
        """The labels with so many patients of either kind."""
        return tuple(label for label in self.labels if self.counts[label].rarer >= least)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Slices, or exams: what the version chose for them; targets bool [N, F], scores [N, F], patients, folds [N].

    study_uids [N], distances [N]: of exams, whose they are, and how unlike each is what the version has learned from;
    None where it doesn't say.
    """

    name: str
    chosen: Chosen
    targets: np.ndarray
    scores: np.ndarray
    patients: np.ndarray
    folds: np.ndarray
    distances: np.ndarray | None = None
    study_uids: np.ndarray | None = None


def local_exams(stored: StoredSet, specification: Specification, *, test_split: bool) -> LocalExams:
    """The exams of the set. Raises DataError where it has no labels, or nothing outside its test split."""
    if label_level(stored) == NO_LABELS:
        raise DataError(
            f"{stored.path} has no labels, expected a set with labels of exams or of slices: pass another -P data="
        )
    in_test = stored.table["split"].to_numpy() == TEST
    rows = np.arange(len(in_test)) if test_split else np.flatnonzero(~in_test)
    if not len(rows):
        raise DataError(
            f"all patients of {stored.path} are in its test split, expected others with test_split=false: leave "
            "out -P test_split=false"
        )
    scheme = scheme_of_labels(specification.labels)
    targets, where = scheme.finding_targets(stored.subtypes[rows]), columns(stored, rows)
    exams = to_exams(targets, targets, where.studies, where.patients, where.series)
    return LocalExams(
        stored=stored,
        rows=rows,
        labels=scheme.findings,
        targets=targets,
        where=where,
        counts={
            label: Counts(
                positive=len(np.unique(exams.patients[exams.targets[:, i]])),
                negative=len(np.unique(exams.patients[~exams.targets[:, i]])),
            )
            for i, label in enumerate(scheme.findings)
        },
    )


def expect_enough(local: LocalExams, least: int) -> None:
    """Raise DataError, which says what it would take, where too few patients have any bleed, or have none."""
    found = local.counts[ANY]
    if found.rarer >= least:
        return
    missing = [
        f"{least - count} more {kind}"
        for count, kind in ((found.positive, "with a bleed"), (found.negative, "without"))
        if count < least
    ]
    raise DataError(
        f"{local.stored.path} has {found.positive} patients with a bleed and {found.negative} without, expected "
        f"{least} or more of each: label exams of {' and '.join(missing)}"
    )


def scored_units(classifier: Classifier, local: LocalExams) -> tuple[Unit, ...]:
    """Exams, and before them slices where slices are labelled, scored by the version."""
    return units_of(local, classifier.specification, score_rows(classifier, local.stored, local.rows))


def units_of(
    local: LocalExams, specification: Specification, read: ReadRows, *, num_folds: int = NUM_FOLDS
) -> tuple[Unit, ...]:
    """The same of what the version's networks say of the rows, read."""
    where, scores = local.where, specification.scores(read.slices)
    exams = to_exams(
        local.targets,
        scores,
        where.studies,
        where.patients,
        where.series,
        aggregation=specification.aggregation,
        of_series=None if read.of_series is None else specification.scores(read.of_series),
    )
    folds = fold_patients(
        where.patients,
        local.stored.subtypes[local.rows],
        np.full(len(local.rows), TRAIN),
        num_folds=min(num_folds, local.num_patients),
        seed=0,
    )
    fold_of = dict(zip(where.patients, folds, strict=True))
    of_exams = Unit(
        name=EXAMS,
        chosen=specification.exams,
        targets=exams.targets,
        scores=exams.scores,
        patients=exams.patients,
        folds=np.array([fold_of[patient] for patient in exams.patients]),
        distances=read.distances_of(where.studies, where.series),
        study_uids=exams.study_uids,
    )
    if label_level(local.stored) != OF_SLICES:
        return (of_exams,)
    of_slices = Unit(
        name=SLICES,
        chosen=specification.slices,
        targets=local.targets,
        scores=scores,
        patients=where.patients,
        folds=folds,
    )
    return of_slices, of_exams
