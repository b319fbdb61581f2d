"""The network that pretraining teaches: a classifier's backbone and head, and beside them a head that finds the blood.

Phantoms know where their blood is. Telling the network so for every place, not only once a slice, teaches more a step;
the lesion head is dropped afterwards.
"""

import keras

from ich_mlflow.labels import SUBTYPES, class_scheme
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import head_layers

LABELS_OUTPUT, LESIONS_OUTPUT = "labels", "lesions"
#: The lesion head answers for cells of so many pixels a side.
CELL = 4
#: Channels that the backbone's maps are brought to before they are added.
_CHANNELS = 48


def build_pretraining(*, name: str, backbone: keras.Model | None = None) -> keras.Model:
    """Pixels [B, S, S, 3] in [0, 255] to {labels: [B, 6], lesions: [B, S / 4, S / 4, 5]}, probabilities.

    S: any multiple of 32. labels: of the scheme with six classes, by a classifier's head. lesions: the share of each
    cell that is blood of each of SUBTYPES. name: a backbone with taps (model.backbones). Source of the lesion head:
    Lin et al., CVPR 2017 (feature pyramid networks).
    """
    if backbone is None:
        backbone = build_backbone(name=name, image_size=None)
    taps = [backbone.get_layer(tap).output for tap in BACKBONES[name].taps]
    x = keras.layers.GlobalAveragePooling2D(name="gap")(taps[-1])
    for layer in head_layers(num_labels=len(class_scheme(6).labels)):
        x = layer(x)
    return keras.Model(backbone.input, {LABELS_OUTPUT: x, LESIONS_OUTPUT: _lesions(taps)}, name="pretraining")


def _lesions(taps: list[keras.KerasTensor]) -> keras.KerasTensor:
    """From coarse to fine: each map is enlarged, added to the next finer one, and smoothed."""
    x = _narrowed(taps[-1])
    for tap in reversed(taps[:-1]):
        x = keras.layers.UpSampling2D(2)(x)
        x = keras.layers.Add()([x, _narrowed(tap)])
        x = keras.layers.SeparableConv2D(_CHANNELS, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.layers.Conv2D(len(SUBTYPES), 1, activation="sigmoid", dtype="float32", name=LESIONS_OUTPUT)(
        x
    )


def _narrowed(tap: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Conv2D(_CHANNELS, 1)(tap)
