"""The Keras model itself as a server's network, where TensorFlow is installed and it is asked for."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

# so that Keras knows those of the file
import ich_mlflow.models.slice_cnn.layers  # noqa: F401
from ich_mlflow.models.slice_cnn.runtimes import Ran


def with_feature_maps(model: keras.Model) -> keras.Model:
    """The classifier with the feature maps that are pooled: [B, L], [B, h, w, D], and any lesions."""
    probabilities, *lesions = model.outputs
    return keras.Model(model.input, [probabilities, model.get_layer("gap").input, *lesions])


class KerasNetwork:
    """A tf.function of the model, traced at load."""

    def __init__(self, path: Path) -> None:
        model = with_feature_maps(keras.models.load_model(path, compile=False))
        self._function = tf.function(lambda hu: model(hu, training=False), reduce_retracing=True)

        self.finds_blood = len(model.outputs) > 2

    def run(self, hu: np.ndarray) -> Ran:
        """As Network says."""
        return Ran(
            *(np.asarray(one)[0] for one in self._function(tf.convert_to_tensor(hu[None], dtype=tf.float32)))
        )
