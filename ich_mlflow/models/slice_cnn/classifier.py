"""The classifier: a backbone, global average pooling, dense head, a probability of each label. And parts of it."""

from collections.abc import Sequence
from typing import Any

import keras

from ich_mlflow.ct.frame import HEAD, IMAGE
from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.ct.window import Window
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.heads import HEADS
from ich_mlflow.models.slice_cnn.layers import LOGITS, PROBABILITIES, AreaResize, HeadResize, WindowChannels
from ich_mlflow.models.slice_cnn.lesion_head import lesion_maps

_POOLING = "gap"
_HEAD = ("dense", "dropout", LOGITS, PROBABILITIES)


def build_classifier(
    *,
    num_labels: int,
    image_size: int = 224,
    framing: str = IMAGE,
    windows: tuple[Window, ...],
    context: int = 0,
    dense_units: int = 128,
    dropout: float = 0.3,
    head: str = "flat",
    backbone: keras.Model | None = None,
    taps: Sequence[str] = (),
) -> keras.Model:
    """Build the classifier with HU float32 [B, 256, 256, 1 + 2 * context] in, probabilities [B, num_labels] out.

    framing: image, or head for the square around the head alone. head: one of HEADS. taps: the backbone's layers
    whose maps a lesion head takes; with them the second output is where in what is seen the blood is, [B,
    image_size / 4, image_size / 4, 5].
    backbone: without top, for [B, image_size, image_size, 3 * (1 + 2 * context)] in [0, 255]; EfficientNet-B0
    with random weights where None. Randomness follows keras.utils.set_random_seed. Under a mixed precision
    policy the probabilities, and everything before the backbone, stay float32.
    """
    num_slices = 1 + 2 * context
    if backbone is None:
        backbone = build_backbone(image_size=image_size, num_slices=num_slices)
    hu = keras.Input((STORED_SIZE, STORED_SIZE, num_slices), name="hu", dtype="float32")
    resize = HeadResize if framing == HEAD else AreaResize
    x = resize(image_size, name="resize")(hu)
    x = WindowChannels([[w.center, w.width] for w in windows], name="windows")(x)
    if taps:
        # The last tap is what is pooled, and stands first: so the layers keep the order of the backbone alone.
        maps = [backbone.get_layer(tap).output for tap in (taps[-1], *taps[:-1])]
        x, *finer = keras.Model(backbone.input, maps, name=backbone.name)(x)
        lesions = [lesion_maps([*finer, x])]
    else:
        x, lesions = backbone(x), []
    x = keras.layers.GlobalAveragePooling2D(name=_POOLING)(x)
    for layer in head_layers(num_labels=num_labels, dense_units=dense_units, dropout=dropout, head=head):
        x = layer(x)
    return keras.Model(hu, [x, *lesions] if lesions else x, name="ich_classifier")


def labels_of(model: keras.Model) -> keras.Model:
    """The classifier up to its probabilities: itself, or without what its lesion head says."""
    if len(model.outputs) == 1:
        return model
    alone = keras.Model(model.input, model.outputs[0], name=model.name)
    alone.jit_compile = model.jit_compile
    return alone


def head_layers(
    *, num_labels: int, dense_units: int = 128, dropout: float = 0.3, head: str = "flat"
) -> tuple[keras.layers.Layer, ...]:
    """The layers from pooled features to the probability of each label."""
    return (
        keras.layers.Dense(dense_units, activation="relu", name="dense"),
        keras.layers.Dropout(dropout, name="dropout"),
        *HEADS[head].output(num_labels),
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
    layers = {layer.name: layer for layer in model.layers}
    for name in _HEAD:
        if name in layers:
            x = layers[name](x)
    return x


def set_batch_norm_momentum(backbone: keras.Model, momentum: float) -> None:
    """Set how slowly the moving statistics of every batch normalisation follow the batches, 0 to below 1."""
    for layer in batch_norms(backbone):
        layer.momentum = momentum


def synchronize_batch_norms(model: keras.Model) -> None:
    """Let batch normalisation see the whole batch where it is spread over several devices."""
    for layer in batch_norms(model):
        layer.synchronized = True


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Every batch normalisation in the model, those within its backbone among them."""
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
