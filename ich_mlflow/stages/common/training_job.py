"""What every training does, in its own run or as a trial of a search: data, initial weights, network, fit."""

from dataclasses import asdict, dataclass

import keras
import numpy as np

from ich_mlflow.dataset.batches import SliceBatches
from ich_mlflow.dataset.sampling import seen
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.operating_point import default_thresholds
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.figures.curves import training_curves
from ich_mlflow.labels import ClassScheme, class_scheme
from ich_mlflow.models.losses import make_loss, prior_logits
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import (
    build_classifier,
    set_batch_norm_momentum,
    synchronize_batch_norms,
)
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.parameters import typed
from ich_mlflow.stages.common.stored_sets import data_note, describe
from ich_mlflow.stages.common.training_data import (
    check_labels,
    log_augmented,
    log_data,
    training_batches,
    training_rows,
    validation_batches,
)
from ich_mlflow.stages.common.unfinished import Unfinished
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.system.provenance import git_commit, versions
from ich_mlflow.system.quiet import native_stderr_muted
from ich_mlflow.tracking.run import Run
from ich_mlflow.training.compute import (
    Distribution,
    computing_in,
    demand_equal_bits,
    device_names,
    peak_memory_gib,
)
from ich_mlflow.training.initial_weights import InitialWeights, initial_backbone
from ich_mlflow.training.loop import FitResult, OnEpoch, fit
from ich_mlflow.training.progress import predict

BEST_FILE = "best.keras"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training job leaves: the model as it is served, its initial weights, the fit, and its validation figures.

    probabilities: float32 [N, L] of the validation slices, by the model as it is served.
    """

    model: keras.Model
    initial: InitialWeights
    result: FitResult
    probabilities: np.ndarray


class Job:
    """One training: what it was told, and its run. watch: called after each epoch with its figures."""

    def __init__(
        self,
        run: Run,
        options: TrainOptions,
        recipe: str,
        hyperparameters: Hyperparameters,
        unfinished: Unfinished,
        *,
        watch: OnEpoch | None = None,
    ) -> None:
        self.run, self.options, self.recipe = run, options, recipe
        self.hyperparameters, self.unfinished = hyperparameters, unfinished
        self._watch = watch
        self._model: keras.Model | None = None
        self.scheme: ClassScheme = class_scheme(hyperparameters.num_classes)

    def fit(self, stored: StoredSet) -> Fitted:
        """Train on the stored set."""
        run, options, scheme = self.run, self.options, self.scheme
        if options.deterministic:
            demand_equal_bits()
        self._log_told()
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
            initial = self._initial_weights()
            model = self._model = self._build(initial.backbone, batches)
            if distribution.num_replicas > 1:
                synchronize_batch_norms(model)
            result = self._fit(model, batches, validation, stored.table["patient_id"].to_numpy()[rows])
        run.metrics({f"machine/{name}": value for name, value in peak_memory_gib().items()})
        probabilities = result.val_probabilities
        if options.precision != "float32" or distribution.num_replicas > 1:
            model = self._as_served(model)
            probabilities = predict(model, validation, said="validation in float32")
        # The same network without its optimiser, whose moments are twice its size.
        bare = keras.Model(model.input, model.output, name=model.name)
        return Fitted(model=bare, initial=initial, result=result, probabilities=probabilities)

    def _log_told(self) -> None:
        options = self.options
        self.run.params(
            {**asdict(self.hyperparameters), "recipe": self.recipe, "seed": options.seed}, prefix="hp"
        )
        self.run.params(versions(), prefix="version")
        self.run.params(
            {name: typed(options)[name] for name in ("precision", "jit", "deterministic", "missing_labels")},
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
        stored.expect_digest(
            began_with, begun=f"run {self.run.run_id}", anew="leave out -P resume=true to begin anew"
        )
        self.unfinished.note(digest=stored.digest)

    def _initial_weights(self) -> InitialWeights:
        """The backbone with its initial weights; where a checkpoint brings weights, nothing is fetched."""
        goes_on = self.unfinished.state_path.exists()
        initial = initial_backbone(
            "random" if goes_on else self.options.weights,
            name=self.hyperparameters.backbone,
            image_size=self.hyperparameters.image_size,
            num_slices=1 + 2 * self.hyperparameters.context,
        )
        if goes_on:
            noted = self.unfinished.notes["start"]
            initial = InitialWeights(backbone=initial.backbone, name=noted["name"], said=noted["said"])
        print(initial.said)
        began_with = self.unfinished.notes.get("start", {}).get("name", initial.name)
        if began_with != initial.name:
            raise ModelError(
                f"run {self.run.run_id} began with weights {began_with}, now it would be: {initial.said}; expected the "
                "same: leave out -P resume=true to begin anew"
            )
        self.unfinished.note(start={"name": initial.name, "said": initial.said})
        self.run.params({"start": initial.name, "said": initial.said[:500]}, prefix="weights")
        return initial

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
            halves = default_thresholds(scheme.labels)
            scored = evaluate_slices(validation.targets, probabilities, halves, scheme.labels)
            figures = scored.as_metrics("val")
            return {
                name: value
                for name, value in figures.items()
                if name.startswith(("val/auc/", "val/f1/")) and not name.endswith("/micro")
            }

        def on_epoch(epoch: int, figures: dict[str, float]) -> None:
            if epoch not in logged:
                assert batches.order_of is not None
                shown = seen(batches.targets, batches.order_of(epoch), patients, scheme.labels)
                also = {f"seen/{name}": value for name, value in shown.items()}
                run.metrics(
                    {f"epoch/{name}": value for name, value in {**figures, **also}.items()}, step=epoch
                )
            if self._watch:
                self._watch(epoch, figures)

        loss = make_loss(
            hyperparameters.loss,
            labels=scheme.labels,
            targets=batches.targets[batches.order],
            label_smoothing=hyperparameters.label_smoothing,
            focal_gamma=hyperparameters.focal_gamma,
        )
        return fit(
            model,
            train=batches,
            validation=validation,
            hyperparameters=hyperparameters,
            score=score,
            on_epoch=on_epoch,
            loss=loss,
            jit=self.options.jit,
            checkpoint=self.unfinished.state_path,
        )

    def keep_best(self) -> str:
        """Save the best weights of a training that failed, beside its checkpoint and on its run; say where.

        Nothing is said where no epoch has ended.
        """
        if self._model is None or not self.unfinished.state_path.exists():
            return ""
        path = self.unfinished.folder / BEST_FILE
        self._as_served(self._model).save(path)
        self.run.file(path, folder="checkpoint")
        return f". The best epoch's weights are kept: -P weights={path}"


def log_history(job: Job, fitted: Fitted, stored: StoredSet) -> None:
    """Log the training curves, and which epoch was the best."""
    result = fitted.result
    history = result.history.assign(epoch=result.history["epoch"] + 1)
    best = result.best_epoch + 1
    job.run.table(history, "history.json")
    job.run.figure(
        training_curves(history, best_epoch=best, note=data_note(stored)), "figures/training_curves.png"
    )
    job.run.metrics(
        {
            "best_epoch": best,
            "machine/slices_per_second": result.history["slices_per_second"][
                job.hyperparameters.frozen_epochs :
            ].median(),
        }
    )
