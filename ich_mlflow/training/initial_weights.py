"""Where the backbone's weights come from: ImageNet, phantoms, a file, or chance. Always said, never guessed."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np

from ich_mlflow.errors import ModelError, first_line, nearest
from ich_mlflow.models.ancestry import Ancestry, not_known
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone, inflate, set_weights, weights_of
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import backbone_of
from ich_mlflow.models.slice_cnn.layers import carried_ancestry
from ich_mlflow.models.slice_cnn.lesion_head import lesion_head_among, lesion_head_of
from ich_mlflow.models.weights import WITHOUT_PATIENTS, put_weights, read_weights, shipped_path

#: A firewall that swallows packets must not hold a training run up for minutes.
CONNECT_TIMEOUT_S = 20
#: With fewer patients to learn from, weights from phantoms come before ImageNet's: on 50 patients they were ahead
#: (docs/weights.md), on the thousands of RSNA 2019 ImageNet's are what the reference models have. Between is a guess.
FEW_PATIENTS = 200


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """A backbone and where its weights come from: said is one line.

    name: imagenet, phantom, random, file:<name>, or a model's URI. ancestry: what the weights have learned from.
    lesion_head: weights of a lesion head that came with them, by `<layer>/<number>`.
    """

    backbone: keras.Model
    name: str
    said: str
    ancestry: Ancestry
    lesion_head: Mapping[str, np.ndarray] = field(default_factory=dict)


def ancestry_of_start(name: str) -> Ancestry:
    """What initial weights of that name have learned from, as far as the name tells."""
    return WITHOUT_PATIENTS.get(name) or not_known(name)


def initial_backbone(
    weights: str,
    *,
    image_size: int | None,
    name: str = "efficientnet-b0",
    num_slices: int = 1,
    known_as: str | None = None,
    patients: int | None = None,
) -> InitialWeights:
    """Build the backbone of that name and load its weights; of several slices trained ones see the middle at first.

    weights: `imagenet`; `phantom`, which come with the package; `random`; the path of a .keras, .weights.h5 or .npz
    file; or `auto`: with fewer than FEW_PATIENTS patients phantom; ImageNet where it is at hand or Keras can download
    it, else phantom, else (a backbone that has no such weights) random. known_as: the model whose file the path is.
    patients: how many there are to learn from, None where nobody knows. Raises ModelError where what was asked for
    can't be had.
    """
    starter = _Starter(name=name, image_size=image_size, num_slices=num_slices)
    if weights == "random":
        return starter.random(f"weights: {starter.title} starts at random")
    if weights == "phantom":
        return starter.phantom()
    if weights == "imagenet":
        return starter.imagenet()
    return (
        starter.auto(patients) if weights == "auto" else starter.from_file(Path(weights), known_as=known_as)
    )


@dataclass(frozen=True, eq=False)
class _Read:
    """What a file holds: ancestry None where it says nothing."""

    backbone: keras.Model
    ancestry: Ancestry | None
    lesion_head: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Starter:
    """Which backbone starts."""

    name: str
    image_size: int | None
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

    def random(self, said: str) -> InitialWeights:
        return self._without_patients(self.build(), "random", said)

    def auto(self, patients: int | None) -> InitialWeights:
        """Phantom for few patients; ImageNet, else phantom, else random. Why not ImageNet is said."""
        if patients is not None and patients < FEW_PATIENTS and self._phantom_path.exists():
            return self.phantom(
                f"weights: {self.title} starts from this project's phantoms, since {patients:,} patients are fewer "
                f"than {FEW_PATIENTS}; for others pass -P weights=imagenet"
            )
        try:
            return self._imagenet()
        except Exception as error:  # Keras raises a bare Exception where the download fails
            reason = f"weights: ImageNet can't be had ({first_line(error)}), so"
        if not self._phantom_path.exists():
            return self.random(f"{reason} {self.title} starts at random; expect little from a small data set")
        return self.phantom(f"{reason} {self.title} starts from this project's phantoms")

    def imagenet(self) -> InitialWeights:
        try:
            return self._imagenet()
        except ModelError:  # of a file that comes with the package: nothing to fetch
            raise
        except Exception as error:  # as above
            file = BACKBONES[self.name].file
            put = f"put {file} into ~/.keras/models, or " if file else ""
            raise ModelError(
                f"weights=imagenet can't be had ({first_line(error)}): {put}pass -P backbone=efficientnet-lite0, "
                "whose ImageNet weights come with the package, -P weights=phantom, or -P weights=<path>"
            ) from None

    def _imagenet(self) -> InitialWeights:
        if not BACKBONES[self.name].file:
            raise LookupError(f"there are none of {self.title}")
        with _connect_timeout(CONNECT_TIMEOUT_S):
            backbone = self.build(weights="imagenet")
        return self._without_patients(backbone, "imagenet", f"weights: {self.title} starts from ImageNet")

    def _without_patients(self, backbone: keras.Model, name: str, said: str) -> InitialWeights:
        return InitialWeights(backbone=backbone, name=name, said=said, ancestry=ancestry_of_start(name))

    @property
    def _phantom_path(self) -> Path:
        return shipped_path(f"{self.name}-phantom")

    def phantom(self, said: str = "") -> InitialWeights:
        if not self._phantom_path.exists():
            having = [BACKBONES[name].title for name in BACKBONES if shipped_path(f"{name}-phantom").exists()]
            raise ModelError(
                f"weights=phantom come with the package for {' and '.join(having) or 'no backbone'}, not for "
                f"{self.title}: pass -P backbone= accordingly, or -P weights=imagenet"
            )
        read = self._read_npz(self._phantom_path)
        said = said or f"weights: {self.title} starts from this project's phantoms"
        start = self._without_patients(read.backbone, "phantom", said)
        return replace(start, lesion_head=read.lesion_head)

    def from_file(self, path: Path, *, known_as: str | None) -> InitialWeights:
        if not path.is_file():
            raise ModelError(
                f"weights file {path} does not exist, expected auto, imagenet, phantom, random, or a .keras, "
                f".weights.h5 or .npz file{nearest(str(path), ('auto', 'imagenet', 'phantom', 'random'))}"
            )
        try:
            read = self._read(path)
        except Exception as error:  # Keras' readers raise many kinds for a file that doesn't fit
            raise ModelError(
                f"weights file {known_as or path} does not fit {self.title} without top ({first_line(error)}): "
                "expected a classifier or backbone that Keras saved as .keras, its weights as .weights.h5, or what "
                "pretrain wrote as .npz"
            ) from None
        name = known_as or f"file:{path.name}"
        return InitialWeights(
            backbone=read.backbone,
            name=name,
            said=f"weights: {self.title} starts from {known_as or path}",
            ancestry=read.ancestry or not_known(name),
            lesion_head=read.lesion_head,
        )

    def _read_npz(self, path: Path) -> "_Read":
        alone, found = self.build(num_slices=1), read_weights(path)
        # Lite0's layers are among those of B0, so its shapes alone would let B0's weights in.
        of = found.about.get("backbone", self.name)
        if of != self.name:
            raise ModelError(f"{path} holds weights of {of}: pass -P backbone={of}")
        put_weights(alone, found.arrays)
        backbone = alone if self.num_slices == 1 else inflate(alone, self.num_slices)
        return _Read(backbone, found.ancestry, lesion_head_among(found.arrays))

    def _read(self, path: Path) -> "_Read":
        """The backbone with the file's weights, and what the file says that they have learned from."""
        if path.suffix == ".npz":
            return self._read_npz(path)
        backbone = self.build()
        if path.suffix == ".keras":
            model = keras.models.load_model(path, compile=False)
            set_weights(backbone, weights_of(backbone_of(model)))
            return _Read(backbone, carried_ancestry(model), lesion_head_of(model))
        try:
            backbone.load_weights(path)
        except ValueError:
            if self.num_slices == 1:
                raise
            alone = self.build(num_slices=1)
            alone.load_weights(path)
            set_weights(backbone, alone.get_weights())
        return _Read(backbone, None, {})


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
