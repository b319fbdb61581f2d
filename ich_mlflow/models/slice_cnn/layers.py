"""Layers of our own: the first of every classifier, which resample and window HU in the graph, and a head's last.

Because they travel with the weights, training and serving cannot disagree about them.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ich_mlflow.ct.frame import BODY_HU, CELL, MARGIN, MIN_SIDE, MOST_OF_NINE
from ich_mlflow.ct.resample import resize_weights
from ich_mlflow.ct.window import Window
from ich_mlflow.models.ancestry import ANCESTRY_FILE, Ancestry

#: Names of the layer whose output is served, and of one before it where a head has its logits by themselves.
PROBABILITIES, LOGITS = "probabilities", "logits"


@keras.saving.register_keras_serializable(package="ich_mlflow")
class AreaResize(keras.layers.Layer):
    """Resample square slices [B, S, S, C] to [B, size, size, C]: averaged by area, or enlarged linearly.

    Two matrix products, so that every runtime gives the same pixels: library resizers differ in their
    antialiasing. Always in float32: bfloat16 has 8 bits for 4,000 Hounsfield units.

    ancestry: what the network has learned from, None where nothing tells. It is here because Keras gives a layer a
    folder inside the .keras file, so that whoever copies the file copies the record.
    """

    ancestry: Ancestry | None = None

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

    def save_assets(self, folder: str) -> None:
        """Keras calls it while a .keras file is written."""
        if self.ancestry is not None:
            (Path(folder) / ANCESTRY_FILE).write_bytes(self.ancestry.to_bytes())

    def load_assets(self, folder: str | None) -> None:
        """Keras calls it while a .keras file is read; None where the file holds nothing of this layer."""
        path = Path(folder) / ANCESTRY_FILE if folder else None
        self.ancestry = Ancestry.from_bytes(path.read_bytes()) if path and path.is_file() else None


@keras.saving.register_keras_serializable(package="ich_mlflow")
class HeadResize(AreaResize):
    """Resample the frame of the head in square slices [B, S, S, C], S a multiple of 4, to [B, size, size, C].

    The frame is that of the slice in the middle, so that its neighbours stay in line with it. Of operations that
    every runtime has: means, comparisons and matrix products. The NumPy twin is ct/frame.py.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        if int(input_shape[1] or 0) % CELL:
            raise ValueError(f"HeadResize takes slices of a multiple of {CELL} pixels, got {input_shape}")

    def call(self, hu: Any) -> Any:
        top, left, side = self._frames(hu)
        rows, columns = (self._frame_weights(start, side, hu.shape[1]) for start in (top, left))
        image = ops.transpose(hu, (0, 3, 1, 2))
        image = ops.matmul(ops.matmul(rows, image), ops.transpose(columns, (0, 1, 3, 2)))
        return ops.transpose(image, (0, 2, 3, 1))

    def _frames(self, hu: Any) -> tuple[Any, Any, Any]:
        """Top, left and side of each slice's frame in pixels, [B, 1, 1, 1] each."""
        size, middle = hu.shape[1], hu.shape[-1] // 2
        means = ops.average_pool(hu[..., middle : middle + 1], CELL, strides=CELL, padding="valid")
        body = ops.pad(ops.cast(means > BODY_HU, "float32"), ((0, 0), (1, 1), (1, 1), (0, 0)))
        around = ops.average_pool(body, 3, strides=1, padding="valid")
        head = ops.cast(around > MOST_OF_NINE, "float32")
        (top, bottom), (left, right) = (_ends(ops.max(head, axis=axis)) for axis in (2, 1))
        longest = ops.maximum(bottom - top, right - left) * CELL
        found = ops.cast(longest > 0, "float32")
        side = ops.minimum(ops.maximum(longest + 2 * MARGIN * size, MIN_SIDE * size), float(size))
        side = found * side + (1.0 - found) * size
        starts = [
            ops.minimum(ops.maximum((low + high) * (CELL / 2) - side / 2, 0.0), size - side)
            for low, high in ((top, bottom), (left, right))
        ]
        top, left, side = (ops.reshape(one, (-1, 1, 1, 1)) for one in (*starts, side))
        return top, left, side

    def _frame_weights(self, start: Any, side: Any, source: int) -> Any:
        """Weights [B, 1, size, source] that resample `side` pixels from `start` on."""
        steps = ops.convert_to_tensor((np.arange(self.size, dtype=np.float32) + 0.5)[:, None])
        pixels = ops.convert_to_tensor(np.arange(source, dtype=np.float32))
        scale = side / self.size
        centre = start + steps * scale
        half = ops.maximum(scale, 1.0) / 2
        overlap = ops.minimum(centre + half, pixels + 1.0) - ops.maximum(centre - half, pixels)
        weights = ops.maximum(overlap, 0.0)
        return weights / ops.sum(weights, axis=-1, keepdims=True)


def _ends(occupied: Any) -> tuple[Any, Any]:
    """First place and one behind the last of [B, n, 1] that is 1; n and 0 where none is: [B, 1] each."""
    places = ops.convert_to_tensor(np.arange(occupied.shape[1], dtype=np.float32)[:, None])
    first = ops.min(places + (1.0 - occupied) * float(occupied.shape[1]), axis=1)
    return ops.minimum(first, float(occupied.shape[1])), ops.max((places + 1.0) * occupied, axis=1)


def carry_ancestry(model: keras.Model, ancestry: Ancestry) -> None:
    """Let the classifier's .keras files say what it has learned from. A network of other layers carries nothing."""
    for layer in _resizing(model):
        layer.ancestry = ancestry


def carried_ancestry(model: keras.Model) -> Ancestry | None:
    """What the classifier says that it has learned from; None where it says nothing."""
    return next((layer.ancestry for layer in _resizing(model)), None)


def _resizing(model: keras.Model) -> list[AreaResize]:
    return [layer for layer in model.layers if isinstance(layer, AreaResize)]


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


@keras.saving.register_keras_serializable(package="ich_mlflow")
class DetectionTimesSubtype(keras.layers.Layer):
    """Logits [B, L] of any bleed, and of each subtype given a bleed, to probabilities [B, L] of the labels.

    p_any = sigmoid(z_any), p_s = p_any * sigmoid(z_s): no subtype is likelier than a bleed. Always in float32.
    any_at: the place of any among the labels.
    """

    def __init__(self, any_at: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.any_at = any_at

    def call(self, logits: Any) -> Any:
        given = ops.sigmoid(logits)
        detected = given[:, self.any_at : self.any_at + 1]
        # a product with ones in any's place, since every runtime has that
        is_any = [float(number == self.any_at) for number in range(logits.shape[-1])]
        own = ops.convert_to_tensor(is_any, dtype=logits.dtype)
        return given * (own + (1.0 - own) * detected)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "any_at": self.any_at}


def is_framed(model: keras.Model) -> bool:
    """Whether the classifier sees the frame of the head alone."""
    return any(isinstance(layer, HeadResize) for layer in model.layers)


def logits_layer(model: keras.Model) -> keras.layers.Dense:
    """The classifier's layer whose kernel [U, L] and bias [L] make the logits, whatever makes probabilities of them."""
    names = {layer.name for layer in model.layers}
    return model.get_layer(LOGITS if LOGITS in names else PROBABILITIES)
