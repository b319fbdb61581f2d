"""A backbone as a Keras graph without top, for one slice or for a slice amid its neighbours."""

from collections.abc import Sequence

import keras
import numpy as np

from ich_mlflow.models.slice_cnn.backbones import BACKBONES

#: Of pixels in [0, 1], as Keras and its files have them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)


def build_backbone(
    *, name: str = "efficientnet-b0", image_size: int | None, weights: str | None = None, num_slices: int = 1
) -> keras.Model:
    """The backbone of that name without top, for [B, image_size, image_size, 3 * num_slices] in [0, 255].

    image_size: None for images of any size. weights: None for random ones or `imagenet`. With that Keras takes the file
    from its cache (~/.keras/models) or downloads it, but of Lite0, whose weights come with the package; whatever that
    raises passes through. With several slices ImageNet's stem is inflated; a random one sees all of them.
    """
    # No name of our own: Keras makes the name of the file to download from it.
    build, shape = BACKBONES[name].build, (image_size, image_size, 3)
    backbone = _normalized_alike(build(include_top=False, weights=None, input_shape=shape))
    if weights is not None:
        backbone.set_weights(weights_of(build(include_top=False, weights=weights, input_shape=shape)))
    if num_slices == 1:
        return backbone
    return _widened(backbone, num_slices) if weights is None else inflate(backbone, num_slices)


def _normalized_alike(backbone: keras.Model) -> keras.Model:
    """The backbone with ImageNet's normalisation of pixels as constants, whatever weights it gets.

    Keras gives EfficientNet-B0 another graph with ImageNet weights (a further rescaling) than without, and keeps mean
    and variance as variables that its layer reads only while it loads a file: weights alone would not be the network.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            return keras.layers.Normalization(mean=IMAGENET_MEAN, variance=IMAGENET_VARIANCE, name=layer.name)
        # A layer of its own: one that stood in both graphs would have two outputs.
        return type(layer).from_config(layer.get_config())

    if not any(isinstance(layer, keras.layers.Normalization) and layer.weights for layer in backbone.layers):
        return backbone
    return keras.models.clone_model(backbone, clone_function=clone)


def weights_of(backbone: keras.Model) -> list[np.ndarray]:
    """What the backbone has learned: its weights but for the statistics of pixels, which are constants here.

    Raises ValueError where those are not ImageNet's.
    """
    learned: list[np.ndarray] = []
    for layer in backbone.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.Normalization) and weights:
            # In ImageNet's file the variance is the deviation; Keras' further rescaling makes up for it.
            if not np.allclose(np.ravel(weights[0]), IMAGENET_MEAN, atol=1e-3):
                raise ValueError("it normalises pixels otherwise than ImageNet's networks")
            continue
        learned += weights
    return learned


def inflate(backbone: keras.Model, num_slices: int) -> keras.Model:
    """The backbone for 3 * num_slices channels, whose stem sees the slice in the middle as before and no neighbour yet.

    So its maps are those that the middle slice had alone, whatever its neighbours show, and training goes on from
    there: weights of zero get gradients like others. Shared out over the slices instead, the stem would begin with
    their blurred mean. num_slices: odd. Source: Arnab et al., ICCV 2021 (ViViT), 3.4, central frame initialisation.
    """
    inflated = _widened(backbone, num_slices)
    set_weights(inflated, backbone.get_weights())
    return inflated


def _widened(backbone: keras.Model, num_slices: int) -> keras.Model:
    """The backbone's graph for 3 * num_slices channels with random weights; every slice is normalised alike."""
    *size, channels = backbone.input_shape[1:]

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Sequential):
            inner = keras.Sequential([clone(one) for one in layer.layers], name=layer.name)
            return inner
        config = layer.get_config()
        for key in ("mean", "variance", "scale", "offset"):
            if isinstance(config.get(key), (list, tuple, np.ndarray)):
                config[key] = np.tile(np.asarray(config[key]).reshape(-1), num_slices).tolist()
        return type(layer).from_config(config)

    return keras.models.clone_model(
        backbone, input_tensors=keras.Input((*size, channels * num_slices)), clone_function=clone
    )


def set_weights(backbone: keras.Model, weights: Sequence[np.ndarray]) -> None:
    """Give the backbone weights of its own kind, or of the same for one slice, which are inflated.

    Raises ValueError where they do not fit.
    """
    shapes = [tuple(weight.shape) for weight in backbone.weights]
    if len(shapes) != len(weights):
        raise ValueError(f"{len(weights)} weights, expected {len(shapes)}")
    backbone.set_weights([_inflated(weight, shape) for weight, shape in zip(weights, shapes, strict=True)])


def _inflated(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if weight.shape == shape:
        return weight
    if len(shape) == weight.ndim == 4 and shape[2] % weight.shape[2] == 0:  # a kernel, and its input channels
        beside = (
            shape[2] - weight.shape[2]
        ) // 2  # channels before those of the slice in the middle, and after
        whole = np.pad(weight, ((0, 0), (0, 0), (beside, beside), (0, 0)))
        if whole.shape == shape:
            return whole
    raise ValueError(f"a weight has shape {weight.shape}, expected {shape}")
