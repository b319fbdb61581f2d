"""What train reads: which rows, in which order and how often, checked and logged."""

from collections.abc import Callable, Sequence

import numpy as np

from ich_mlflow.dataset.mixture import HomeSet, names_of, sets_of
from ich_mlflow.dataset.split import TRAIN, VALIDATION, assert_disjoint
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.labels import ClassScheme
from ich_mlflow.stages.common.stored_sets import (
    OF_SLICES,
    OF_STUDIES,
    data_note,
    label_level,
    preview_rows,
    split_dataset,
)
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.tracking.run import Run


def training_rows(stored: StoredSet, scheme: ClassScheme, *, epidural_only: str) -> tuple[np.ndarray, int]:
    """Rows of the training split, and how many were left out because the scheme has no label for their bleed.

    Validation and test keep such slices: the model will meet them.
    """
    rows = stored.rows_at_home() if isinstance(stored, HomeSet) else stored.rows("train")
    assert_disjoint(stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy())
    unrepresented = scheme.unrepresented(stored.subtypes[rows])
    if epidural_only == "keep":
        return rows, 0
    return rows[~unrepresented], int(unrepresented.sum())


def rows_beside(stored: StoredSet, scheme: ClassScheme, *, epidural_only: str) -> list[np.ndarray]:
    """Of each set beside the stored set the rows to train on, as training_rows has them; [] where there is none.

    Says in a line a set how many slices are left out because another set keeps their patients apart.
    """
    if not isinstance(stored, HomeSet):
        return []
    found = []
    for one, rows in zip(stored.beside, stored.rows_beside(), strict=True):
        _check_trainable(one, exams=False)
        left_out = np.setdiff1d(one.rows("train"), rows)
        if len(left_out):
            patients = one.table["patient_id"].to_numpy()[left_out]
            print(
                f"left out of {one.path}: {len(left_out):,} slices of {len(np.unique(patients)):,} patients whom "
                "another set validates or tests on"
            )
        drop = epidural_only != "keep"
        found.append(rows[~scheme.unrepresented(one.subtypes[rows])] if drop else rows)
    return found


def check_labels(
    stored: StoredSet,
    rows: np.ndarray,
    scheme: ClassScheme,
    *,
    missing: str,
    exams: bool = False,
    beside: Sequence[np.ndarray] = (),
) -> None:
    """Raise DataError where no patient of the training rows, or of the validation split, has one of the labels.

    beside: of each set beside the stored set its training rows, which count too.

    Nor can a set be trained on whose labels are not of slices (exams: nor of whole studies), or that is all test split.
    missing: `allow` lets validation go without some. Test labels are not looked at: evaluate says what it lacks.
    """
    _check_trainable(stored, exams=exams)
    advice = (
        "preprocess again into another stored set (-P seed= with another number, a larger -P validation_fraction=, "
        "-P folds=, or more data)"
    )
    others = sets_of(stored)[1:]
    shown = [stored.subtypes[rows], *(one.subtypes[mine] for one, mine in zip(others, beside, strict=True))]
    for split, subtypes in (
        ("train", np.concatenate(shown)),
        ("validation", stored.subtypes[stored.rows("validation")]),
    ):
        positive = scheme.targets(subtypes).sum(axis=0)
        lacking = [label for label, count in zip(scheme.labels, positive, strict=True) if not count]
        some = len(lacking) < len(scheme.labels)
        if not lacking or (split == "validation" and missing == "allow" and some):
            continue
        without = "; or pass -P num_classes=4, without it" if lacking == ["epidural"] else ""
        also = without + (
            "" if split == "train" else "; or -P missing_labels=allow, and it is not estimable in validation"
        )
        raise DataError(
            f"the {split} split of {stored.path} has no patient with {', '.join(lacking)}, expected at least one of "
            f"every label: {advice}{also}"
        )


def _check_trainable(stored: StoredSet, *, exams: bool) -> None:
    level = label_level(stored)
    if level != OF_SLICES and not (exams and level == OF_STUDIES):
        labels = "labels of whole studies" if level == OF_STUDIES else "no labels"
        also = "; -P family=exam_sequence can learn from it" if level == OF_STUDIES else ""
        raise DataError(
            f"{stored.path} has {labels}, expected one a slice of every subtype: train on another set, this one "
            f"is for evaluation{also}"
        )
    if not len(stored.rows("train")):
        raise DataError(
            f"{stored.path} has no training split (external=true), expected one: run preprocess with "
            "-P external=false and another -P out=, or train on another set"
        )


def log_data(run: Run, stored: StoredSet, options: TrainOptions, *, dropped: int) -> None:
    """Log which data the run trains and validates on."""
    run.params(
        {
            "path": stored.path.resolve(),
            "digest": stored.digest,
            "source": stored.manifest["source"],
            "epidural_only": options.epidural_only,
            "epidural_only_dropped": dropped,
        },
        prefix="data",
    )
    for name, one, share in _beside(stored):
        run.params(
            {
                "path": one.path.resolve(),
                "digest": one.digest,
                "source": one.manifest["source"],
                "share": share,
            },
            prefix=f"data.{name}",
        )
    if dropped:
        print(f"left out of training: {dropped} slices whose only bleed is epidural (epidural_only=drop)")
    if run.has_datasets:  # logged before the training was cut off
        return
    for split in (TRAIN, VALIDATION):
        run.input(split_dataset(stored, split), context={TRAIN: "training"}.get(split, split))
    for name, one, _ in _beside(stored):
        run.input(split_dataset(one, TRAIN, name=name), context="training")


def _beside(stored: StoredSet) -> list[tuple[str, StoredSet, float]]:
    """Of each set beside the stored set its name, itself and its share of an epoch."""
    if not isinstance(stored, HomeSet):
        return []
    return list(zip(names_of(stored)[1:], stored.beside, stored.shares[1:], strict=True))


def log_augmented(
    run: Run, stored: StoredSet, augmented: Callable[[np.ndarray, int], np.ndarray], *, seed: int
) -> None:
    """Log a picture of eight slices, each augmented three times. augmented: as Prepared has it."""
    rows = preview_rows(stored, num_slices=8)[:8] * 3
    run.figure(
        contact_sheet(
            augmented(np.array(rows), seed),
            [f"row {row}" for row in rows],
            title="Augmented slices",
            note=data_note(stored),
        ),
        "figures/augmented.png",
    )
