"""Where the network found what speaks for a label: HiResCAM, in closed form for this head.

The head after global average pooling is Dense, ReLU, Dense: around a slice it is linear, so the gradient of a label's
logit by the pooled features has a closed form, and is the same at every place of the feature map. HiResCAM and Grad-CAM
then differ by a constant factor, and the map sums to the logit's linear part. No gradient tape, so any backend does.
Sources: Selvaraju et al., ICCV 2017 (Grad-CAM); Draelos and Carin, arXiv 2011.08891 (HiResCAM).
"""

import keras
import numpy as np

from ich_mlflow.model.classifier import feature_maps_of


def saliency_maps(model: keras.Model, hu: np.ndarray) -> np.ndarray:
    """Maps float32 [B, L, h, w] of HU [B, 256, 256, 1 + 2 * context], at the feature map's resolution.

    Above 0 a place speaks for the label, below against it; a heat map shows the first alone.

    h = w = image_size / 32 for the EfficientNets: the map covers the whole square slice.
    """
    features = np.asarray(feature_maps_of(model)(hu.astype(np.float32)))
    dense, bias = model.get_layer("dense").get_weights()
    output, _ = model.get_layer("probabilities").get_weights()
    return maps_of_features(features, dense, bias, output)


def maps_of_features(
    features: np.ndarray, dense: np.ndarray, dense_bias: np.ndarray, output: np.ndarray
) -> np.ndarray:
    """Maps [B, L, h, w] of feature maps [B, h, w, D] under a head of weights [D, U], [U] and [U, L]."""
    pooled = features.mean(axis=(1, 2))
    open_gates = pooled @ dense + dense_bias > 0
    # [B, L, D]: how much each feature, pooled, raises each logit
    slopes = np.einsum("bu,ul,du->bld", open_gates, output, dense, optimize=True)
    maps = np.einsum("bhwd,bld->blhw", features, slopes, optimize=True) / np.prod(features.shape[1:3])
    return maps.astype(np.float32)
