"""Where the backbone's weights come from: ImageNet, a file, or chance. Always said, never guessed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras

from ich_mlflow.errors import ModelError
from ich_mlflow.model.backbones import BACKBONES, build_backbone, set_weights, weights_of
from ich_mlflow.model.classifier import backbone_of

#: A firewall that swallows packets must not hold a training run up for minutes.
CONNECT_TIMEOUT_S = 20


@dataclass(frozen=True, kw_only=True)
class Start:
    """A backbone and where its weights come from: name is imagenet, random or file:<name>; said is one line."""

    backbone: keras.Model
    name: str
    said: str


def start_backbone(
    weights: str, *, image_size: int, name: str = "efficientnet-b0", num_slices: int = 1
) -> Start:
    """Build the backbone of that name and load its weights; with several slices those of the stem are inflated.

    weights: `imagenet`, `random`, the path of a .keras or .weights.h5 file, or `auto`: ImageNet where Keras
    has or can download it, else random. Raises ModelError where what was asked for can't be had.
    """
    starter = _Starter(name=name, image_size=image_size, num_slices=num_slices)
    if weights == "random":
        return starter.random(f"weights: {starter.title} starts at random")
    if weights in ("auto", "imagenet"):
        return starter.imagenet(required=weights == "imagenet")
    return starter.from_file(Path(weights))


@dataclass(frozen=True, kw_only=True)
class _Starter:
    """Which backbone starts."""

    name: str
    image_size: int
    num_slices: int

    @property
    def title(self) -> str:
        return BACKBONES[self.name].title

    def build(self, *, weights: str | None = None, num_slices: int | None = None) -> keras.Model:
        return build_backbone(
            name=self.name,
            image_size=self.image_size,
            weights=weights,
            num_slices=num_slices or self.num_slices,
        )

    def random(self, said: str) -> Start:
        return Start(backbone=self.build(), name="random", said=said)

    def imagenet(self, *, required: bool) -> Start:
        try:
            with _connect_timeout(CONNECT_TIMEOUT_S):
                backbone = self.build(weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception where the download fails
            if required:
                raise ModelError(
                    f"weights=imagenet can't be had ({_first_line(error)}): put {BACKBONES[self.name].file} into "
                    "~/.keras/models, or pass -P weights=<path>, or -P weights=random"
                ) from None
            return self.random(
                f"weights: ImageNet can't be had ({_first_line(error)}), so {self.title} starts at random; expect "
                "little from a small data set"
            )
        return Start(backbone=backbone, name="imagenet", said=f"weights: {self.title} starts from ImageNet")

    def from_file(self, path: Path) -> Start:
        if not path.is_file():
            raise ModelError(
                f"weights file {path} does not exist, expected auto, imagenet, random, or a .keras or .weights.h5 "
                "file"
            )
        try:
            backbone = self._read(path)
        except Exception as error:  # Keras' readers raise many kinds for a file that doesn't fit
            raise ModelError(
                f"weights file {path} does not fit {self.title} without top ({_first_line(error)}): expected a "
                "classifier or backbone that Keras saved as .keras, or its weights as .weights.h5"
            ) from None
        return Start(
            backbone=backbone, name=f"file:{path.name}", said=f"weights: {self.title} starts from {path}"
        )

    def _read(self, path: Path) -> keras.Model:
        backbone = self.build()
        if path.suffix == ".keras":
            set_weights(backbone, weights_of(backbone_of(keras.models.load_model(path, compile=False))))
            return backbone
        try:
            backbone.load_weights(path)
        except ValueError:
            if self.num_slices == 1:
                raise
            alone = self.build(num_slices=1)
            alone.load_weights(path)
            set_weights(backbone, alone.get_weights())
        return backbone


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
