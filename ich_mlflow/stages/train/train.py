"""Train a classifier; log it with its metrics, figures, Keras model and whole serving model."""

from contextlib import ExitStack
from pathlib import Path

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.mixture import open_sets
from ich_mlflow.dataset.set_paths import paths_of
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, TrainingError
from ich_mlflow.models.registry import family_of
from ich_mlflow.parameters import AUTO, taken_from
from ich_mlflow.sources.registry import PHANTOM
from ich_mlflow.stages.common.initial_weights import models_pinned
from ich_mlflow.stages.common.options import ALL
from ich_mlflow.stages.common.recipes import chosen_hyperparameters
from ich_mlflow.stages.common.stored_sets import no_stored_set
from ich_mlflow.stages.common.training_job import Job, log_history
from ich_mlflow.stages.common.unfinished import Unfinished, begin, to_resume
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from ich_mlflow.stages.train.folds import train_folds
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.trained import Outcome, TrainedModel, Training, log_trained, told_apart
from ich_mlflow.tracking.run import start_run


def train(options: TrainOptions, *, nested: bool = False, stored: StoredSet | None = None) -> TrainedModel:
    """Train by the options on `stored`, or on the stored set that the options name.

    With resume=true it goes on with the unfinished training of the same options, in that one's run.
    """
    recipe, hyperparameters = chosen_hyperparameters(options)
    options = models_pinned(options, family_of(hyperparameters))
    train_one = train_folds if options.folds == ALL else _train
    with ExitStack() as locks:
        before = to_resume(options, locks)
        with start_run(
            "train", nested=nested, resume=before.run_id if before else None, system_metrics=True
        ) as run:
            unfinished = before or begin(options, run.run_id, locks)
            training = Training(run=run, options=options, recipe=recipe, hyperparameters=hyperparameters)
            try:
                stored = stored or open_stored_set(options)
                run.call(*told_apart(training, stored))
                trained = train_one(training, unfinished, stored)
            except BaseException as error:
                if not unfinished.is_worth_keeping:
                    unfinished.remove()
                elif isinstance(error, KeyboardInterrupt):
                    print(f"stopped; -P resume=true goes on from the last epoch ({unfinished.folder})")
                raise
        unfinished.remove()
        if not nested:
            model = f"runs:/{trained.run_id}/serving"
            print(f"Evaluate it:          {next_command('evaluate', model=model, data=trained.stored_path)}")
        return trained


def _train(training: Training, unfinished: Unfinished, stored: StoredSet) -> TrainedModel:
    """Train on the stored set, or on the fold of it that the options name, and log the model."""
    options = training.options
    if options.fold != AUTO:
        stored = stored.with_fold(int(options.fold))
        training.run.params({"fold": options.fold}, prefix="data")
    job = Job(training.run, options, training.recipe, training.hyperparameters, unfinished)
    try:
        fitted = job.fit(stored)
    except TrainingError as error:
        raise TrainingError(f"{error}{job.keep_best()}") from None
    log_history(job, fitted, stored)
    outcome = Outcome(
        networks=[fitted.network],
        outputs=fitted.outputs,
        start=fitted.start,
        ancestry=fitted.ancestry,
        slice_model=fitted.slice_model,
    )
    return log_trained(training, stored, outcome)


def open_stored_set(options: TrainOptions) -> StoredSet:
    """The stored set to train on; where the options name a source, preprocess makes it in a child run."""
    if options.source == AUTO and options.data != AUTO:
        for path in map(Path, paths_of(options.data)):
            if path.is_dir() and (why := no_stored_set(path)):
                raise DataError(why)
        return open_sets(options.data, options.parsed_shares)
    source = PHANTOM if options.source == AUTO else options.source
    made = taken_from(options, PreprocessOptions, source=source, folds=options.num_folds)
    return preprocess(made, nested=True)
