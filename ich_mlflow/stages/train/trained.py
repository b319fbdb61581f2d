"""What is made of trained networks: the choice of everything on validation, metrics, figures and the logged model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ich_mlflow.commands import next_command
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.logged import of_validation
from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.evaluation.scores import SliceMetrics
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.family import Network
from ich_mlflow.models.registry import family_of
from ich_mlflow.models.task import Outputs
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import log_models
from ich_mlflow.stages.common.names import registered_name
from ich_mlflow.stages.common.options import ALL
from ich_mlflow.stages.common.reference import reference_of
from ich_mlflow.stages.common.results import log_confusion, log_metrics
from ich_mlflow.stages.common.specification import FromValidation, from_validation
from ich_mlflow.stages.common.stored_sets import OF_SLICES, data_note, describe, label_level, split_dataset
from ich_mlflow.stages.train.blood_threshold import chosen_blood_threshold
from ich_mlflow.stages.train.feature_distances import validation_distances, with_gaussians
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.sets_beside import log_beside
from ich_mlflow.tracking.registry import KERAS_URI_TAG, MODEL_URI_TAG, logged_model_id
from ich_mlflow.tracking.run import Run

#: What of the table the terminal shows; the run has all.
_SHOWN = ("auc", "f1", "sensitivity", "specificity")


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """Ids and URIs of what a training run left: run, Keras model, serving model; and its stored set.

    keras_uri: '' of an ensemble, whose folds' runs have the Keras models.
    """

    run_id: str
    keras_uri: str
    serving_uri: str
    stored_path: Path
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training was told: its run, options, the recipe's name and the hyperparameters."""

    run: Run
    options: TrainOptions
    recipe: str
    hyperparameters: Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training ended with.

    networks     to be packed: one, or the members of an ensemble
    outputs      of the slices of the validation split, as the model serves them but for smoothing
    start        name of what it began from; ancestry: all that it has learned from
    unseen       of an ensemble, hashes of the patients that each member has not learned from
    train_rows   of which the null models are; None: the training split
    slice_model  what the version of the slices chose, of a family that builds on one
    """

    networks: Sequence[Network]
    outputs: Outputs
    start: str
    ancestry: Ancestry
    unseen: Sequence[np.ndarray] = ()
    train_rows: np.ndarray | None = None
    slice_model: Specification | None = None


def log_trained(training: Training, stored: StoredSet, outcome: Outcome) -> TrainedModel:
    """Choose on the validation split of `stored`, log what it scored there, and log the model."""
    run, options, outputs = training.run, training.options, outcome.outputs
    scheme = class_scheme(training.hyperparameters.num_classes)
    context = getattr(outcome.slice_model or training.hyperparameters, "context", 0)
    networks: Sequence[Network] = outcome.networks
    if options.abstention:
        networks = with_gaussians(networks, stored, context=context)
    chosen = from_validation(
        stored,
        outputs.slices,
        scheme,
        calibration=options.calibration,
        rule=options.operating_point,
        series_smoothing=options.series_smoothing,
        mirror=options.mirror,
        of_series=outputs.of_series,
        slice_model=outcome.slice_model,
        train_rows=outcome.train_rows,
        alpha=options.abstention,
        distances=validation_distances(networks, stored, context=context),
    )
    blood = chosen_blood_threshold(networks, stored, context=context, mirror=options.mirror)
    specification = chosen.specification(
        stored,
        run_id=run.run_id,
        weights=outcome.start,
        recipe=training.recipe,
        decides_by=options.operating_point,
        family=family_of(training.hyperparameters).name,
        context=context,
        members=len(networks),
    )
    if blood is not None:
        specification = replace(specification, blood_threshold=blood.threshold, blood_patients=blood.patients)
        run.params({"blood_threshold": blood.threshold, "blood_patients": blood.patients}, prefix="chosen")
    run.dictionary(specification.to_dict(), "serving.json")
    if run.resumed:
        run.forget_models()
    keras_uri, serving_uri = log_models(
        networks,
        specification,
        outcome.ancestry,
        name=registered_name(scheme.num_classes, stored.manifest["source"]),
        unseen=outcome.unseen,
        reference=reference_of(
            stored,
            chosen.study_uids,
            chosen.exam_predictions,
            rule=options.operating_point,
            abstention=chosen.abstention,
            distances=chosen.distances,
        ),
    )
    run.tags({MODEL_URI_TAG: serving_uri, KERAS_URI_TAG: keras_uri})
    # After the models: MLflow asks the server for the history of each figure that the run has by then, for each model.
    results = _log_validation(training, chosen, stored)
    if label_level(stored) == OF_SLICES:
        targets = scheme.targets(stored.subtypes[stored.rows("validation")])
        run.metrics({"val/loss": recalibrated_loss(targets, outputs.slices, scheme.labels)})
    _log_on_model(run, stored, serving_uri, chosen)
    run.describe(*_description(training, stored, chosen, serving_uri))
    print(_shown(results, EXAMS if chosen.slice_predictions is None else SLICES))
    log_beside(run, stored, scheme, serving_uri, results)
    keras_said = f", Keras model {keras_uri}" if keras_uri else ""
    print(f"run {run.run_id}: serving model {serving_uri}{keras_said}")
    if outcome.start == "random":
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


def _shown(results: SliceMetrics, unit: str) -> str:
    columns = ["label", f"positive_{unit}", "positive_patients", *_SHOWN]
    table = results.table(unit=unit)[columns]
    return str(table.to_string(index=False, float_format="{:.2f}".format, na_rep="-"))


def _description(
    training: Training, stored: StoredSet, chosen: FromValidation, serving_uri: str
) -> tuple[str, ...]:
    """What was told, what validation said, where the model is, and the command that comes next."""
    slices = None if chosen.slice_predictions is None else chosen.slice_predictions.metrics()
    figures = of_validation(slices, chosen.exam_predictions.metrics())
    said = ", ".join(f"{name.removesuffix('_val')} {value:.2f}" for name, value in figures.items())
    served = f"runs:/{training.run.run_id}/serving"
    return (
        f"**Told**: {' · '.join(told_apart(training, stored))}; {stored.path} ({describe(stored)})",
        f"**Validation, which chose its thresholds**: {said or 'nothing is estimable'}",
        f"**Model**: `{serving_uri}`",
        f"**Next**: `{next_command('evaluate', model=served)}`",
    )


def told_apart(training: Training, stored: StoredSet) -> tuple[str, ...]:
    """What tells a training from others in a list of runs: recipe, classes, data, and what the network is."""
    hyperparameters = training.hyperparameters
    backbone = getattr(hyperparameters, "backbone", family_of(hyperparameters).name)
    told = (
        training.recipe,
        f"{hyperparameters.num_classes} classes",
        str(stored.manifest.get("source", "")),
        f"{backbone.removeprefix('efficientnet-')} {getattr(hyperparameters, 'image_size', '')}".strip(),
        "all folds" if training.options.folds == ALL else "",
    )
    return tuple(part for part in told if part)


def _log_on_model(run: Run, stored: StoredSet, serving_uri: str, chosen: FromValidation) -> None:
    """Log what decides as figures of the served model, by the data set: MLflow's page of models compares them."""
    slices = None if chosen.slice_predictions is None else chosen.slice_predictions.metrics()
    run.metrics(
        of_validation(slices, chosen.exam_predictions.metrics()),
        model_id=logged_model_id(serving_uri),
        dataset=split_dataset(stored, VALIDATION),
    )


def _log_validation(training: Training, chosen: FromValidation, stored: StoredSet) -> SliceMetrics:
    """Log what the validation split scored; return the slices' metrics, or the exams' where only they are labelled.

    They flatter: it chose the thresholds.
    """
    run = training.run
    results = log_metrics(run, chosen.exam_predictions, prefix="val/exam")
    if chosen.slice_predictions is not None:
        results = log_metrics(run, chosen.slice_predictions, prefix="val")
        note = f"validation split, {data_note(stored)}"
        log_confusion(run, chosen.slice_predictions, prefix="val", note=note)
    run.params(
        {
            "aggregation": chosen.aggregation,
            "series_smoothing": chosen.series_smoothing,
            "operating_point": training.options.operating_point,
            **_abstention_said(chosen),
            **{f"calibration.{one.label}": one.method for one in chosen.slices.calibrations},
        },
        prefix="chosen",
    )
    return results


def _abstention_said(chosen: FromValidation) -> dict[str, Any]:
    """From which score on an exam is no longer clear, and from which distance on it is unlike."""
    if chosen.abstention is None:
        return {}
    limits = {"clear_below": chosen.abstention.clear_below, "far_from": chosen.abstention.far_from}
    return {name: limit for name, limit in limits.items() if limit is not None}
