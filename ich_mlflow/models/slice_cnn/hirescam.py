"""HiResCAM in closed form, on arrays: where in the feature maps a head finds what speaks for a label. No Keras.

The head after global average pooling is Dense, ReLU, Dense: around a slice it is linear, so the gradient of a label's
logit by the pooled features has a closed form, and is the same at every place of the feature map. HiResCAM and Grad-CAM
then differ by a constant factor, and the map sums to the logit's linear part. No gradient tape is needed.
With head=two_stage a subtype's logit is that of the subtype given a bleed: its map shows what speaks for it against the
other subtypes, and any's map what speaks for a bleed.
Sources: Selvaraju et al., ICCV 2017 (Grad-CAM); Draelos and Carin, arXiv 2011.08891 (HiResCAM).
"""

import numpy as np


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


def units_of_features(features: np.ndarray, dense: np.ndarray, dense_bias: np.ndarray) -> np.ndarray:
    """The head's units after ReLU, float32 [B, U], of feature maps [B, h, w, D]."""
    return np.maximum(features.mean(axis=(1, 2)) @ dense + dense_bias, 0).astype(np.float32)
