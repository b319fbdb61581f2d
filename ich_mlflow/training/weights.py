"""Where the backbone's weights come from: ImageNet, a file, or chance. Always said, never guessed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

from ich_mlflow.errors import ModelError
from ich_mlflow.model.classifier import build_backbone

#: A firewall that swallows packets must not hold a training run up for minutes.
CONNECT_TIMEOUT_S = 20


@dataclass(frozen=True, kw_only=True)
class Start:
    """A backbone and where its weights come from: name is imagenet, random or file:<name>; said is one line."""

    backbone: keras.Model
    name: str
    said: str


def start_backbone(weights: str, *, image_size: int) -> Start:
    """Build EfficientNet-B0 and load its weights.

    weights: `imagenet`, `random`, the path of a .keras or .weights.h5 file, or `auto`: ImageNet where Keras
    has or can download it, else random. Raises ModelError where what was asked for can't be had.
    """
    if weights == "random":
        return _random(image_size, "weights: EfficientNet-B0 starts at random")
    if weights in ("auto", "imagenet"):
        return _imagenet(image_size, required=weights == "imagenet")
    return _from_file(Path(weights), image_size)


def _random(image_size: int, said: str) -> Start:
    return Start(backbone=build_backbone(image_size=image_size), name="random", said=said)


def _imagenet(image_size: int, *, required: bool) -> Start:
    try:
        with _connect_timeout(CONNECT_TIMEOUT_S):
            backbone = build_backbone(image_size=image_size, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception where the download fails
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if required:
            raise ModelError(
                f"weights=imagenet can't be had ({reason}): put efficientnetb0_notop.h5 into "
                "~/.keras/models, or pass -P weights=<path>, or -P weights=random"
            ) from None
        return _random(
            image_size,
            f"weights: ImageNet can't be had ({reason}), so EfficientNet-B0 starts at random; expect little "
            "from a small data set",
        )
    return Start(backbone=backbone, name="imagenet", said="weights: EfficientNet-B0 starts from ImageNet")


def _from_file(path: Path, image_size: int) -> Start:
    if not path.is_file():
        raise ModelError(
            f"weights file {path} does not exist, expected auto, imagenet, random, or a .keras or .weights.h5 "
            "file"
        )
    backbone = build_backbone(image_size=image_size)
    try:
        if path.suffix == ".keras":
            backbone.set_weights(_backbone_of(keras.models.load_model(path, compile=False)).get_weights())
        else:
            backbone.load_weights(path)
    except Exception as error:  # Keras' readers raise many kinds for a file that doesn't fit
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"weights file {path} does not fit EfficientNet-B0 without top ({reason}): expected a classifier "
            "or backbone that Keras saved as .keras, or its weights as .weights.h5"
        ) from None
    return Start(
        backbone=backbone, name=f"file:{path.name}", said=f"weights: EfficientNet-B0 starts from {path}"
    )


def _backbone_of(model: keras.Model) -> keras.Model:
    """The backbone inside a classifier of ours, or the model itself where it is a bare backbone."""
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return inner[0] if inner else model


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
