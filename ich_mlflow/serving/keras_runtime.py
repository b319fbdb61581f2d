"""The Keras model itself as a server's network, where TensorFlow is installed and it is asked for."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import ich_mlflow.models.slice_cnn.layers  # noqa: F401  so that Keras knows the layers of the file


def with_feature_maps(model: keras.Model) -> keras.Model:
    """The classifier with two outputs: probabilities [B, L], and the feature maps [B, h, w, D] that are pooled."""
    return keras.Model(model.input, [model.output, model.get_layer("gap").input])


class KerasNetwork:
    """A tf.function of the model, traced at load."""

    def __init__(self, path: Path) -> None:
        model = with_feature_maps(keras.models.load_model(path, compile=False))
        self._function = tf.function(lambda hu: model(hu, training=False), reduce_retracing=True)

    def run(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Network says."""
        probabilities, maps = self._function(tf.convert_to_tensor(hu[None], dtype=tf.float32))
        return np.asarray(probabilities)[0], np.asarray(maps)[0]
