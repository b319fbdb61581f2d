"""The classifier: a backbone, global average pooling, dense head, one sigmoid a label. And parts of it."""

from typing import Any

import keras

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.ct.window import Window
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.layers import AreaResize, WindowChannels

_POOLING = "gap"
_HEAD = ("dense", "dropout", "probabilities")


def build_classifier(
    *,
    num_labels: int,
    image_size: int = 224,
    windows: tuple[Window, ...],
    context: int = 0,
    dense_units: int = 128,
    dropout: float = 0.3,
    backbone: keras.Model | None = None,
) -> keras.Model:
    """Build the classifier with HU float32 [B, 256, 256, 1 + 2 * context] in, probabilities [B, num_labels] out.

    backbone: without top, for [B, image_size, image_size, 3 * (1 + 2 * context)] in [0, 255]; EfficientNet-B0
    with random weights where None. Randomness follows keras.utils.set_random_seed. Under a mixed precision
    policy the probabilities, and everything before the backbone, stay float32.
    """
    num_slices = 1 + 2 * context
    if backbone is None:
        backbone = build_backbone(image_size=image_size, num_slices=num_slices)
    hu = keras.Input((STORED_SIZE, STORED_SIZE, num_slices), name="hu", dtype="float32")
    x = AreaResize(image_size, name="resize")(hu)
    x = WindowChannels([[w.center, w.width] for w in windows], name="windows")(x)
    x = backbone(x)
    x = keras.layers.GlobalAveragePooling2D(name=_POOLING)(x)
    for layer in head_layers(num_labels=num_labels, dense_units=dense_units, dropout=dropout):
        x = layer(x)
    return keras.Model(hu, x, name="ich_classifier")


def head_layers(
    *, num_labels: int, dense_units: int = 128, dropout: float = 0.3
) -> tuple[keras.layers.Layer, ...]:
    """The layers from pooled features to the probability of each label."""
    return (
        keras.layers.Dense(dense_units, activation="relu", name="dense"),
        keras.layers.Dropout(dropout, name="dropout"),
        keras.layers.Dense(num_labels, activation="sigmoid", dtype="float32", name="probabilities"),
    )


class _AtRest(keras.layers.Layer):
    """A network as it predicts, also in training: a functional model would hand its own `training` on to it."""

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network

    def call(self, x: Any) -> Any:
        return self.network(x, training=False)


def backbone_of(model: keras.Model) -> keras.Model:
    """The backbone inside a classifier, or the model itself where it is a bare backbone."""
    if _POOLING not in [layer.name for layer in model.layers]:
        return model
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def features_of(model: keras.Model) -> keras.Model:
    """The classifier up to its pooled features [B, D], the backbone at rest: no dropped paths, no statistics."""
    return keras.Model(model.input, _pooled_at_rest(model), name="features")


def feature_maps_of(model: keras.Model) -> keras.Model:
    """The classifier up to the backbone's feature maps [B, h, w, D], at rest."""
    return keras.Model(model.input, _maps_at_rest(model), name="feature_maps")


def head_of(model: keras.Model) -> keras.Model:
    """The classifier from its pooled features [B, D] to probabilities; the layers are the classifier's own."""
    features = keras.Input(model.get_layer(_POOLING).output.shape[1:], name="features")
    return keras.Model(features, _head(model, features), name="head")


def frozen_of(model: keras.Model) -> keras.Model:
    """The classifier with its backbone at rest; the layers are the classifier's own."""
    return keras.Model(model.input, _head(model, _pooled_at_rest(model)), name="frozen")


def _pooled_at_rest(model: keras.Model) -> keras.KerasTensor:
    return model.get_layer(_POOLING)(_maps_at_rest(model))


def _maps_at_rest(model: keras.Model) -> keras.KerasTensor:
    x = model.get_layer("windows")(model.get_layer("resize")(model.input))
    return _AtRest(backbone_of(model), name="at_rest")(x)


def _head(model: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    for name in _HEAD:
        x = model.get_layer(name)(x)
    return x


def set_batch_norm_momentum(backbone: keras.Model, momentum: float) -> None:
    """Set how slowly the moving statistics of every batch normalisation follow the batches, 0 to below 1."""
    for layer in _batch_norms(backbone):
        layer.momentum = momentum


def synchronize_batch_norms(model: keras.Model) -> None:
    """Let batch normalisation see the whole batch where it is spread over several devices."""
    for layer in _batch_norms(model):
        layer.synchronized = True


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
