"""EfficientNet-Lite0 in Keras: EfficientNet-B0 without squeeze-and-excite and with ReLU6, made for CPUs and int8.

Keras' applications lack it. Layers are named as those of Keras' EfficientNet-B0, whose convolutions have the same
shapes. Sources: Tan and Le, ICML 2019 (arXiv 1905.11946, table 1); for Lite, the TensorFlow TPU repository,
models/official/efficientnet/lite.
"""

from dataclasses import dataclass

import keras

#: Lite's own normalisation of pixels in [0, 255]: (x - 127) / 128.
PIXEL_MEAN, PIXEL_DEVIATION = 127.0, 128.0
_EPSILON = 1e-3
#: What the B0 of the paper drops of its last block's path; earlier blocks less, in proportion.
_DROP_CONNECT = 0.2


@dataclass(frozen=True, kw_only=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


def build_lite0(*, input_shape: tuple[int | None, ...]) -> keras.Model:
    """EfficientNet-Lite0 without top and with random weights: pixels [B, H, W, C] in [0, 255] to [B, h, w, 1280].

    h = H / 32, rounded up; convolutions pad as TensorFlow's `same`.
    """
    pixels = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / PIXEL_DEVIATION, -PIXEL_MEAN / PIXEL_DEVIATION, name="rescaling")(pixels)
    x = _convolved(x, 32, "stem_conv", "stem_bn", kernel=3, stride=2)
    num_blocks, done = sum(stage.repeats for stage in _STAGES), 0
    for number, stage in enumerate(_STAGES, start=1):
        for repeat in range(stage.repeats):
            name = f"block{number}{chr(ord('a') + repeat)}_"
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, name, stride=stride, drop=_DROP_CONNECT * done / num_blocks)
            done += 1
    x = _convolved(x, 1280, "top_conv", "top_bn", kernel=1)
    return keras.Model(pixels, x, name="efficientnet_lite0")


def _block(x: keras.KerasTensor, stage: _Stage, name: str, *, stride: int, drop: float) -> keras.KerasTensor:
    """Expand, filter each channel, project; with a way around where the shape stays."""
    before, channels = x, x.shape[-1]
    if stage.expansion > 1:
        x = _convolved(x, channels * stage.expansion, f"{name}expand_conv", f"{name}expand_bn", kernel=1)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}dwconv",
    )(x)
    x = _activated(_normalized(x, f"{name}bn"), f"{name}activation")
    x = _convolution(x, stage.filters, f"{name}project_conv", kernel=1)
    x = _normalized(x, f"{name}project_bn")
    if stride != 1 or channels != stage.filters:
        return x
    if drop:
        x = keras.layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return keras.layers.Add(name=f"{name}add")([x, before])


def _convolved(
    x: keras.KerasTensor, filters: int, name: str, norm: str, *, kernel: int, stride: int = 1
) -> keras.KerasTensor:
    x = _convolution(x, filters, name, kernel=kernel, stride=stride)
    return _activated(_normalized(x, norm), norm.replace("_bn", "_activation"))


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int, stride: int = 1
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=name,
    )(x)


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _activated(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(max_value=6.0, name=name)(x)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")
