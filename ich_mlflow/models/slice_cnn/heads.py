"""Heads, a record each: how logits become the probabilities that are served. Keras is imported where one is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ich_mlflow.labels import ANY, class_scheme
from ich_mlflow.models.losses import FACTORISED, Loss, factorised_prior_logits, prior_logits

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Head:
    """One head.

    output  for a number of labels L, the layers from the head's units [B, U] to probabilities [B, L]
    prior   for training targets [N, L] and their labels, the logits [L] that prior_bias begins with
    said    what it is, for a report. text: the same for --help; '' where the name says it
    loss    the loss that it brings with it; None: the one that is asked for
    needs_any: only with the label `any`
    """

    output: "Callable[[int], tuple[keras.layers.Layer, ...]]"
    prior: Callable[[np.ndarray, Sequence[str]], np.ndarray]
    said: str
    text: str = ""
    loss: Loss | None = None
    needs_any: bool = False


def _flat(num_labels: int) -> "tuple[keras.layers.Layer, ...]":
    import keras

    from ich_mlflow.models.slice_cnn.layers import PROBABILITIES

    return (keras.layers.Dense(num_labels, activation="sigmoid", dtype="float32", name=PROBABILITIES),)


def _two_stage(num_labels: int) -> "tuple[keras.layers.Layer, ...]":
    """Raises ValueError where labels of that number have no any."""
    import keras

    from ich_mlflow.models.slice_cnn.layers import LOGITS, PROBABILITIES, DetectionTimesSubtype

    labels = class_scheme(num_labels).labels
    if ANY not in labels:
        raise ValueError(
            f"head two_stage got {num_labels} labels, expected the 6 with any: take those, or head flat"
        )
    return (
        keras.layers.Dense(num_labels, dtype="float32", name=LOGITS),
        DetectionTimesSubtype(labels.index(ANY), name=PROBABILITIES),
    )


HEADS: dict[str, Head] = {
    "flat": Head(
        output=_flat, prior=lambda targets, labels: prior_logits(targets), said="one sigmoid a label"
    ),
    "two_stage": Head(
        output=_two_stage,
        prior=factorised_prior_logits,
        said=(
            "one sigmoid of any bleed (detection) and one of each subtype given a bleed, which slices with a bleed "
            "alone teach; a subtype's probability is the product"
        ),
        text="the probability of any bleed, times that of each subtype given a bleed; needs 6 classes and has "
        "its own loss",
        loss=FACTORISED,
        needs_any=True,
    ),
}


def heads_text() -> str:
    """Each head's name, with what it is in parentheses."""
    return ", ".join(f"{name} ({one.text})" if one.text else name for name, one in HEADS.items())
