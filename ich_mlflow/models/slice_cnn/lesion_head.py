"""The head that says where the blood is: a feature pyramid over a backbone's maps, and what it is taught by.

It answers for cells of 4 x 4 pixels of the network's image, with the share of each cell that is blood of each of
SUBTYPES. Source: Lin et al., CVPR 2017 (feature pyramid networks).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ich_mlflow.labels import SUBTYPES

#: Name of the last layer, with which the names of all that have weights begin as well, but for its last letter.
LESIONS_OUTPUT = "lesions"
_PREFIX = "lesion"
#: The lesion head answers for cells of so many pixels a side.
CELL = 4
#: Channels that the backbone's maps are brought to before they are added.
_CHANNELS = 48
#: Blood is rare: so much more does a cell's cross-entropy weigh than a label's.
CELL_WEIGHT = 5.0
#: What a head that learned nothing yet says: a cell in a hundred. From one half, most of an epoch would go into
#: unlearning blood everywhere. Source: Lin et al., ICCV 2017, 4.1.
BLOOD_PRIOR_LOGIT = -4.6
#: Channels of the targets of KnownLesionLoss.
ALL_BLOOD, NAMED, UNNAMED_ONLY = len(SUBTYPES), len(SUBTYPES) + 1, len(SUBTYPES) + 2
NUM_TARGETS = len(SUBTYPES) + 3


def lesion_maps(taps: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Shares of blood [B, S / 4, S / 4, 5], of a backbone's maps of 1/4 to 1/32 of an image of a multiple of 32.

    From coarse to fine: each map is enlarged, added to the next finer one, and smoothed.
    """
    x = _narrowed(taps[-1], 0)
    for number, tap in enumerate(reversed(taps[:-1]), start=1):
        x = keras.layers.UpSampling2D(2)(x)
        x = keras.layers.Add()([x, _narrowed(tap, number)])
        x = keras.layers.SeparableConv2D(
            _CHANNELS, 3, padding="same", use_bias=False, name=f"{_PREFIX}_smooth_{number}"
        )(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{_PREFIX}_norm_{number}")(x))
    return keras.layers.Conv2D(len(SUBTYPES), 1, activation="sigmoid", dtype="float32", name=LESIONS_OUTPUT)(
        x
    )


def _narrowed(tap: keras.KerasTensor, number: int) -> keras.KerasTensor:
    return keras.layers.Conv2D(_CHANNELS, 1, name=f"{_PREFIX}_narrow_{number}")(tap)


def lesion_head_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network's lesion head, by `<layer>/<number>`; empty where it has none."""
    return {
        f"{layer.name}/{number}": weight
        for layer in model.layers
        if layer.name.startswith(_PREFIX)
        for number, weight in enumerate(layer.get_weights())
    }


def lesion_head_among(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a lesion head among those of a file, by `<layer>/<number>`."""
    return {name: array for name, array in arrays.items() if name.startswith(_PREFIX)}


@keras.saving.register_keras_serializable(package="ich_mlflow")
class LesionLoss(keras.losses.Loss):
    """Cross-entropy of cells and soft Dice over the batch, mean over subtypes that the batch shows.

    Shares of blood [B, h, w, 5]. Sources: Milletari et al., 3DV 2016 (soft Dice); Isensee et al., Nature Methods 2021
    (the two together).
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return CELL_WEIGHT * ops.mean(keras.losses.binary_crossentropy(y_true, y_pred)) + _missed(
            y_true, y_pred
        )


@keras.saving.register_keras_serializable(package="ich_mlflow")
class KnownLesionLoss(keras.losses.Loss):
    """LesionLoss of the slices of a batch whose blood is known, times `weight`; 0 where it is known of none.

    y_pred: shares of blood [B, h, w, 5]. y_true [B, h, w, 8]: the five shares; that of all blood; 1 where each
    subtype's is known of the slice; 1 where all blood's alone is, since the source has not named it. Of such a slice
    the network answers for all blood, 1 - (1 - p1) (1 - p2) ... (1 - p5): its cross-entropy where there is no blood is
    the sum of the five.
    """

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        shares, all_blood = y_true[..., :ALL_BLOOD], y_true[..., ALL_BLOOD : ALL_BLOOD + 1]
        named, unnamed = (y_true[..., at : at + 1] for at in (NAMED, UNNAMED_ONLY))
        any_said = 1.0 - ops.prod(1.0 - y_pred, axis=-1, keepdims=True)
        entropy = named[..., 0] * keras.losses.binary_crossentropy(shares, y_pred)
        entropy += unnamed[..., 0] * keras.losses.binary_crossentropy(all_blood, any_said) / len(SUBTYPES)
        known = ops.sum(named) + ops.sum(unnamed)
        missed = _missed(
            ops.concatenate([named * shares, unnamed * all_blood], axis=-1),
            ops.concatenate([named * y_pred, unnamed * any_said], axis=-1),
        )
        return self.weight * (CELL_WEIGHT * ops.sum(entropy) / ops.maximum(known, 1.0) + missed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}


def _missed(y_true: Any, y_pred: Any) -> Any:
    """1 - soft Dice over the batch, mean over the channels that it shows blood of; 0 where it shows none."""
    overlap = ops.sum(y_true * y_pred, axis=(0, 1, 2))
    both = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
    shown = ops.cast(ops.sum(y_true, axis=(0, 1, 2)) > 0, y_pred.dtype)
    dice = (2 * overlap + 1) / (both + 1)
    return ops.sum(shown * (1 - dice)) / ops.maximum(ops.sum(shown), 1.0)
