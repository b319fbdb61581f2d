"""folds=all: a network for each fold of the patients outside test, and of all of them one model.

Each patient is said of by the one network that has not learned from it: calibration, operating points and aggregation
are chosen on those predictions, of all patients. What is served is the mean of the networks.
"""

import gc
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from ich_mlflow.dataset.split import FOLD, TEST, TRAIN, VALIDATION, fold_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import OptionError, TrainingError
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.ancestry import ANCESTRY_FILE, Ancestry, hashes
from ich_mlflow.models.registry import SLICE_CNN, family_of
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.task import Outputs
from ich_mlflow.stages.common.options import USUAL_FOLDS
from ich_mlflow.stages.common.specification import columns
from ich_mlflow.stages.common.stored_sets import learned_then, preview_rows
from ich_mlflow.stages.common.training_data import check_labels, log_data, rows_beside, training_rows
from ich_mlflow.stages.common.training_job import Job, log_history, log_told
from ich_mlflow.stages.common.unfinished import Unfinished, kept_in
from ich_mlflow.stages.common.validation_score import ValidationScore
from ich_mlflow.stages.train.trained import Outcome, TrainedModel, Training, log_trained
from ich_mlflow.system.whole import write_whole
from ich_mlflow.tracking.run import child_run, start_run

FOLD_TAG = "ich.fold"
_NETWORK_FILE, _OUTPUTS_FILE = "network.keras", "outputs.npz"


def train_folds(training: Training, unfinished: Unfinished, stored: StoredSet) -> TrainedModel:
    """Train a network a fold, each in a child run, and log their mean as one model.

    What is finished is kept beside the checkpoints and not trained again. Raises as a training does, and OptionError
    for a family that has no ensembles; before the first network, where a fold lacks what another would be trained on.
    """
    family = family_of(training.hyperparameters)
    if family.name != SLICE_CNN:
        raise OptionError(
            f"folds=all with family {family.name}, expected family={SLICE_CNN}: its networks alone make an ensemble, "
            "which family=exam_sequence can build on (slice_model=)"
        )
    dealt = dealt_into_folds(stored)
    num_folds = int(dealt.table[FOLD].max()) + 1
    scheme = class_scheme(training.hyperparameters.num_classes)
    for number in range(num_folds):
        _expect_trainable(training, dealt.with_fold(number))
    _log_told(training, dealt, num_folds)
    said = np.zeros((len(dealt.table), len(scheme.labels)), np.float32)
    for number in range(num_folds):
        print(f"\nfold {number + 1} of {num_folds}")
        fold = dealt.with_fold(number)
        said[fold.rows(VALIDATION)] = _outputs(training, unfinished, fold, number)
    return log_trained(training, _all(dealt, VALIDATION), _outcome(training, unfinished, dealt, said))


def _outcome(training: Training, unfinished: Unfinished, dealt: StoredSet, said: np.ndarray) -> Outcome:
    """The networks of the folds as one model. said [N, L]: of each row of the set, by the network of its fold."""
    fold_of, patients = dealt.table[FOLD].to_numpy(), dealt.table["patient_id"]
    folders = [_folder(unfinished, number) for number in range(int(fold_of.max()) + 1)]
    sample = dealt.hu_with_context(
        np.array(preview_rows(dealt, num_slices=6)), training.hyperparameters.context
    )
    start = unfinished.notes["start_of_folds"]
    training.run.params(start, prefix="weights")
    came_from = Ancestry.read(folders[0] / ANCESTRY_FILE)
    rows = np.flatnonzero(fold_of >= 0)
    return Outcome(
        networks=[
            network_of(keras.models.load_model(folder / _NETWORK_FILE, compile=False), sample)
            for folder in folders
        ],
        outputs=Outputs(said[rows]),
        start=str(start["start"]),
        ancestry=learned_then(came_from, dealt, by=f"run {training.run.run_id}"),
        unseen=[hashes(patients[fold_of == number].unique()) for number in range(len(folders))],
        train_rows=rows,
    )


def dealt_into_folds(stored: StoredSet) -> StoredSet:
    """The set itself where it has folds, else with its patients outside test dealt into five, the same every time."""
    if int(stored.table[FOLD].max()) >= 0:
        return stored
    where = columns(stored, np.arange(len(stored.table)))
    folds = fold_patients(
        where.patients, stored.subtypes, stored.table["split"].to_numpy(), num_folds=USUAL_FOLDS, seed=0
    )
    print(f"{stored.path} has no folds: its patients outside test are dealt into {USUAL_FOLDS}")
    return replace(stored, table=stored.table.assign(**{FOLD: folds}))


def _expect_trainable(training: Training, fold: StoredSet) -> None:
    """Refuse a fold that training would refuse, before hours go into those before it."""
    options, scheme = training.options, class_scheme(training.hyperparameters.num_classes)
    rows, _ = training_rows(fold, scheme, epidural_only=options.epidural_only)
    beside = rows_beside(fold, scheme, epidural_only=options.epidural_only)
    check_labels(fold, rows, scheme, missing=options.missing_labels, beside=beside)


def _log_told(training: Training, dealt: StoredSet, num_folds: int) -> None:
    """Log on the model's own run what was told to each fold, and all the data."""
    run, options = training.run, training.options
    scheme = class_scheme(training.hyperparameters.num_classes)
    log_told(run, options, training.recipe, training.hyperparameters)
    _, dropped = training_rows(_all(dealt, TRAIN), scheme, epidural_only=options.epidural_only)
    log_data(run, _all(dealt, VALIDATION), options, dropped=dropped)
    run.params({"folds": num_folds}, prefix="data")


def _all(dealt: StoredSet, name: str) -> StoredSet:
    """The set with every patient outside test in that split: each trains some networks, and validates one."""
    split = np.where(dealt.table["split"].to_numpy() == TEST, TEST, name)
    return replace(dealt, table=dealt.table.assign(split=split))


def _folder(unfinished: Unfinished, number: int) -> Path:
    return unfinished.folder / f"fold-{number}"


def _outputs(training: Training, unfinished: Unfinished, fold: StoredSet, number: int) -> np.ndarray:
    """What the fold's network says of the fold's slices, float32 [n, L]: as it was kept, or after training it."""
    folder = _folder(unfinished, number)
    kept = folder / _OUTPUTS_FILE
    if kept.is_file():
        print("trained before")
        with np.load(kept, allow_pickle=False) as file:
            return np.asarray(file["outputs"])
    run = training.run
    before = child_run(run.run_id, run.experiment_id, tag=FOLD_TAG, value=number) if run.resumed else None
    with start_run(
        "fold", name=f"fold {number}", nested=True, tags={FOLD_TAG: number}, resume=before
    ) as child:
        job = Job(
            child,
            training.options,
            training.recipe,
            training.hyperparameters,
            kept_in(folder, child.run_id),
        )
        try:
            fitted = job.fit(fold)
        except TrainingError as error:
            raise TrainingError(f"fold {number}: {error}{job.keep_best()}") from None
        log_history(job, fitted, fold)
        child.metrics(ValidationScore(fold, job.scheme, Outputs)(fitted.outputs.slices))
        fitted.network.keras.save(folder / _NETWORK_FILE)
        unfinished.note(start_of_folds={"start": fitted.start, "said": f"each fold: {fitted.start}"})
        outputs = fitted.outputs.slices
        write_whole(kept, lambda file: np.savez(file, allow_pickle=False, outputs=outputs))
        job.unfinished.state_path.unlink(missing_ok=True)
    keras.backend.clear_session()
    gc.collect()
    return outputs
