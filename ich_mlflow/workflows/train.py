"""Train a classifier; log it with its metrics, figures, Keras model and whole serving model."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.pipeline import SliceBatches
from ich_mlflow.dataset.sampling import seen
from ich_mlflow.dataset.store import StoredSet, is_stored_set
from ich_mlflow.errors import DataError, ModelError, OptionError, TrainingError
from ich_mlflow.evaluation.metrics import SliceMetrics, evaluate_slices
from ich_mlflow.figures.curves import training_curves
from ich_mlflow.labels import ClassScheme, class_scheme
from ich_mlflow.model.backbones import build_backbone
from ich_mlflow.model.classifier import (
    build_classifier,
    set_batch_norm_momentum,
    synchronize_batch_norms,
)
from ich_mlflow.model.loss import make_loss, prior_logits
from ich_mlflow.options import AUTO, TrainOptions, is_true, preprocess_options
from ich_mlflow.provenance import git_commit, versions
from ich_mlflow.quiet import native_stderr_muted
from ich_mlflow.serving.package import log_models
from ich_mlflow.tracking.registry import MODEL_URI_TAG
from ich_mlflow.tracking.run import Run, start_run
from ich_mlflow.training.compute import (
    Distribution,
    computing_in,
    demand_equal_bits,
    device_names,
    peak_memory_gib,
)
from ich_mlflow.training.fit import FitResult, fit, mean_binary_crossentropy
from ich_mlflow.training.hyperparameters import HYPERPARAMETER_NAMES, Hyperparameters, resolve
from ich_mlflow.training.progress import predict
from ich_mlflow.training.weights import Start, start_backbone
from ich_mlflow.workflows.preprocess import data_note, describe, preprocess, preview_rows
from ich_mlflow.workflows.results import halves, log_confusion, log_metrics
from ich_mlflow.workflows.specify import FromValidation, from_validation
from ich_mlflow.workflows.training_data import (
    check_labels,
    log_augmented,
    log_data,
    training_batches,
    training_rows,
    validation_batches,
)
from ich_mlflow.workflows.unfinished import Unfinished, begin, to_resume

BEST_FILE = "best.keras"


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
                job = _Job(run, options, recipe, hyperparameters, unfinished)
                trained = job.train(stored or open_stored_set(options))
            except BaseException as error:
                if not unfinished.state_path.exists():
                    unfinished.remove()
                elif isinstance(error, KeyboardInterrupt):
                    print(f"stopped; -P resume=true goes on from the last epoch ({unfinished.folder})")
                raise
        unfinished.remove()
        return trained


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


class _Job:
    """One training: what it was told, and its run."""

    def __init__(
        self,
        run: Run,
        options: TrainOptions,
        recipe: str,
        hyperparameters: Hyperparameters,
        unfinished: Unfinished,
    ) -> None:
        self.run, self.options, self.recipe = run, options, recipe
        self.hyperparameters, self.unfinished = hyperparameters, unfinished
        self.scheme: ClassScheme = class_scheme(hyperparameters.num_classes)

    def train(self, stored: StoredSet) -> TrainedModel:
        """Train on the stored set, or on the fold of it that the options name."""
        run, options, scheme = self.run, self.options, self.scheme
        if is_true(options.deterministic):
            demand_equal_bits()
        self._log_told()
        if options.fold != AUTO:
            stored = stored.with_fold(int(options.fold))
            run.params({"fold": options.fold}, prefix="data")
        print(
            f"training on {stored.path} ({describe(stored)}), recipe {self.recipe}, labels "
            f"{', '.join(scheme.labels)}"
        )
        rows, dropped = training_rows(stored, scheme, epidural_only=options.epidural_only)
        check_labels(stored, rows, scheme, missing=options.missing_labels)
        self._expect_same_data(stored)
        log_data(run, stored, options, dropped=dropped)
        log_augmented(run, stored, self.hyperparameters, seed=options.seed)
        keras.utils.set_random_seed(options.seed)
        with native_stderr_muted():  # the first look for a GPU is loud where there is none
            distribution = Distribution()
            self._log_machine(distribution)
        batches = training_batches(
            stored,
            rows,
            scheme,
            self.hyperparameters,
            seed=options.seed,
            replicas=distribution.num_replicas,
        )
        validation = validation_batches(stored, scheme, self.hyperparameters)
        with distribution.scope(), computing_in(options.precision):
            start = self._start()
            model = self._build(start.backbone, batches)
            if distribution.num_replicas > 1:
                synchronize_batch_norms(model)
            result = self._fit(model, batches, validation, stored.table["patient_id"].to_numpy()[rows])
        run.metrics({f"machine/{name}": value for name, value in peak_memory_gib().items()})
        probabilities = result.val_probabilities
        if options.precision != "float32" or distribution.num_replicas > 1:
            model = self._as_served(model)
            probabilities = predict(model, validation, said="validation in float32")
        return self._log_model(model, result, probabilities, stored, start)

    def _log_told(self) -> None:
        options = self.options
        self.run.params(
            {**asdict(self.hyperparameters), "recipe": self.recipe, "seed": options.seed}, prefix="hp"
        )
        self.run.params(versions(), prefix="version")
        self.run.params(
            {
                name: getattr(options, name)
                for name in ("precision", "jit", "deterministic", "missing_labels")
            },
            prefix="train",
        )
        self.run.tags({"ich.git_commit": git_commit()})

    def _log_machine(self, distribution: Distribution) -> None:
        self.run.params(
            {
                "devices": device_names(),
                "replicas": distribution.num_replicas,
                "keras_backend": keras.backend.backend(),
            },
            prefix="machine",
        )
        if self.run.resumed:
            self.run.tags({"ich.resumed_on": device_names()})

    def _expect_same_data(self, stored: StoredSet) -> None:
        """What goes on must go on with the data it began with."""
        began_with = self.unfinished.notes.get("digest", stored.digest)
        if began_with != stored.digest:
            raise DataError(
                f"{stored.path} has changed since run {self.run.run_id} began with it (digest {began_with[:12]}, now "
                f"{stored.digest[:12]}): leave out -P resume=true to begin anew"
            )
        self.unfinished.note(digest=stored.digest)

    def _start(self) -> Start:
        """The backbone with its start weights; where a checkpoint brings weights, nothing is fetched."""
        goes_on = self.unfinished.state_path.exists()
        start = start_backbone(
            "random" if goes_on else self.options.weights,
            name=self.hyperparameters.backbone,
            image_size=self.hyperparameters.image_size,
            num_slices=1 + 2 * self.hyperparameters.context,
        )
        if goes_on:
            noted = self.unfinished.notes["start"]
            start = Start(backbone=start.backbone, name=noted["name"], said=noted["said"])
        print(start.said)
        began_with = self.unfinished.notes.get("start", {}).get("name", start.name)
        if began_with != start.name:
            raise ModelError(
                f"run {self.run.run_id} began with weights {began_with}, now it would be: {start.said}; expected the "
                "same start: leave out -P resume=true to begin anew"
            )
        self.unfinished.note(start={"name": start.name, "said": start.said})
        self.run.params({"start": start.name, "said": start.said[:500]}, prefix="weights")
        return start

    def _build(self, backbone: keras.Model, batches: SliceBatches | None = None) -> keras.Model:
        hyperparameters = self.hyperparameters
        set_batch_norm_momentum(backbone, hyperparameters.batch_norm_momentum)
        model = build_classifier(
            num_labels=len(self.scheme.labels),
            image_size=hyperparameters.image_size,
            windows=hyperparameters.parsed_windows,
            context=hyperparameters.context,
            dense_units=hyperparameters.dense_units,
            dropout=hyperparameters.dropout,
            backbone=backbone,
        )
        if hyperparameters.prior_bias and batches is not None:
            model.get_layer("probabilities").bias.assign(prior_logits(batches.targets[batches.order]))
        return model

    def _as_served(self, model: keras.Model) -> keras.Model:
        """The same weights in a float32 graph on one device, which is what is evaluated and served."""
        hyperparameters = self.hyperparameters
        backbone = build_backbone(
            name=hyperparameters.backbone,
            image_size=hyperparameters.image_size,
            num_slices=1 + 2 * hyperparameters.context,
        )
        served = self._build(backbone)
        served.set_weights(model.get_weights())
        return served

    def _fit(
        self, model: keras.Model, batches: SliceBatches, validation: SliceBatches, patients: np.ndarray
    ) -> FitResult:
        run, scheme, hyperparameters = self.run, self.scheme, self.hyperparameters
        logged = run.steps("epoch/loss") if run.resumed else set()

        def score(probabilities: np.ndarray) -> dict[str, float]:
            scored = evaluate_slices(validation.targets, probabilities, halves(scheme.labels), scheme.labels)
            figures = scored.as_metrics("val")
            return {
                name: value
                for name, value in figures.items()
                if name.startswith(("val/auc/", "val/f1/")) and not name.endswith("/micro")
            }

        def on_epoch(epoch: int, figures: dict[str, float]) -> None:
            if epoch in logged:
                return
            assert batches.order_of is not None
            shown = seen(batches.targets, batches.order_of(epoch), patients, scheme.labels)
            figures = {**figures, **{f"seen/{name}": value for name, value in shown.items()}}
            run.metrics({f"epoch/{name}": value for name, value in figures.items()}, step=epoch)

        loss = make_loss(
            hyperparameters.loss,
            labels=scheme.labels,
            targets=batches.targets[batches.order],
            label_smoothing=hyperparameters.label_smoothing,
        )
        try:
            return fit(
                model,
                train=batches,
                validation=validation,
                hyperparameters=hyperparameters,
                score=score,
                on_epoch=on_epoch,
                loss=loss,
                jit=is_true(self.options.jit),
                checkpoint=self.unfinished.state_path,
            )
        except TrainingError as error:
            if not self.unfinished.state_path.exists():
                raise
            raise TrainingError(f"{error}. {self._keep_best(model)}") from None

    def _keep_best(self, model: keras.Model) -> str:
        """Save the best weights of a training that failed, beside its checkpoint and on its run; say where."""
        path = self.unfinished.folder / BEST_FILE
        self._as_served(model).save(path)
        self.run.file(path, folder="checkpoint")
        return f"The best epoch's weights are kept: -P weights={path}"

    def _log_model(
        self,
        model: keras.Model,
        result: FitResult,
        probabilities: np.ndarray,
        stored: StoredSet,
        start: Start,
    ) -> TrainedModel:
        run, scheme = self.run, self.scheme
        rows = stored.rows("validation")
        chosen = from_validation(
            stored,
            probabilities,
            scheme,
            calibration=self.options.calibration,
            rule=self.options.operating_point,
        )
        specification = chosen.specification(
            stored,
            run_id=run.run_id,
            weights=start.name,
            recipe=self.recipe,
            decides_by=self.options.operating_point,
            context=self.hyperparameters.context,
        )
        results = self._log_validation(chosen, stored)
        self._log_history(
            result,
            stored,
            val_loss=mean_binary_crossentropy(scheme.targets(stored.subtypes[rows]), probabilities),
        )
        run.dictionary(specification.to_dict(), "serving.json")
        if run.resumed:
            run.forget_models()
        sample = np.array(preview_rows(stored, num_slices=6))
        keras_uri, serving_uri = log_models(
            model, specification, sample_hu=stored.hu_with_context(sample, specification.context)
        )
        run.tags({MODEL_URI_TAG: serving_uri, "ich.keras_model_uri": keras_uri})
        print(results.table().to_string(index=False))
        print(f"run {run.run_id}: serving model {serving_uri}, Keras model {keras_uri}")
        if start.name == "random":
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

    def _log_validation(self, chosen: FromValidation, stored: StoredSet) -> SliceMetrics:
        """Log what the validation split scored; return the slices' metrics. They flatter: it chose the thresholds."""
        run = self.run
        results = log_metrics(run, chosen.slice_predictions, prefix="val")
        log_metrics(run, chosen.exam_predictions, prefix="val/exam")
        note = f"validation split, {data_note(stored)}"
        log_confusion(run, chosen.slice_predictions, prefix="val", note=note)
        run.params(
            {
                "aggregation": chosen.aggregation,
                "operating_point": self.options.operating_point,
                **{f"calibration.{one.label}": one.method for one in chosen.slices.calibrations},
            },
            prefix="chosen",
        )
        return results

    def _log_history(self, result: FitResult, stored: StoredSet, *, val_loss: float) -> None:
        history = result.history.assign(epoch=result.history["epoch"] + 1)
        best = result.best_epoch + 1
        self.run.table(history, "history.json")
        self.run.figure(
            training_curves(history, best_epoch=best, note=data_note(stored)), "figures/training_curves.png"
        )
        self.run.metrics(
            {
                "val/loss": val_loss,
                "best_epoch": best,
                "machine/slices_per_second": result.history["slices_per_second"][
                    self.hyperparameters.warmup_epochs :
                ].median(),
            }
        )
