"""Cross-entropy of detection and of subtype apart, in Keras."""

from typing import Any

import keras
from keras import ops

_EPSILON = 1e-7


@keras.saving.register_keras_serializable(package="ich_mlflow")
class FactorisedCrossentropy(keras.losses.Loss):
    """Cross-entropy of any bleed, and of each subtype given a bleed, from the probabilities that are served.

    BCE(any, p_any) + any * mean over subtypes of BCE(s, p_s / p_any); mean over slices. A slice without a bleed says
    nothing of subtypes, so it counts for the detection alone; where there is one, all subtypes together weigh as much
    as the detection. Probabilities are held to 1e-7 off 0 and 1, as Keras does.

    any_at: the place of any among the labels.
    """

    def __init__(self, *, any_at: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.any_at = any_at

    def call(self, y_true: Any, y_pred: Any) -> Any:
        targets = ops.cast(y_true, y_pred.dtype)
        place = slice(self.any_at, self.any_at + 1)
        bleeds, detected = targets[:, place], _held(y_pred[:, place])
        # any given a bleed is certain: its own column is no subtype
        subtypes = [float(number != self.any_at) for number in range(y_pred.shape[-1])]
        weights = ops.convert_to_tensor(subtypes, dtype=y_pred.dtype) / sum(subtypes)
        given = _entropy(targets, _held(y_pred / detected))
        return _entropy(bleeds, detected)[:, 0] + ops.sum(bleeds * weights * given, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "any_at": self.any_at}


def _held(probabilities: Any) -> Any:
    return ops.clip(probabilities, _EPSILON, 1 - _EPSILON)


def _entropy(targets: Any, probabilities: Any) -> Any:
    return -(targets * ops.log(probabilities) + (1 - targets) * ops.log(1 - probabilities))
