"""Train a classifier; log it with its metrics, figures, Keras model and whole serving model."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, TrainingError
from ich_mlflow.evaluation.scores import SliceMetrics
from ich_mlflow.parameters import AUTO, taken_from
from ich_mlflow.serving.packaging import log_models
from ich_mlflow.sources.registry import PHANTOM
from ich_mlflow.stages.common.recipes import chosen_hyperparameters
from ich_mlflow.stages.common.results import log_confusion, log_metrics
from ich_mlflow.stages.common.specification import FromValidation, from_validation
from ich_mlflow.stages.common.stored_sets import data_note, no_stored_set, preview_rows
from ich_mlflow.stages.common.training_job import Fitted, Job, log_history
from ich_mlflow.stages.common.unfinished import begin, to_resume
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.tracking.registry import MODEL_URI_TAG
from ich_mlflow.tracking.run import start_run
from ich_mlflow.training.loop import mean_binary_crossentropy


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """Ids and URIs of what a training run left: run, Keras model, serving model; and its stored set."""

    run_id: str
    keras_uri: str
    serving_uri: str
    stored_path: Path
    num_classes: int


def train(options: TrainOptions, *, nested: bool = False, stored: StoredSet | None = None) -> TrainedModel:
    """Train by the options on `stored`, or on the stored set that the options name.

    With resume=true it goes on with the unfinished training of the same options, in that one's run.
    """
    recipe, hyperparameters = chosen_hyperparameters(options)
    with ExitStack() as locks:
        before = to_resume(options, locks)
        with start_run(
            "train", nested=nested, resume=before.run_id if before else None, system_metrics=True
        ) as run:
            unfinished = before or begin(options, run.run_id, locks)
            try:
                job = Job(run, options, recipe, hyperparameters, unfinished)
                trained = _train(job, stored or open_stored_set(options))
            except BaseException as error:
                if not unfinished.state_path.exists():
                    unfinished.remove()
                elif isinstance(error, KeyboardInterrupt):
                    print(f"stopped; -P resume=true goes on from the last epoch ({unfinished.folder})")
                raise
        unfinished.remove()
        return trained


def _train(job: Job, stored: StoredSet) -> TrainedModel:
    """Train on the stored set, or on the fold of it that the options name, and log the model."""
    if job.options.fold != AUTO:
        stored = stored.with_fold(int(job.options.fold))
        job.run.params({"fold": job.options.fold}, prefix="data")
    try:
        fitted = job.fit(stored)
    except TrainingError as error:
        raise TrainingError(f"{error}{job.keep_best()}") from None
    return _log_model(job, fitted, stored)


def open_stored_set(options: TrainOptions) -> StoredSet:
    """The stored set to train on; where the options name a source, preprocess makes it in a child run."""
    if options.source == AUTO and options.data != AUTO:
        if Path(options.data).is_dir() and (why := no_stored_set(Path(options.data))):
            raise DataError(why)
        return StoredSet.open(Path(options.data))
    source = PHANTOM if options.source == AUTO else options.source
    return preprocess(taken_from(options, PreprocessOptions, source=source), nested=True)


def _log_model(job: Job, fitted: Fitted, stored: StoredSet) -> TrainedModel:
    run, scheme, initial = job.run, job.scheme, fitted.initial
    rows = stored.rows("validation")
    chosen = from_validation(
        stored,
        fitted.probabilities,
        scheme,
        calibration=job.options.calibration,
        rule=job.options.operating_point,
    )
    specification = chosen.specification(
        stored,
        run_id=run.run_id,
        weights=initial.name,
        recipe=job.recipe,
        decides_by=job.options.operating_point,
        context=job.hyperparameters.context,
    )
    results = _log_validation(job, chosen, stored)
    val_loss = mean_binary_crossentropy(scheme.targets(stored.subtypes[rows]), fitted.probabilities)
    log_history(job, fitted, stored)
    run.metrics({"val/loss": val_loss})
    run.dictionary(specification.to_dict(), "serving.json")
    if run.resumed:
        run.forget_models()
    sample = np.array(preview_rows(stored, num_slices=6))
    keras_uri, serving_uri = log_models(
        fitted.model, specification, sample_hu=stored.hu_with_context(sample, specification.context)
    )
    run.tags({MODEL_URI_TAG: serving_uri, "ich.keras_model_uri": keras_uri})
    print(results.table().to_string(index=False))
    print(f"run {run.run_id}: serving model {serving_uri}, Keras model {keras_uri}")
    if initial.name == "random":
        print(
            "note: the backbone started at random, so these figures say that the pipeline works, not how well "
            "haemorrhage can be found; pass -P weights=auto, imagenet, phantom or a path"
        )
    return TrainedModel(
        run_id=run.run_id,
        keras_uri=keras_uri,
        serving_uri=serving_uri,
        stored_path=stored.path,
        num_classes=scheme.num_classes,
    )


def _log_validation(job: Job, chosen: FromValidation, stored: StoredSet) -> SliceMetrics:
    """Log what the validation split scored; return the slices' metrics. They flatter: it chose the thresholds."""
    run = job.run
    results = log_metrics(run, chosen.slice_predictions, prefix="val")
    log_metrics(run, chosen.exam_predictions, prefix="val/exam")
    note = f"validation split, {data_note(stored)}"
    log_confusion(run, chosen.slice_predictions, prefix="val", note=note)
    run.params(
        {
            "aggregation": chosen.aggregation,
            "operating_point": job.options.operating_point,
            **{f"calibration.{one.label}": one.method for one in chosen.slices.calibrations},
        },
        prefix="chosen",
    )
    return results
