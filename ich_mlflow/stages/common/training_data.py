"""What train reads: which rows, in which order and how often, checked and logged."""

from functools import partial

import numpy as np

from ich_mlflow.dataset.batches import Order, SliceBatches
from ich_mlflow.dataset.sampling import balanced, natural_order, reachable_rates
from ich_mlflow.dataset.split import assert_disjoint
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.labels import ANY, ClassScheme
from ich_mlflow.models.slice_cnn.augmentation import augment_slices, num_draws
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.stages.common.stored_sets import data_note, preview_rows
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.tracking.run import Run


def training_rows(stored: StoredSet, scheme: ClassScheme, *, epidural_only: str) -> tuple[np.ndarray, int]:
    """Rows of the training split, and how many were left out because the scheme has no label for their bleed.

    Validation and test keep such slices: the model will meet them.
    """
    rows = stored.rows("train")
    assert_disjoint(stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy())
    unrepresented = scheme.unrepresented(stored.subtypes[rows])
    if epidural_only == "keep":
        return rows, 0
    return rows[~unrepresented], int(unrepresented.sum())


def check_labels(stored: StoredSet, rows: np.ndarray, scheme: ClassScheme, *, missing: str) -> None:
    """Raise DataError where no patient of the training rows, or of the validation split, has one of the labels.

    Nor can a set be trained on whose labels are not of slices, or that is all test split.
    missing: `allow` lets validation go without some. Test labels are not looked at: evaluate says what it lacks.
    """
    _check_trainable(stored)
    advice = (
        "make another stored set (-P seed=, a larger -P validation_fraction=, -P folds=, more data), or pass "
        "-P num_classes=4 if it is epidural"
    )
    for split, chosen in (("train", rows), ("validation", stored.rows("validation"))):
        positive = scheme.targets(stored.subtypes[chosen]).sum(axis=0)
        lacking = [label for label, count in zip(scheme.labels, positive, strict=True) if not count]
        some = len(lacking) < len(scheme.labels)
        if not lacking or (split == "validation" and missing == "allow" and some):
            continue
        also = (
            "" if split == "train" else "; or -P missing_labels=allow, and it is not estimable in validation"
        )
        raise DataError(
            f"the {split} split of {stored.path} has no patient with {', '.join(lacking)}, expected at least one of "
            f"every label: {advice}{also}"
        )


def _check_trainable(stored: StoredSet) -> None:
    """Sets made before manifests told the level of their labels have labels of slices."""
    labels = {"study": "labels of whole studies", "none": "no labels"}.get(
        stored.manifest.get("label_level", "slice")
    )
    if labels:
        raise DataError(
            f"{stored.path} has {labels}, expected one a slice of every subtype: train on another set, this one "
            "is for evaluation"
        )
    if not len(stored.rows("train")):
        raise DataError(
            f"{stored.path} has no training split (external=true), expected one: run preprocess with "
            "-P external=false and another -P out=, or train on another set"
        )


def training_batches(
    stored: StoredSet,
    rows: np.ndarray,
    scheme: ClassScheme,
    hyperparameters: Hyperparameters,
    *,
    seed: int,
    replicas: int = 1,
) -> SliceBatches:
    """The batches of those rows: sampled and augmented as the hyperparameters say, by the seed.

    Raises DataError where `replicas` devices can't share a batch evenly.
    """
    if hyperparameters.batch_size % replicas or len(rows) < replicas:
        raise DataError(
            f"batch_size is {hyperparameters.batch_size} for {len(rows)} slices, expected a multiple of the {replicas} "
            f"GPUs: pass -P batch_size={replicas * max(1, hyperparameters.batch_size // replicas)}, or fewer GPUs by "
            "CUDA_VISIBLE_DEVICES"
        )
    targets = scheme.targets(stored.subtypes[rows])
    return SliceBatches(
        stored,
        rows,
        targets,
        batch_size=hyperparameters.batch_size,
        seed=seed,
        context=hyperparameters.context,
        order=_order(targets, scheme, hyperparameters, seed=seed),
        augment=partial(augment_slices, strengths=hyperparameters),
        num_draws=num_draws(),
        divisor=replicas,
    )


def _order(targets: np.ndarray, scheme: ClassScheme, hyperparameters: Hyperparameters, *, seed: int) -> Order:
    if hyperparameters.sampling == "natural":
        return lambda epoch: natural_order(len(targets), seed=seed, epoch=epoch)
    subtypes = _subtypes(targets, scheme)
    sampler = balanced(subtypes, rate=hyperparameters.sampling_rate or 1 / (subtypes.shape[1] + 1))
    return lambda epoch: sampler.order(seed=seed, epoch=epoch)


def reachable_sampling(stored: StoredSet, rows: np.ndarray, scheme: ClassScheme) -> tuple[float, float]:
    """The lowest and highest sampling_rate that those rows allow; 1, 0 where they allow none."""
    return reachable_rates(_subtypes(scheme.targets(stored.subtypes[rows]), scheme))


def _subtypes(targets: np.ndarray, scheme: ClassScheme) -> np.ndarray:
    return targets[:, [label != ANY for label in scheme.labels]]


def validation_batches(
    stored: StoredSet, scheme: ClassScheme, hyperparameters: Hyperparameters
) -> SliceBatches:
    """The validation split as it stands."""
    rows = stored.rows("validation")
    return SliceBatches(
        stored,
        rows,
        scheme.targets(stored.subtypes[rows]),
        batch_size=hyperparameters.batch_size,
        context=hyperparameters.context,
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
    if dropped:
        print(f"left out of training: {dropped} slices whose only bleed is epidural (epidural_only=drop)")
    if run.has_datasets:  # logged before the training was cut off
        return
    for split in ("train", "validation"):
        run.dataset(
            stored.table.iloc[stored.rows(split)],
            source=stored.path,
            # One name and digest would be one data set, with one context.
            name=f"{stored.manifest['source']}-{split}",
            digest=stored.digest,
            context={"train": "training"}.get(split, split),
        )


def log_augmented(run: Run, stored: StoredSet, hyperparameters: Hyperparameters, *, seed: int) -> None:
    """Log a picture of eight slices, each augmented three times."""
    rows = preview_rows(stored, num_slices=8)[:8] * 3
    draws = np.random.default_rng(seed).random((len(rows), num_draws()))
    augmented = augment_slices(stored.hu(np.array(rows))[..., None], draws, hyperparameters)[..., 0]
    run.figure(
        contact_sheet(
            augmented.astype(np.int16),
            [f"row {row}" for row in rows],
            title="Augmented slices",
            note=data_note(stored),
        ),
        "figures/augmented.png",
    )
