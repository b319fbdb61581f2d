"""How the network over series is trained: on what a version of the slices says of each slice, kept on disk."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ich_mlflow.dataset.sampling import seen
from ich_mlflow.dataset.split import TEST
from ich_mlflow.errors import DataError, ModelError
from ich_mlflow.labels import ClassScheme
from ich_mlflow.models.ancestry import hashes
from ich_mlflow.models.exam_sequence.batches import SeriesBatches
from ich_mlflow.models.exam_sequence.features import About, features_of, member_of_patients, model_digest
from ich_mlflow.models.exam_sequence.hyperparameters import FEATURES, Hyperparameters
from ich_mlflow.models.exam_sequence.inputs import SliceModel
from ich_mlflow.models.exam_sequence.network import build_sequence, set_standardisation, write_sequence
from ich_mlflow.models.exam_sequence.reader import SEQUENCE_FILE, SLICES_FOLDER, SequenceReader
from ich_mlflow.models.family import Network
from ich_mlflow.models.losses import make_loss
from ich_mlflow.models.task import Outputs, Prepared, Task

#: Series on which what is served is compared with Keras.
_SAMPLE = 3


def prepare(task: Task) -> Prepared:
    """The network, and the inputs of every series, computed or read. Raises DataError, ModelError as a user's mistake.

    Where only studies are labelled the network's own say on slices stays at nothing: it says of them what the version
    of the slices says, whose calibration holds then.
    """
    if task.replicas > 1:
        raise DataError(
            f"family exam_sequence trains on one GPU, found {task.replicas}: name one in CUDA_VISIBLE_DEVICES"
        )
    hyperparameters: Hyperparameters = task.hyperparameters
    slices = task.slice_model()
    _expect_slices(slices, task.scheme)
    _say_if_learned_from(slices, task.stored.table["patient_id"].to_numpy()[task.rows])
    train, validation = (_series(task, rows) for rows in (task.rows, task.validation_rows))
    inputs = _inputs(task, slices)
    learning, validating_on = ([inputs[rows] for rows in series] for series in (train, validation))
    model = _build(task.scheme, hyperparameters, inputs.shape[1])
    learned = np.concatenate(learning)
    deviation = learned.std(axis=0)
    set_standardisation(model, learned.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0))
    if not task.slices_labelled:
        model.get_layer("slices").trainable = False
    batches = _batches(task, train, learning, shuffled=True)
    validating = _batches(task, validation, validating_on)
    return Prepared(
        model=model,
        train=batches,
        validation=validating,
        loss=make_loss(
            hyperparameters.loss,
            labels=task.scheme.labels,
            targets=batches.targets,
            label_smoothing=hyperparameters.label_smoothing,
            focal_gamma=hyperparameters.focal_gamma,
        ),
        told=partial(_told, validating, validation, task.validation_rows),
        seen=lambda epoch: _seen(task, train),
        mirrored=None,
        augmented=None,
        as_served=lambda trained: _same(task.scheme, hyperparameters, trained),
        pack=partial(packed, slices.folder, validating_on[:_SAMPLE]),
    )


def _expect_slices(slices: Any, scheme: ClassScheme) -> None:
    """Raise ModelError where that is no version of a slice CNN with the same labels."""
    specification = slices.specification
    if specification.family != "slice_cnn":
        raise ModelError(
            f"slice_model is of family {specification.family}, expected slice_cnn: pass a model that looks at slices"
        )
    if specification.labels != scheme.labels:
        raise ModelError(
            f"slice_model predicts {', '.join(specification.labels)}, expected {', '.join(scheme.labels)}: pass "
            f"-P num_classes={len(specification.labels)}, or another slice_model"
        )


def _say_if_learned_from(slices: Any, patients: np.ndarray) -> None:
    """Say where every network of the slices has learned from patients that this training learns from."""
    ids = hashes(np.unique(patients))
    seen = [one.seen["patients"] for one in slices.ancestry.ancestors if one.seen]
    known = np.intersect1d(ids, np.concatenate(seen)) if seen else ids[:0]
    known = np.setdiff1d(known, np.concatenate(slices.unseen())) if slices.unseen() else known
    if len(known):
        print(
            f"note: the slice model has learned from {len(known):,} of the {len(ids):,} patients that this "
            "training learns from, and is more certain on them than on others; with an ensemble as slice model "
            "(folds=all) each patient is read by a network that has not learned from it"
        )


def _series(task: Task, rows: np.ndarray) -> list[np.ndarray]:
    """Those of the rows that each series has, in the order of the head."""
    return [np.intersect1d(whole, rows) for whole in task.stored.whole_series(rows)]


def _inputs(task: Task, slices: Any) -> np.ndarray:
    """Of every row of the set [N, C]; zeros of the test split, which is not read.

    Of whole series whatever rows are trained on, as they are served, and so that another fold finds them kept.
    """
    specification, which = slices.specification, task.hyperparameters.inputs
    table = task.stored.table
    members = [
        SliceModel(reader, mirror=specification.mirror, smoothing=specification.series_smoothing)
        for reader in slices.members
    ]
    series = task.stored.whole_series(np.flatnonzero(table["split"].to_numpy() != TEST))
    with tqdm(total=sum(map(len, series)), desc="features", unit="slice", leave=False) as bar:
        found = features_of(
            task.stored,
            series,
            members,
            member_of_patients(table["patient_id"].to_numpy(), slices.unseen(), len(members)),
            about=About(
                data_digest=task.stored.digest, model_digest=model_digest(slices.folder), inputs=which
            ),
            with_features=which == FEATURES,
            folder=task.cache,
            progress=bar.update,
        )
    inputs = np.zeros((len(table), found[0].shape[1]), np.float32)
    inputs[np.concatenate(series)] = np.concatenate(found)
    return inputs


def _build(scheme: ClassScheme, hyperparameters: Hyperparameters, num_inputs: int) -> keras.Model:
    return build_sequence(
        num_labels=len(scheme.labels),
        num_inputs=num_inputs,
        kind=hyperparameters.kind,
        width=hyperparameters.width,
        depth=hyperparameters.depth,
        dropout=hyperparameters.sequence_dropout,
    )


def _batches(
    task: Task, series: Sequence[np.ndarray], inputs: Sequence[np.ndarray], *, shuffled: bool = False
) -> SeriesBatches:
    """An exam shows what any of its slices does; where studies are labelled, all its slices bear the study's labels."""
    targets = [task.scheme.targets(task.stored.subtypes[rows]).astype(np.float32) for rows in series]
    exams = np.stack([one.max(axis=0) for one in targets])

    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((task.seed, epoch)).permutation(len(series))

    known = targets if task.slices_labelled else [None] * len(series)
    return SeriesBatches(inputs, known, exams, order=order if shuffled else None)


