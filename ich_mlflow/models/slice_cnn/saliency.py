"""Where the Keras network found what speaks for a label: HiResCAM of its feature maps (see hirescam.py)."""

import keras
import numpy as np

from ich_mlflow.ct.frame import head_frames, into_place
from ich_mlflow.models.slice_cnn.classifier import feature_maps_of
from ich_mlflow.models.slice_cnn.hirescam import maps_of_features
from ich_mlflow.models.slice_cnn.layers import is_framed, logits_layer


def saliency_maps(model: keras.Model, hu: np.ndarray) -> np.ndarray:
    """Maps float32 [B, L, h, w] of HU [B, 256, 256, 1 + 2 * context], at the feature map's resolution.

    Above 0 a place speaks for the label, below against it; a heat map shows the first alone.

    h = w = image_size / 32 for the EfficientNets, and twice that with framing=head, whose maps are put back into place:
    the map covers the whole square slice.
    """
    features = np.asarray(feature_maps_of(model)(hu.astype(np.float32)))
    dense, bias = model.get_layer("dense").get_weights()
    output, _ = logits_layer(model).get_weights()
    maps = maps_of_features(features, dense, bias, output)
    if not is_framed(model):
        return maps
    return into_place(maps, head_frames(hu[..., hu.shape[-1] // 2]), hu.shape[1])
