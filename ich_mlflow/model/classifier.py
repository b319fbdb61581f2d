"""The reference classifier: EfficientNet-B0, global average pooling, dense head, one sigmoid a label."""

import keras

from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.ct.window import Window
from ich_mlflow.model.layers import AreaResize, WindowChannels


def build_classifier(
    *,
    num_labels: int,
    image_size: int = 224,
    windows: tuple[Window, ...],
    dense_units: int = 128,
    dropout: float = 0.3,
    backbone: keras.Model | None = None,
) -> keras.Model:
    """Build the classifier with HU float32 [B, 256, 256, 1] in and probabilities [B, num_labels] out.

    backbone: an EfficientNet-B0 without top for [B, image_size, image_size, 3] in [0, 255]; random weights
    where None. Randomness follows keras.utils.set_random_seed.
    """
    if backbone is None:
        backbone = build_backbone(image_size=image_size)
    hu = keras.Input((STORED_SIZE, STORED_SIZE, 1), name="hu")
    x = AreaResize(image_size, name="resize")(hu)
    x = WindowChannels([[w.center, w.width] for w in windows], name="windows")(x)
    x = backbone(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    x = keras.layers.Dense(dense_units, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(num_labels, activation="sigmoid", dtype="float32", name="probabilities")(x)
    return keras.Model(hu, x, name="ich_classifier")


def set_batch_norm_momentum(backbone: keras.Model, momentum: float) -> None:
    """Set how slowly the moving statistics of every batch normalisation follow the batches, 0 to below 1."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def build_backbone(*, image_size: int, weights: str | None = None) -> keras.Model:
    """EfficientNet-B0 without top (Tan and Le, 2019) for pixels in [0, 255]; weights None or `imagenet`.

    With `imagenet` Keras takes the file from its cache (~/.keras/models) or downloads it; whatever that
    raises passes through.
    """
    # No name of our own: Keras makes the name of the file to download from it.
    return keras.applications.EfficientNetB0(
        include_top=False, weights=weights, input_shape=(image_size, image_size, 3)
    )
