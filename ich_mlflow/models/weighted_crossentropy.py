"""Binary cross-entropy whose labels and positives weigh differently, in Keras."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_EPSILON = 1e-7


@keras.saving.register_keras_serializable(package="ich_mlflow")
class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy, each label weighted, and its positive slices once more.

    sum over labels of label_weight * -(positive_weight * y log p + (1 - y) log(1 - p)), divided by the sum of the
    label weights; mean over slices. label_smoothing: targets y become y (1 - s) + s / 2.
    """

    def __init__(
        self,
        *,
        positive_weights: Sequence[float],
        label_weights: Sequence[float],
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.positive_weights = [float(weight) for weight in positive_weights]
        self.label_weights = [float(weight) for weight in label_weights]
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        targets = ops.cast(y_true, y_pred.dtype)
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        p = ops.clip(y_pred, _EPSILON, 1 - _EPSILON)
        positive = ops.convert_to_tensor(self.positive_weights, dtype=y_pred.dtype)
        label = ops.convert_to_tensor(self.label_weights, dtype=y_pred.dtype)
        entropy = -(positive * targets * ops.log(p) + (1 - targets) * ops.log(1 - p))
        return ops.sum(label * entropy, axis=-1) / sum(self.label_weights)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "positive_weights": self.positive_weights,
            "label_weights": self.label_weights,
            "label_smoothing": self.label_smoothing,
        }
