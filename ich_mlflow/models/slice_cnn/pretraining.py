"""The network that pretraining teaches: a classifier's backbone and head, and beside them a head that finds the blood.

Phantoms know where their blood is. Telling the network so for every place, not only once a slice, teaches more a step.
Both heads stay in the file of weights; a training without a lesion head passes it over.
"""

import keras

from ich_mlflow.labels import class_scheme
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import head_layers
from ich_mlflow.models.slice_cnn.lesion_head import LESIONS_OUTPUT, lesion_maps

LABELS_OUTPUT = "labels"


def build_pretraining(*, name: str, backbone: keras.Model | None = None) -> keras.Model:
    """Pixels [B, S, S, 3] in [0, 255] to {labels: [B, 6], lesions: [B, S / 4, S / 4, 5]}, probabilities.

    S: any multiple of 32. labels: of the scheme with six classes, by a classifier's head. lesions: the share of each
    cell that is blood of each of SUBTYPES. name: a backbone with taps (model.backbones).
    """
    if backbone is None:
        backbone = build_backbone(name=name, image_size=None)
    taps = [backbone.get_layer(tap).output for tap in BACKBONES[name].taps]
    x = keras.layers.GlobalAveragePooling2D(name="gap")(taps[-1])
    for layer in head_layers(num_labels=len(class_scheme(6).labels)):
        x = layer(x)
    return keras.Model(
        backbone.input, {LABELS_OUTPUT: x, LESIONS_OUTPUT: lesion_maps(taps)}, name="pretraining"
    )
