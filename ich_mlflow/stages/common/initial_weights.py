"""Initial weights as a user names them, models of runs and of the registry among them; what is said of their past."""

import re
from dataclasses import replace
from typing import Any, TypeVar

from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.family import Family
from ich_mlflow.parameters import AUTO
from ich_mlflow.serving.packaging import keras_file
from ich_mlflow.stages.common.families import RUN_ID
from ich_mlflow.stages.common.options import WEIGHTS_FILE, WEIGHTS_MODEL, TrainingParameters
from ich_mlflow.stages.common.run_models import serving_of_run
from ich_mlflow.stages.common.scoring import champion_name
from ich_mlflow.stages.common.stored_sets import ids_of_test
from ich_mlflow.tracking.registry import expect_run, full_model_uri, run_of_model
from ich_mlflow.training.initial_weights import InitialWeights, initial_backbone

TrainingOptions = TypeVar("TrainingOptions", bound=TrainingParameters)


def pinned(weights: str) -> str:
    """What was named, so that it stays the same: an alias as the version it points to now, a run as its Keras model.

    Raises ModelError where it names a model or a run that is not there.
    """
    if re.fullmatch(RUN_ID, weights):
        expect_run(weights, ModelError)
        weights = f"runs:/{weights}/keras"
    if not WEIGHTS_MODEL.allows(weights):
        return weights
    uri = full_model_uri(weights)
    if not WEIGHTS_FILE.allows(
        uri
    ):  # else it is a file that a run keeps, as runs:/<run id>/checkpoint/best.keras
        run_of_model(uri)
    return uri


def models_pinned(options: TrainingOptions, family: Family) -> TrainingOptions:
    """The options with the models that they name pinned: the weights', and for a family that takes one the slices'.

    Raises ModelError as `pinned`, and where the champion was meant and there is none.
    """
    changed: dict[str, Any] = {"weights": pinned(options.weights)}
    if "slice_model" in family.options:
        changed["slice_model"] = _pinned_slice_model(options.slice_model)
    return replace(options, **changed)


def _pinned_slice_model(text: str) -> str:
    """The version that reads slices: the champion for auto, and of a run its serving model."""
    return pinned(champion_name(option="slice_model") if text == AUTO else serving_of_run(text))


def initial_weights(
    weights: str, *, name: str, image_size: int | None, num_slices: int = 1, patients: int | None = None
) -> InitialWeights:
    """As initial_backbone, also for a model that `pinned` gave. Raises ModelError."""
    file, known_as = weights, None
    if WEIGHTS_MODEL.allows(weights):
        file, known_as = str(keras_file(weights)), weights
    return initial_backbone(
        file, name=name, image_size=image_size, num_slices=num_slices, known_as=known_as, patients=patients
    )


def patients_to_learn_from(stored: StoredSet) -> int:
    """How many patients the set has outside its test split: the same for each of its folds."""
    table = stored.table
    return int(table.loc[table["split"] != TEST, "patient_id"].nunique())


def say_start(initial: InitialWeights) -> None:
    """Print where the weights come from, which patients come with them, and what of that is not known."""
    print(initial.said)
    say_past(initial.ancestry)


def say_past(ancestry: Ancestry) -> None:
    """Print which patients come with weights of that past, and what of it is not known."""
    if any(one.seen for one in ancestry.ancestors):
        print(f"weights: they have learned from {ancestry.said}; those patients can't be used for testing")
    for name in ancestry.unknown:
        print(
            f"note: it is not known what {name} learned from, so patients that it shares with a test split can't "
            "be found: evaluate says so, and promote takes the model only with -P same_data=false"
        )


def say_if_tested(ancestry: Ancestry, stored: StoredSet) -> None:
    """Say before a training, not after it, that the set's own test split is of no use for a model of these weights."""
    shared = ancestry.shared_with(ids_of_test(stored))
    if shared:
        one = shared[0]
        print(
            f"note: the weights have learned from {one.count:,} {one.kind} of the test split of {stored.path} "
            f"({one.ancestor.said}), so evaluate will refuse it: pass other -P weights=, or evaluate on other patients"
        )
