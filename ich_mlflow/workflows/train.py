"""Train a classifier; log it with its metrics, figures, Keras model and whole serving model."""

from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.pipeline import SliceBatches, class_balanced_order, natural_order
from ich_mlflow.dataset.split import assert_disjoint
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.evaluation.metrics import evaluate_slices
from ich_mlflow.evaluation.operating_point import choose_operating_points
from ich_mlflow.figures.contact_sheet import contact_sheet
from ich_mlflow.figures.curves import training_curves
from ich_mlflow.labels import ClassScheme, class_scheme
from ich_mlflow.model.classifier import build_classifier, set_batch_norm_momentum
from ich_mlflow.model.loss import make_loss, prior_logits
from ich_mlflow.options import AUTO, TrainOptions, is_true, preprocess_options
from ich_mlflow.quiet import native_stderr_muted
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.package import log_models
from ich_mlflow.tracking.registry import MODEL_URI_TAG
from ich_mlflow.tracking.run import Run, start_run
from ich_mlflow.training.augment import augment_slices
from ich_mlflow.training.fit import FitResult, fit
from ich_mlflow.training.hyperparameters import HYPERPARAMETER_NAMES, Hyperparameters, resolve
from ich_mlflow.training.weights import Start, start_backbone
from ich_mlflow.workflows.preprocess import data_note, describe, preprocess, preview_rows
from ich_mlflow.workflows.results import log_results


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """Ids and URIs of what a training run left: run, Keras model, serving model; and its stored set."""

    run_id: str
    keras_uri: str
    serving_uri: str
    stored_path: Path
    num_classes: int


def train(options: TrainOptions, *, nested: bool = False, stored: StoredSet | None = None) -> TrainedModel:
    """Train by the options on `stored`, or on the stored set that the options name."""
    recipe, hyperparameters = chosen_hyperparameters(options)
    scheme = class_scheme(hyperparameters.num_classes)
    with start_run("train", nested=nested) as run:
        run.params({**asdict(hyperparameters), "recipe": recipe, "seed": options.seed}, prefix="hp")
        stored = stored or open_stored_set(options)
        if options.fold != AUTO:
            stored = stored.with_fold(int(options.fold))
            run.params({"fold": options.fold}, prefix="data")
        print(
            f"training on {stored.path} ({describe(stored)}), recipe {recipe}, labels {', '.join(scheme.labels)}"
        )
        with native_stderr_muted():  # the first look for a GPU is loud where there is none
            devices = keras.distribution.list_devices()
        run.params(
            {"devices": ", ".join(devices), "keras_backend": keras.backend.backend()}, prefix="machine"
        )
        keras.utils.set_random_seed(options.seed)
        rows, dropped = training_rows(stored, scheme, epidural_only=options.epidural_only)
        start = start_backbone(options.weights, image_size=hyperparameters.image_size)
        print(start.said)
        _log_data(run, stored, options=options, start=start, dropped=dropped)
        set_batch_norm_momentum(start.backbone, hyperparameters.batch_norm_momentum)
        model = build_classifier(
            num_labels=len(scheme.labels),
            image_size=hyperparameters.image_size,
            windows=hyperparameters.parsed_windows,
            dense_units=hyperparameters.dense_units,
            dropout=hyperparameters.dropout,
            backbone=start.backbone,
        )
        batches = _training_batches(stored, rows, scheme, hyperparameters, seed=options.seed)
        if hyperparameters.prior_bias:
            model.get_layer("probabilities").bias.assign(prior_logits(batches.targets[batches.order]))
        _log_augmented(run, stored, hyperparameters, seed=options.seed)
        result = _fit(run, model, stored, scheme, batches, hyperparameters)
        return _log_model(run, model, result, stored, scheme, start=start, recipe=recipe)


def chosen_hyperparameters(options: TrainOptions) -> tuple[str, Hyperparameters]:
    """The recipe's name and its hyperparameters under what was said. Raises OptionError for a contradiction."""
    recipe = _recipe(options)
    return recipe, resolve(recipe, _overrides(options))


def _recipe(options: TrainOptions) -> str:
    if options.recipe != AUTO:
        return options.recipe
    own_data = options.data != AUTO or options.source not in (AUTO, "phantom")
    return "reference" if own_data else "demo"


def _overrides(options: TrainOptions) -> dict[str, Any]:
    """The hyperparameters that were said, converted to their types."""
    types = {field.name: field.type for field in fields(Hyperparameters)}
    said = {name: getattr(options, name) for name in HYPERPARAMETER_NAMES if hasattr(options, name)}
    return {name: _convert(name, text, types[name]) for name, text in said.items() if text != AUTO}


def _convert(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"{name} is {text!r}, expected true, false or auto: pass -P {name}=…")
        return is_true(text)
    try:
        return kind(text)
    except ValueError:
        article = "a whole number" if kind is int else "a number"
        raise OptionError(f"{name} is {text!r}, expected {article} or auto: pass -P {name}=…") from None


def open_stored_set(options: TrainOptions) -> StoredSet:
    """The stored set to train on; where the options name a source, preprocess makes it in a child run."""
    if options.source == AUTO and options.data != AUTO:
        if Path(options.data).is_dir() and not is_stored_set(Path(options.data)):
            raise DataError(
                f"{options.data} is no stored set: make one with mlflow run . -e preprocess, or say what the "
                "folder holds with -P source=rsna or -P source=ctich"
            )
        return StoredSet.open(Path(options.data))
    source = "phantom" if options.source == AUTO else options.source
    return preprocess(preprocess_options(options, source=source), nested=True)


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


