"""The slice CNN as it is served: a network that looks at one slice, or at one amid its neighbours. Needs no Keras."""

from functools import cached_property
from pathlib import Path

import numpy as np

from ich_mlflow.ct.frame import head_frames, into_place
from ich_mlflow.ct.resample import STORED_SIZE
from ich_mlflow.models.family import Reading, Told
from ich_mlflow.models.feature_distance import FEATURES_FILE, FeatureGaussian
from ich_mlflow.models.lesion_maps import label_maps
from ich_mlflow.models.slice_cnn.hirescam import maps_of_features, units_of_features
from ich_mlflow.models.slice_cnn.runtimes import open_network

#: Weights of the two dense layers after pooling: dense [D, U], dense_bias [U], output [U, L]. And FRAMING, where the
#: network frames the head by itself: its maps are of the frame.
HEAD_FILE = "head.npz"
FRAMING = "framing"


class SliceReader:
    """One network of a model version. hu: HU [B, 256, 256], or [B, 256, 256, 1 + 2 * context]."""

    def __init__(self, folder: Path, runtime: str, told: Told) -> None:
        """Open what slice_cnn/packing.py wrote. Raises ModelError."""
        self._network = open_network(folder, runtime)
        self._head_path = folder / HEAD_FILE
        self._framed = is_framed(self._head_path)
        self._gaussian = FeatureGaussian.read(folder / FEATURES_FILE)
        self._context, self._labels = told.context, told.labels

    @property
    def finds_blood(self) -> bool:
        """As Explainer says."""
        return self._network.finds_blood

    def read(self, hu: np.ndarray, position_mm: np.ndarray) -> Reading:
        """As Reader says. Lone slices of a network with context are their own neighbours."""
        return self.said(self._amid_neighbours(hu))

    def outputs(self, hu: np.ndarray) -> np.ndarray:
        """What the network says of each slice as it stands, float32 [B, L]."""
        return self.said(hu).slices

    def said(self, hu: np.ndarray) -> Reading:
        """The same, and where the blood is, where the network says it; how unlike each is what was learned from."""
        probabilities, lesions, pooled = [], [], []
        hu = self._with_channels(hu)
        for one in hu:
            ran = self._network.run(one)
            probabilities.append(ran.probabilities)
            if ran.lesions is not None:
                lesions.append(ran.lesions)
            if self._gaussian is not None:
                pooled.append(ran.features.mean(axis=(0, 1)))
        return Reading(
            np.stack(probabilities),
            lesions=self.in_place(np.stack(lesions), hu) if lesions else None,
            distance=self._gaussian.distance(np.stack(pooled)) if self._gaussian is not None else None,
        )

    def in_place(self, lesions: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """Lesion maps [B, h, w, 5] as the network gives them, so that they cover the whole slices hu."""
        if not self._framed:
            return lesions
        return np.moveaxis(self._placed(np.moveaxis(lesions, -1, 1), hu), 1, -1)

    def _placed(self, maps: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """Maps [B, K, h, w] of what the network sees of slices, put back into place."""
        if not self._framed:
            return maps
        return into_place(maps, head_frames(hu[..., hu.shape[-1] // 2]), hu.shape[1])

    def explained(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As Explainer says."""
        if self.finds_blood:
            read = self.said(hu)
            assert read.lesions is not None
            return read.slices, label_maps(read.lesions, self._labels)
        hu = self._with_channels(hu)
        ran = [self._network.run(one) for one in hu]
        maps = maps_of_features(np.stack([one.features for one in ran]), *self._head)
        return np.stack([one.probabilities for one in ran]), self._placed(maps, hu)

    def read_features(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is said of the slices of a series as by read, [n, L], and the units of the head, float32 [n, U]."""
        ran = [self._network.run(one) for one in self._with_channels(self._amid_neighbours(hu))]
        units = units_of_features(np.stack([one.features for one in ran]), *self._head[:2])
        return np.stack([one.probabilities for one in ran]), units

    def _amid_neighbours(self, hu: np.ndarray) -> np.ndarray:
        """Each slice of a series [n, 256, 256] as the network takes it."""
        slices = hu[in_context(np.arange(len(hu)), self._context)]
        return np.moveaxis(slices, 1, -1) if slices.ndim == 4 else slices

    @cached_property
    def _head(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with np.load(self._head_path, allow_pickle=False) as head:
            return head["dense"], head["dense_bias"], head["output"]

    def _with_channels(self, hu: np.ndarray) -> np.ndarray:
        num_slices = 1 + 2 * self._context
        if hu.ndim == 3:
            hu = np.repeat(hu[..., None], num_slices, axis=-1)
        if hu.shape[1:] != (STORED_SIZE, STORED_SIZE, num_slices):
            raise ValueError(
                f"hu has shape {hu.shape}, expected [B, {STORED_SIZE}, {STORED_SIZE}] or the same with "
                f"{num_slices} channels"
            )
        return hu


def is_framed(head_path: Path) -> bool:
    """Whether the network of that HEAD_FILE sees the frame of the head alone; of none it sees whole slices."""
    if not head_path.is_file():
        return False
    with np.load(head_path, allow_pickle=False) as head:
        return FRAMING in head.files


def in_context(order: np.ndarray, context: int) -> np.ndarray:
    """Places [n], or [n, 1 + 2 * context], of each slice of a series amid its neighbours; order [n] of its slices.

    Where the series ends, its last slice is repeated, as in training.
    """
    if not context:
        return order
    steps = np.arange(-context, context + 1)
    return order[np.clip(np.arange(len(order))[:, None] + steps, 0, len(order) - 1)]
