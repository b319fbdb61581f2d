"""What every training does, in its own run or as a trial of a search: data, initial weights, network, fit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from ich_mlflow.dataset.mixture import data_of, sets_of
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.figures.curves import training_curves
from ich_mlflow.labels import ClassScheme, class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.family import Network
from ich_mlflow.models.logits import mean_of_logits
from ich_mlflow.models.registry import family_of
from ich_mlflow.models.series import NONE
from ich_mlflow.models.slice_cnn.classifier import labels_of
from ich_mlflow.models.slice_cnn.layers import carry_ancestry
from ich_mlflow.models.task import Outputs, Prepared, Task
from ich_mlflow.parameters import AUTO, expect, typed
from ich_mlflow.serving.classifier import Classifier, Specification
from ich_mlflow.stages.common.initial_weights import (
    initial_weights,
    patients_to_learn_from,
    say_if_tested,
    say_start,
)
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.common.stored_sets import (
    DATA_FOLDER,
    OF_SLICES,
    data_note,
    describe,
    label_level,
    learned_then,
)
from ich_mlflow.stages.common.training_data import (
    check_labels,
    log_augmented,
    log_data,
    rows_beside,
    training_rows,
)
from ich_mlflow.stages.common.unfinished import Unfinished
from ich_mlflow.stages.common.validation_score import ValidationScore
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
from ich_mlflow.training.initial_weights import InitialWeights
from ich_mlflow.training.loop import FitResult, OnEpoch, fit
from ich_mlflow.training.progress import predict

BEST_FILE = "best.keras"
#: Name of what a training began from that took nothing over, not even a backbone.
NO_START = "none"
#: What a family computes of a stored set once.
FEATURES_FOLDER = DATA_FOLDER / "features"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training job leaves.

    network: as it is served, to be packed. start: name of what it began from. ancestry: what it has learned from, this
    training last; came_from: all before that. outputs: what it says of the validation slices, as it is served.
    slice_model: what the version of the slices chose, of a family that builds on one.
    """

    network: Network
    start: str
    ancestry: Ancestry
    came_from: Ancestry
    result: FitResult
    outputs: Outputs
    slice_model: Specification | None = None


