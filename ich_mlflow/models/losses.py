"""Losses over labels: probabilities and targets [B, L] to one number. No files, no MLflow."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ich_mlflow.labels import ANY

#: Where a label is so rare that its balancing weight would be larger, one slice must not outweigh a batch.
MAX_POSITIVE_WEIGHT = 20.0
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


def make_loss(
    name: str,
    *,
    labels: Sequence[str],
    targets: np.ndarray,
    label_smoothing: float = 0.0,
    focal_gamma: float = 2.0,
) -> keras.losses.Loss:
    """The loss of that name: bce, weighted_bce, focal or log_loss_rsna.

    targets: of the training slices [N, L], 0 or 1; weighted_bce takes its weights from them. focal_gamma: of focal,
    0 or more (Lin et al., ICCV 2017).
    log_loss_rsna is RSNA 2019's metric: `any` weighs 2, each subtype 1. Raises ValueError for another name.
    """
    ones = [1.0] * len(labels)
    if name == "bce":
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    if name == "focal":
        return keras.losses.BinaryFocalCrossentropy(gamma=focal_gamma, label_smoothing=label_smoothing)
    if name == "weighted_bce":
        return WeightedBinaryCrossentropy(
            positive_weights=positive_weights(targets).tolist(),
            label_weights=ones,
            label_smoothing=label_smoothing,
        )
    if name == "log_loss_rsna":
        return WeightedBinaryCrossentropy(
            positive_weights=ones,
            label_weights=[2.0 if label == ANY else 1.0 for label in labels],
            label_smoothing=label_smoothing,
        )
    raise ValueError(f"loss is {name!r}, expected bce, weighted_bce, focal or log_loss_rsna")


def positive_weights(targets: np.ndarray) -> np.ndarray:
    """Negative slices for each positive one [L], 1 to 20; 1 for a label without positives."""
    positive = np.asarray(targets).sum(axis=0)
    weights = (len(targets) - positive) / np.maximum(positive, 1)
    return np.where(positive > 0, np.clip(weights, 1.0, MAX_POSITIVE_WEIGHT), 1.0)


def prior_logits(targets: np.ndarray) -> np.ndarray:
    """The logit of each label's share in the targets [N, L]: float64 [L], of shares held to 0.0001 … 0.9999.

    As the output's bias it lets training begin at the prevalences instead of one half. Source: Lin et al.,
    ICCV 2017, 4.1.
    """
    share = np.clip(np.asarray(targets, dtype=np.float64).mean(axis=0), 1e-4, 1 - 1e-4)
    return np.log(share / (1 - share))