def _told(
    batches: SeriesBatches, series: Sequence[np.ndarray], rows: np.ndarray, predicted: np.ndarray
) -> Outputs:
    """What is said of the rows, and of their series."""
    slices, exams = batches.split(predicted)
    order = np.argsort(np.concatenate(series), kind="stable")
    of_series = np.repeat(exams, [len(one) for one in series], axis=0)
    assert np.array_equal(np.concatenate(series)[order], np.sort(rows))
    return Outputs(slices[order], of_series[order])


def _seen(task: Task, series: Sequence[np.ndarray]) -> dict[str, float]:
    rows = np.concatenate(series)
    targets = task.scheme.targets(task.stored.subtypes[rows])
    patients = task.stored.table["patient_id"].to_numpy()[rows]
    return seen(targets, np.arange(len(rows)), patients, task.scheme.labels)


def _same(scheme: ClassScheme, hyperparameters: Hyperparameters, trained: keras.Model) -> keras.Model:
    served = _build(scheme, hyperparameters, trained.input.shape[1])
    served.set_weights(trained.get_weights())
    return served


def packed(slices_folder: Path, samples: Sequence[np.ndarray], model: keras.Model) -> Network:
    """The network with the whole version of the slices beside it."""

    def write(folder: Path) -> None:
        write_sequence(model, folder / SEQUENCE_FILE)
        shutil.copytree(slices_folder, folder / SLICES_FOLDER)

    def difference(reader: SequenceReader) -> float:
        return max(
            float(np.max(np.abs(np.vstack(reader.network.run(one)) - np.asarray(model(one, training=False)))))
            for one in samples
        )

    return Network(keras=model, write=write, difference=difference)