class Job:
    """One training: what it was told, and its run. watch: called after each epoch with its figures."""

    def __init__(
        self,
        run: Run,
        options: TrainOptions,
        recipe: str,
        hyperparameters: Any,
        unfinished: Unfinished,
        *,
        watch: OnEpoch | None = None,
    ) -> None:
        self.run, self.options, self.recipe = run, options, recipe
        self.hyperparameters, self.unfinished = hyperparameters, unfinished
        self._watch = watch
        self.family = family_of(hyperparameters)
        self._prepared: Prepared | None = None
        self._slices: Specification | None = None
        self._lesion_head: Mapping[str, np.ndarray] = {}
        self._start, self._came_from, self._ancestry = NO_START, Ancestry(), Ancestry()
        self.scheme: ClassScheme = class_scheme(hyperparameters.num_classes)

    def fit(self, stored: StoredSet) -> Fitted:
        """Train on the stored set."""
        run, options, scheme = self.run, self.options, self.scheme
        if self.family.reads_series:
            expect_plain(options, self.family.name)
            expect_one_set(stored, self.family.name)
        if options.deterministic:
            demand_equal_bits()
        log_told(run, options, self.recipe, self.hyperparameters)
        print(
            f"training on {stored.path} ({describe(stored)}), recipe {self.recipe}, labels "
            f"{', '.join(scheme.labels)}"
        )
        rows, dropped = training_rows(stored, scheme, epidural_only=options.epidural_only)
        beside = rows_beside(stored, scheme, epidural_only=options.epidural_only)
        check_labels(
            stored, rows, scheme, missing=options.missing_labels, exams=self.family.says_exams, beside=beside
        )
        self._expect_same_data(stored)
        log_data(run, stored, options, dropped=dropped)
        keras.utils.set_random_seed(options.seed)
        with native_stderr_muted():  # the first look for a GPU is loud where there is none
            distribution = Distribution()
            self._log_machine(distribution)
        with distribution.scope(), computing_in(options.precision):
            prepared = self._prepared = self._prepare(stored, rows, beside, distribution.num_replicas)
            result = self._fit(prepared, stored)
        run.metrics({f"machine/{name}": value for name, value in peak_memory_gib().items()})
        is_served = options.precision == "float32" and distribution.num_replicas == 1
        network, outputs = self._served(prepared, result, is_served=is_served)
        return Fitted(
            network=network,
            start=self._start,
            ancestry=self._ancestry,
            came_from=self._came_from,
            result=result,
            outputs=outputs,
            slice_model=self._slices,
        )

    def _prepare(
        self, stored: StoredSet, rows: np.ndarray, beside: Sequence[np.ndarray], replicas: int
    ) -> Prepared:
        """The family's network and batches."""
        prepared: Prepared = self.family.training.prepare(
            Task(
                stored=stored,
                rows=rows,
                rows_beside=beside,
                validation_rows=stored.rows("validation"),
                scheme=self.scheme,
                hyperparameters=self.hyperparameters,
                seed=self.options.seed,
                replicas=replicas,
                backbone=lambda: self._backbone(stored),
                slice_model=self._slice_model,
                slices_labelled=label_level(stored) == OF_SLICES,
                cache=FEATURES_FOLDER,
                lesion_head=lambda: self._lesion_head,
            )
        )
        say_if_tested(self._came_from, stored)
        self._ancestry = learned_then(self._came_from, stored, by=f"run {self.run.run_id}")
        carry_ancestry(prepared.model, self._ancestry)
        if prepared.augmented is not None:
            log_augmented(self.run, stored, prepared.augmented, seed=self.options.seed)
        return prepared

    def _served(self, prepared: Prepared, result: FitResult, *, is_served: bool) -> tuple[Network, Outputs]:
        """The network as it is served, and what it says of the validation slices then."""
        model, said = prepared.model, result.val_probabilities
        if not is_served:
            model = prepared.as_served(model)
            carry_ancestry(model, self._ancestry)
            said = predict(labels_of(model), prepared.validation, said="validation in float32")
        if self.options.mirror and prepared.mirrored is not None:
            said = mean_of_logits(
                said, predict(labels_of(model), prepared.mirrored, said="validation, mirrored")
            )
        # The same network without its optimiser, whose moments are twice its size.
        bare = keras.Model(model.input, model.output, name=model.name)
        return prepared.pack(bare), prepared.told(said)

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
        for number, one in enumerate(sets_of(stored)):
            key = f"digest_{number}" if number else "digest"
            one.expect_digest(
                self.unfinished.notes.get(key, one.digest),
                begun=f"run {self.run.run_id}",
                anew="leave out -P resume=true to begin anew",
            )
            self.unfinished.note(**{key: one.digest})

    def _backbone(self, stored: StoredSet) -> keras.Model:
        """The backbone with its initial weights; where a checkpoint brings weights, nothing is fetched."""
        goes_on = self.unfinished.state_path.exists()
        initial = initial_weights(
            "random" if goes_on else self.options.weights,
            name=self.hyperparameters.backbone,
            image_size=self.hyperparameters.image_size,
            num_slices=1 + 2 * self.hyperparameters.context,
            patients=patients_to_learn_from(stored),
        )
        if goes_on:
            noted = self.unfinished.notes["start"]
            initial = InitialWeights(
                backbone=initial.backbone, **noted, ancestry=self.unfinished.ancestry(noted["name"])
            )
        say_start(initial)
        self._note_start(initial.name, initial.said, initial.ancestry)
        self._lesion_head = initial.lesion_head
        return initial.backbone

    def _slice_model(self) -> Classifier:
        """The model version of the slices, of which nothing is trained here."""
        found = load_model(self.options.slice_model)
        said = f"the slices' network is {found.uri}"
        print(said)
        self._note_start(found.uri, said, found.ancestry)
        self._slices = found.specification
        return found.classifier

    def _note_start(self, name: str, said: str, ancestry: Ancestry) -> None:
        """Note what the training begins from. Raises ModelError where one that goes on began from something else."""
        began_with = self.unfinished.notes.get("start", {}).get("name", name)
        if began_with != name:
            raise ModelError(
                f"run {self.run.run_id} began with weights {began_with}, but would go on with others ({said}); "
                "expected the same: leave out -P resume=true to begin anew"
            )
        self.unfinished.keep_ancestry(ancestry)
        self.unfinished.note(start={"name": name, "said": said})
        self.run.params({"start": name, "said": said[:500]}, prefix="weights")
        self._start, self._came_from = name, ancestry

    def _fit(self, prepared: Prepared, stored: StoredSet) -> FitResult:
        run = self.run
        logged = run.steps("epoch/loss") if run.resumed else set()

        def on_epoch(epoch: int, figures: dict[str, float]) -> None:
            if epoch not in logged:
                also = {f"seen/{name}": value for name, value in prepared.seen(epoch).items()}
                run.metrics(
                    {f"epoch/{name}": value for name, value in {**figures, **also}.items()}, step=epoch
                )
            if self._watch:
                self._watch(epoch, figures)

        return fit(
            prepared.model,
            train=prepared.train,
            validation=prepared.validation,
            hyperparameters=self.hyperparameters,
            score=ValidationScore(stored, self.scheme, prepared.told),
            on_epoch=on_epoch,
            loss=prepared.loss,
            jit=self.options.jit,
            checkpoint=self.unfinished.state_path,
        )

    def keep_best(self) -> str:
        """Save the best weights of a training that failed, beside its checkpoint and on its run; say where.

        Nothing is said where no epoch has ended.
        """
        if self._prepared is None or not self.unfinished.state_path.exists():
            return ""
        path = self.unfinished.folder / BEST_FILE
        model = self._prepared.as_served(self._prepared.model)
        carry_ancestry(model, self._ancestry)
        model.save(path)
        self.run.file(path, folder="checkpoint")
        kept = f"-P weights={path}" if "weights" in self.family.options else str(path)
        return f". The best epoch's weights are kept: {kept}"


def log_told(run: Run, options: TrainOptions, recipe: str, hyperparameters: Any) -> None:
    """Log what a training was told, and by which code and versions it is done."""
    family = family_of(hyperparameters).name
    told = {"family": family, **asdict(hyperparameters), "recipe": recipe, "seed": options.seed}
    run.params(told, prefix="hp")
    run.params(versions(), prefix="version")
    run.params(
        {name: typed(options)[name] for name in ("precision", "jit", "deterministic", "missing_labels")},
        prefix="train",
    )
    run.tags({"ich.git_commit": git_commit()})


def expect_plain(options: TrainOptions, family: str) -> None:
    """Raise OptionError for what a family that reads series does itself, or can't do."""
    expect(
        "mirror", options.mirror, not options.mirror, f"false with family={family}, which looks there itself"
    )
    plain = options.series_smoothing in (AUTO, NONE)
    expect(
        "series_smoothing", options.series_smoothing, plain, f"none with family={family}, which reads series"
    )
    expect("jit", options.jit, not options.jit, f"false with family={family}, whose series differ in length")


def expect_one_set(stored: StoredSet, family: str) -> None:
    """Raise OptionError where sets stand beside the stored set, of a family that learns from one alone."""
    one = len(sets_of(stored)) == 1
    expect("data", data_of(stored), one, f"one stored set with family={family}")


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