def _training_batches(
    stored: StoredSet, rows: np.ndarray, scheme: ClassScheme, hyperparameters: Hyperparameters, *, seed: int
) -> SliceBatches:
    targets = scheme.targets(stored.subtypes[rows])

    def order(epoch: int) -> np.ndarray:
        if hyperparameters.sampling == "class_balanced":
            return class_balanced_order(targets, seed=seed, epoch=epoch)
        return natural_order(len(rows), seed=seed, epoch=epoch)

    return SliceBatches(
        stored,
        rows,
        targets,
        batch_size=hyperparameters.batch_size,
        seed=seed,
        order=order,
        augment=partial(augment_slices, hyperparameters=hyperparameters),
    )


def _fit(
    run: Run,
    model: keras.Model,
    stored: StoredSet,
    scheme: ClassScheme,
    batches: SliceBatches,
    hyperparameters: Hyperparameters,
) -> FitResult:
    rows = stored.rows("validation")
    val_targets = scheme.targets(stored.subtypes[rows])
    halves = np.full(len(scheme.labels), 0.5)

    def score(probabilities: np.ndarray) -> dict[str, float]:
        figures = evaluate_slices(val_targets, probabilities, halves, scheme.labels).as_metrics("val")
        return {name: value for name, value in figures.items() if name.startswith(("val/auc/", "val/f1/"))}

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        run.metrics({f"epoch/{name}": value for name, value in figures.items()}, step=epoch)

    return fit(
        model,
        train=batches,
        validation=SliceBatches(stored, rows, val_targets, batch_size=hyperparameters.batch_size),
        val_targets=val_targets,
        hyperparameters=hyperparameters,
        score=score,
        on_epoch=on_epoch,
        loss=make_loss(
            hyperparameters.loss,
            labels=scheme.labels,
            targets=batches.targets,
            label_smoothing=hyperparameters.label_smoothing,
        ),
    )


def _log_data(run: Run, stored: StoredSet, *, options: TrainOptions, start: Start, dropped: int) -> None:
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
    run.params({"start": start.name, "said": start.said[:500]}, prefix="weights")
    if dropped:
        print(f"left out of training: {dropped} slices whose only bleed is epidural (epidural_only=drop)")
    for split in ("train", "validation"):
        table = stored.table.iloc[stored.rows(split)]
        run.dataset(
            table,
            source=stored.path,
            name=stored.manifest["source"],
            digest=stored.digest,
            context={"train": "training"}.get(split, split),
        )


def _log_augmented(run: Run, stored: StoredSet, hyperparameters: Hyperparameters, *, seed: int) -> None:
    rows = preview_rows(stored, num_slices=8)[:8]
    seeds = np.array([(seed, epoch, row) for epoch in range(3) for row in rows])
    hu = stored.hu(np.array(rows * 3))
    augmented = augment_slices(hu, seeds, hyperparameters).astype(np.int16)
    run.figure(
        contact_sheet(
            augmented, [f"row {row}" for row in rows * 3], title="Augmented slices", note=data_note(stored)
        ),
        "figures/augmented.png",
    )


def _log_model(
    run: Run,
    model: keras.Model,
    result: FitResult,
    stored: StoredSet,
    scheme: ClassScheme,
    *,
    start: Start,
    recipe: str,
) -> TrainedModel:
    rows = stored.rows("validation")
    targets = scheme.targets(stored.subtypes[rows])
    points = choose_operating_points(targets, result.val_probabilities, scheme.labels)
    specification = Specification(
        labels=scheme.labels,
        operating_points=[point.to_dict() for point in points],
        run_id=run.run_id,
        trained_on=describe(stored),
        data_digest=stored.digest,
        weights=start.name,
        recipe=recipe,
    )
    results = log_results(
        run,
        prefix="val",
        stored=stored,
        rows=rows,
        scheme=scheme,
        probabilities=result.val_probabilities,
        thresholds=specification.thresholds,
    )
    history = result.history.assign(epoch=result.history["epoch"] + 1)
    best = result.best_epoch + 1
    run.table(history, "history.json")
    run.figure(
        training_curves(history, best_epoch=best, note=data_note(stored)), "figures/training_curves.png"
    )
    val_loss = result.history["val_loss"].iloc[result.best_epoch]
    run.metrics({"val/loss": val_loss, "best_epoch": best})
    run.dictionary({"operating_points": specification.operating_points}, "operating_points.json")
    sample = stored.hu(np.array(preview_rows(stored, num_slices=6)))
    keras_uri, serving_uri = log_models(model, specification, sample_hu=sample)
    run.tags({MODEL_URI_TAG: serving_uri, "ich.keras_model_uri": keras_uri})
    print(results.table().to_string(index=False))
    print(f"run {run.run_id}: serving model {serving_uri}, Keras model {keras_uri}")
    if start.name == "random":
        print(
            "note: the backbone started at random, so these figures say that the pipeline works, not how well "
            "haemorrhage can be found; pass -P weights=<path> or let Keras reach ImageNet"
        )
    return TrainedModel(
        run_id=run.run_id,
        keras_uri=keras_uri,
        serving_uri=serving_uri,
        stored_path=stored.path,
        num_classes=scheme.num_classes,
    )
