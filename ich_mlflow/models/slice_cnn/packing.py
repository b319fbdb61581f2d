"""A trained slice CNN as files: the Keras model, its LiteRT twin, and the weights of its head."""

import contextlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ich_mlflow.ct.frame import HEAD
from ich_mlflow.models.family import Network
from ich_mlflow.models.slice_cnn.keras_runtime import with_feature_maps
from ich_mlflow.models.slice_cnn.layers import is_framed, logits_layer
from ich_mlflow.models.slice_cnn.reader import FRAMING, HEAD_FILE, SliceReader
from ich_mlflow.models.slice_cnn.runtimes import KERAS_FILE, LITERT_FILE


def network_of(model: keras.Model, sample_hu: np.ndarray) -> Network:
    """The classifier, to be packed. sample_hu: HU [B, 256, 256, 1 + 2 * context] that its twin is compared on."""

    def difference(reader: SliceReader) -> float:
        said = model(sample_hu.astype(np.float32), training=False)
        expected = said if isinstance(said, (list, tuple)) else [said]
        read = reader.said(sample_hu)
        found = [read.slices]
        if read.lesions is not None:
            found.append(read.lesions)
            expected = [expected[0], reader.in_place(np.asarray(expected[1]), sample_hu)]
        return max(
            float(np.max(np.abs(one - np.asarray(keras_one))))
            for one, keras_one in zip(found, expected, strict=True)
        )

    @cache
    def extended() -> keras.Model:
        return with_feature_maps(model)

    def pooled(hu: np.ndarray) -> np.ndarray:
        # Compiled once: called as it is, Keras runs layer by layer, four times as slowly.
        _, features, *_ = extended().predict_on_batch(hu.astype(np.float32))
        return np.asarray(features).mean(axis=(1, 2))

    return Network(
        keras=model, write=lambda folder: write(model, folder), difference=difference, pooled=pooled
    )


def write(model: keras.Model, folder: Path) -> None:
    """Write classifier.keras, its LiteRT twin and the head's weights into the folder."""
    model.save(folder / KERAS_FILE)
    dense, bias = model.get_layer("dense").get_weights()
    output, _ = logits_layer(model).get_weights()
    weights: dict[str, Any] = {"dense": dense, "dense_bias": bias, "output": output}
    if is_framed(model):
        weights[FRAMING] = np.array(HEAD)
    np.savez(folder / HEAD_FILE, **weights)
    with contextlib.redirect_stdout(io.StringIO()):  # the converter prints the graph's endpoints
        with_feature_maps(model).export(str(folder / LITERT_FILE), format="litert", verbose=False)
