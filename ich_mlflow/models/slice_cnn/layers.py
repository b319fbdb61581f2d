"""The first layers of every classifier: resample and window Hounsfield units inside the graph.

Because they travel with the weights, training and serving cannot disagree about them.
"""

from typing import Any

import keras
from keras import ops

from ich_mlflow.ct.resample import resize_weights
from ich_mlflow.ct.window import Window


@keras.saving.register_keras_serializable(package="ich_mlflow")
class AreaResize(keras.layers.Layer):
    """Resample square slices [B, S, S, C] to [B, size, size, C]: averaged by area, or enlarged linearly.

    Two matrix products, so that every runtime gives the same pixels: library resizers differ in their
    antialiasing. Always in float32: bfloat16 has 8 bits for 4,000 Hounsfield units.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.size = size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[1] is None or input_shape[1] != input_shape[2]:
            raise ValueError(f"AreaResize takes square slices, got input shape {input_shape}")
        self._weights_matrix = resize_weights(input_shape[1], self.size)

    def call(self, hu: Any) -> Any:
        weights = ops.convert_to_tensor(self._weights_matrix, dtype=hu.dtype)
        if hu.shape[-1] == 1:
            image = ops.squeeze(hu, axis=-1)
            image = ops.matmul(ops.matmul(weights, image), ops.transpose(weights))
            return ops.expand_dims(image, axis=-1)
        image = ops.transpose(hu, (0, 3, 1, 2))
        image = ops.matmul(ops.matmul(weights, image), ops.transpose(weights))
        return ops.transpose(image, (0, 2, 3, 1))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.size, self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="ich_mlflow")
class WindowChannels(keras.layers.Layer):
    """Window HU [B, H, W, C] to channels [B, H, W, 3 * C] in [0, 255], what Keras' backbones take.

    windows: (center, width) pairs in HU; one is repeated over three channels. With C slices the first three
    channels are the first slice's windows. Always in float32.
    Source: DICOM PS3.3 C.11.2.1.2.1; the NumPy twin is ct.window.apply_windows.
    """

    def __init__(self, windows: list[list[float]], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.windows = [[float(center), float(width)] for center, width in windows]

    def call(self, hu: Any) -> Any:
        pairs = [Window(center, width).scale_and_offset for center, width in self.windows]
        channels = pairs * 3 if len(pairs) == 1 else pairs
        slices = hu.shape[-1]
        if slices > 1:
            hu = ops.repeat(hu, 3, axis=-1)
        scales = ops.convert_to_tensor([scale for scale, _ in channels] * slices, dtype=hu.dtype)
        offsets = ops.convert_to_tensor([offset for _, offset in channels] * slices, dtype=hu.dtype)
        return ops.clip(hu * scales + offsets, 0.0, 1.0) * 255.0

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 3 * int(input_shape[-1] or 1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "windows": self.windows}
