"""The Keras layers of a network over series that Keras lacks; forward and kinds compute the same in NumPy.

All are always in float32: they are small, and the logits that they hand on must stay what the slice CNN said.
"""

from typing import Any

import keras
from keras import ops

from ich_mlflow.models.exam_sequence.forward import SHARPNESS
from ich_mlflow.models.exam_sequence.kinds import FARTHEST


def _softmax(scores: Any, axis: int) -> Any:
    """Keras' own warns of a series of one slice, whose share is 1 and is meant."""
    shares = ops.exp(scores - ops.max(scores, axis=axis, keepdims=True))
    return shares / ops.sum(shares, axis=axis, keepdims=True)


class _Float32(keras.layers.Layer):
    """A layer that is in float32 whatever the policy."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})


@keras.saving.register_keras_serializable(package="ich_mlflow")
class Standardise(_Float32):
    """Take the mean off each input and divide by its scale; both are given, not learned. 0 and 1 before they are."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        shape = (input_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.scale = self.add_weight(shape=shape, initializer="ones", trainable=False, name="scale")

    def call(self, series: Any) -> Any:
        return (series - self.mean) / self.scale


@keras.saving.register_keras_serializable(package="ich_mlflow")
class SliceHead(_Float32):
    """Logits [1, n, L] of slices: the slice CNN's own, the first L columns of the series [1, n, C], and what is added.

    What is added is linear in hidden [1, n, W], and nothing before training.
    """

    def __init__(self, num_labels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_labels = num_labels

    def build(self, series_shape: tuple[int | None, ...], hidden_shape: tuple[int | None, ...]) -> None:
        shape = (hidden_shape[-1], self.num_labels)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(self.num_labels,), initializer="zeros", name="bias")

    def call(self, series: Any, hidden: Any) -> Any:
        return series[..., : self.num_labels] + ops.matmul(hidden, self.kernel) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_labels": self.num_labels}


@keras.saving.register_keras_serializable(package="ich_mlflow")
class ExamHead(_Float32):
    """Logits [1, 1, L] of the exam, of slice logits s [1, n, L] and hidden h [1, n, W], for each label l:

        a_n  = softmax over n of ((SHARPNESS + sharper_l) * s_nl + h_n . score_l)
        exam = sum over n of a_n * (s_nl + h_n . evidence_l) + bias_l

    The second term is a dense layer on hidden pooled with the label's own weights. All weights start at zero, where the
    exam's logit is a soft maximum of its slices'; and zero is where weight decay draws them.
    """

    def build(self, logits_shape: tuple[int | None, ...], hidden_shape: tuple[int | None, ...]) -> None:
        kernel, vector = (hidden_shape[-1], logits_shape[-1]), (logits_shape[-1],)
        self.score = self.add_weight(shape=kernel, initializer="zeros", name="score")
        self.evidence = self.add_weight(shape=kernel, initializer="zeros", name="evidence")
        self.bias = self.add_weight(shape=vector, initializer="zeros", name="bias")
        self.sharper = self.add_weight(shape=vector, initializer="zeros", name="sharper")

    def call(self, logits: Any, hidden: Any) -> Any:
        scores = (SHARPNESS + self.sharper) * logits + ops.matmul(hidden, self.score)
        said = logits + ops.matmul(hidden, self.evidence)
        return ops.sum(_softmax(scores, axis=1) * said, axis=1, keepdims=True) + self.bias


@keras.saving.register_keras_serializable(package="ich_mlflow")
class DistanceAttention(_Float32):
    """h + ReLU(attended . out + bias) for h [1, n, W]: each slice attends, with one head, to all of its series.

    The score of a slice for another is query . key / sqrt(W), and a learned number (zero before training) for how many
    slices above or below the other is, the same from FARTHEST on.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width = input_shape[-1]
        self.query, self.key, self.value, self.out = (
            self.add_weight(shape=(width, width), initializer="glorot_uniform", name=name)
            for name in ("query", "key", "value", "out")
        )
        self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")
        self.by_distance = self.add_weight(shape=(2 * FARTHEST + 1,), initializer="zeros", name="by_distance")

    def call(self, hidden: Any) -> Any:
        place = ops.arange(ops.shape(hidden)[1], dtype="int32")
        distance = ops.clip(place[None, :] - place[:, None], -FARTHEST, FARTHEST) + FARTHEST
        queries, keys = ops.matmul(hidden, self.query), ops.matmul(hidden, self.key)
        scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1))) / hidden.shape[-1] ** 0.5
        shares = _softmax(scores + ops.take(self.by_distance, distance, axis=0), axis=-1)
        attended = ops.matmul(shares, ops.matmul(hidden, self.value))
        return hidden + ops.relu(ops.matmul(attended, self.out) + self.bias)
