"""The network over the slices of a series in Keras: built, given its standardisation, written for serving."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.exam_sequence.kinds import KINDS
from ich_mlflow.models.exam_sequence.layers import DistanceAttention, ExamHead, SliceHead, Standardise
from ich_mlflow.models.weights import write_weights


def _conv(hidden: Any, depth: int) -> Any:
    width = hidden.shape[-1]
    for number in range(depth):
        layer = keras.layers.Conv1D(
            width, 3, padding="same", activation="relu", dtype="float32", name=f"conv_{number}"
        )
        hidden = keras.layers.Add(dtype="float32", name=f"residual_{number}")([hidden, layer(hidden)])
    return hidden


def _gru(hidden: Any, depth: int) -> Any:
    # Spelt out: the NumPy twin computes this variant.
    gru = keras.layers.GRU(hidden.shape[-1], return_sequences=True, reset_after=True, dtype="float32")
    return keras.layers.Bidirectional(gru, dtype="float32", name="gru")(hidden)


def _attention(hidden: Any, depth: int) -> Any:
    for number in range(depth):
        hidden = DistanceAttention(name=f"attention_{number}")(hidden)
    return hidden


#: The layers of each of KINDS: (hidden [1, n, W], depth) -> [1, n, W * widening]. They bear the kind's name, with
#: `_<number>` from 0 where there are `depth` of them.
BODIES: dict[str, Callable[[Any, int], Any]] = {"conv": _conv, "gru": _gru, "attention": _attention}


def build_sequence(
    *,
    num_labels: int,
    num_inputs: int,
    kind: str = "conv",
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.3,
) -> keras.Model:
    """Build the network: ONE series float32 [n, num_inputs] in, probabilities float32 [n + 1, num_labels] out.

    The batch axis is the slices, in order from the neck up, one or more. Out come a row a slice, then one of the exam.
    The first num_labels inputs are the slice CNN's logits of the slice; an untrained network says of slices what they
    say, and of the exam their soft maximum (ExamHead has the formula). depth means nothing for gru. Randomness follows
    keras.utils.set_random_seed; always in float32. Several devices can't share a series. Raises ValueError for a kind
    that KINDS lacks, or fewer inputs than labels.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}: pass one of them")
    if num_inputs < num_labels:
        raise ValueError(
            f"num_inputs is {num_inputs}, expected {num_labels} or more: the first are the logits of the labels"
        )
    slices = keras.Input((num_inputs,), name="slices_in_order", dtype="float32")
    series = ops.expand_dims(slices, axis=0)
    x = Standardise(name="standardise")(series)
    x = keras.layers.Dense(width, activation="relu", dtype="float32", name="project")(x)
    x = keras.layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    x = BODIES[kind](x, depth)
    logits = SliceHead(num_labels, name="slices")(series, x)
    exam = ExamHead(name="exam")(logits, x)
    rows = ops.squeeze(ops.concatenate([logits, exam], axis=1), axis=0)
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(rows)
    return keras.Model(slices, probabilities, name="exam_sequence")


def set_standardisation(model: keras.Model, mean: np.ndarray, scale: np.ndarray) -> None:
    """Let the network take mean [C] off its inputs and divide them by scale [C], each above 0.

    Raises ValueError for other shapes, what is not finite, or a scale of 0, as a constant input's deviation is.
    """
    layer = model.get_layer("standardise")
    shape = tuple(layer.mean.shape)
    for name, given in (("mean", np.asarray(mean)), ("scale", np.asarray(scale))):
        if given.shape != shape or not np.isfinite(given).all():
            raise ValueError(
                f"{name} is {given.dtype} {list(given.shape)}, expected finite numbers {list(shape)}: pass one an input"
            )
    if not (np.asarray(scale) > 0).all():
        raise ValueError(
            f"scale is {np.min(scale):g} at the least, expected above 0: pass 1 for constant inputs"
        )
    layer.set_weights([np.asarray(mean, np.float32), np.asarray(scale, np.float32)])


def write_sequence(model: keras.Model, path: Path, *, ancestry: Ancestry | None = None) -> None:
    """Write what forward.SequenceNetwork reads: kind and weights by name, no pickle; whole or not at all.

    ancestry: what the network has learned from, None to say nothing.
    """
    write_weights(path, model, {"kind": kind_of(model)}, half=False, ancestry=ancestry)


def kind_of(model: keras.Model) -> str:
    """The kind of a network that build_sequence built: its layers bear the name."""
    names = {layer.name.split("_")[0] for layer in model.layers}
    return next(kind for kind in KINDS if kind in names)
