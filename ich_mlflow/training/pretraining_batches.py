"""What pretraining shows: phantom slices of several sizes, each time scanned otherwise, and their blood."""

from collections.abc import Callable
from typing import Any

import cv2
import keras
import numpy as np

from ich_mlflow.ct.blood import BITS
from ich_mlflow.ct.resample import STORED_SIZE, resize_weights
from ich_mlflow.ct.window import BONE, BRAIN, SUBDURAL, Window, apply_windows
from ich_mlflow.dataset.sampling import natural_order
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.slice_cnn.augmentation import affine_matrices, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.lesion_batches import lesion_cells, warped_blood
from ich_mlflow.models.slice_cnn.lesion_head import CELL

#: SOP instance UID -> masks bool [5, H, W] in SUBTYPES order, None where there is no blood.
Masks = Callable[[str], np.ndarray | None]
#: Stronger than a classifier's: phantoms are too alike.
_WARPS = Hyperparameters(rotation_degrees=20.0, shift=0.08, zoom=0.25)
#: Of a scanner and its calibration: slope and offset of HU, further noise and blur (pixels of the network).
_SLOPE, _OFFSET_HU, _NOISE_HU, _BLUR = 0.08, 6.0, 3.0, 0.6
#: Readers' windows differ: centre by so many of its widths, width by so much.
_CENTER, _WIDTH = 0.1, 0.25


class PretrainingBatches(keras.utils.PyDataset):
    """Batches (pixels float32 [B, S, S, 3] in [0, 255], (labels [B, 6], lesions [B, S/4, S/4, 5])).

    An epoch is 1 / parts of a pass over the rows; S goes through image_sizes from batch to batch. Everything random is
    of (seed, epoch, place in it), so an epoch is the same whenever it comes. augment=False: the brain window, each
    slice once and as it is.
    """

    def __init__(
        self,
        stored: StoredSet,
        rows: np.ndarray,
        masks: Masks,
        *,
        batch_size: int,
        image_sizes: tuple[int, ...],
        seed: int = 0,
        parts: int = 1,
        augment: bool = True,
    ) -> None:
        super().__init__()
        self._stored, self._rows, self._masks = stored, np.asarray(rows), masks
        self.batch_size, self.image_sizes, self._seed = batch_size, image_sizes, seed
        self._parts, self._augment = parts, augment
        self._uids = stored.table["sop_uid"].to_numpy()
        self.targets = class_scheme(6).targets(stored.subtypes[self._rows])
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Choose the slices of the epoch."""
        self.epoch = epoch
        if not self._augment:
            self.order = np.arange(len(self._rows))
            return
        turn, part = divmod(epoch, self._parts)
        whole = natural_order(len(self._rows), seed=self._seed, epoch=turn)
        size = len(whole) // self._parts
        self.order = whole[part * size : (part + 1) * size]

    @property
    def num_slices(self) -> int:
        return len(self.order)

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        places = np.arange(index * self.batch_size, min((index + 1) * self.batch_size, len(self.order)))
        chosen = self.order[places]
        rows = self._rows[chosen]
        size = self.image_sizes[index % len(self.image_sizes)]
        # Resampled before it is warped, unlike in training a classifier: that costs a quarter, and sizes differ anyhow.
        weights = resize_weights(STORED_SIZE, size)
        hu = weights @ self._stored.hu(rows).astype(np.float32) @ weights.T
        bits = np.stack([self.mask(row) for row in rows])
        windows: list[tuple[Window, ...]] = [(BRAIN,)] * len(rows)
        if self._augment:
            generators = [np.random.default_rng((self._seed, self.epoch, int(place), 2)) for place in places]
            draws = np.stack([generator.random(num_draws()) for generator in generators])
            hu = augment_slices(hu[..., None], draws, _WARPS)[..., 0]
            hu = np.stack([_scanned(one, generator) for one, generator in zip(hu, generators, strict=True)])
            bits = warped_blood(bits, affine_matrices(draws, bits.shape[1:], _WARPS))
            windows = [_windows(generator) for generator in generators]
        return windowed(hu, windows), (self.targets[chosen], lesion_cells(bits, size // CELL))

    def mask(self, row: int) -> np.ndarray:
        """The blood of a row of the set, uint8 [256, 256], bit i set where that of SUBTYPES[i] is."""
        masks = self._masks(str(self._uids[row]))
        if masks is None:
            return np.zeros((STORED_SIZE, STORED_SIZE), np.uint8)
        bits = (masks * BITS[:, None, None]).sum(axis=0, dtype=np.uint8)
        return cv2.resize(bits, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_NEAREST)


def windowed(hu: np.ndarray, windows: list[tuple[Window, ...]]) -> np.ndarray:
    """HU float32 [B, S, S] to pixels [B, S, S, 3]: each slice in its own one or three windows."""
    pixels = np.empty((*hu.shape, 3), np.float32)
    for one, chosen, out in zip(hu, windows, pixels, strict=True):
        out[...] = apply_windows(one, chosen)  # one window goes to all three channels
    return pixels


def _scanned(hu: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The slice as another scanner might give it."""
    slope = 1 + generator.uniform(-_SLOPE, _SLOPE)
    offset = generator.uniform(-_OFFSET_HU, _OFFSET_HU)
    # Air stays air, so that only what the windows show moves.
    image: Any = np.where(hu > -500, hu * slope + offset, hu).astype(np.float32)
    if generator.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), generator.uniform(0.2, _BLUR))
    noise = generator.standard_normal(image.shape, dtype=np.float32)
    return image + noise * np.float32(generator.uniform(0, _NOISE_HU))


def _windows(generator: np.random.Generator) -> tuple[Window, ...]:
    """The brain window alone, or the three that readers use, each a little off."""
    chosen = (BRAIN,) if generator.random() < 0.5 else (BRAIN, SUBDURAL, BONE)
    return tuple(
        Window(
            window.center + window.width * generator.uniform(-_CENTER, _CENTER),
            window.width * generator.uniform(1 - _WIDTH, 1 + _WIDTH),
        )
        for window in chosen
    )
