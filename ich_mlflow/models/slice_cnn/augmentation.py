"""Augmentation of Hounsfield units, before any window: one affine warp a slice, then what alters its values.

Each way to augment is a record of AUGMENTATIONS; its strength is a hyperparameter of the same name.
"""

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU, MIN_HU
from ich_mlflow.models.slice_cnn.other_scanner import add_noise, blur, change_kernel, scale_hu, shift_hu
from ich_mlflow.parameters import Between, Check
from ich_mlflow.system.processes import num_cores


@dataclass
class Motion:
    """How slices move about the centre of the image: angle in radians [B], zoom [B], shift in pixels [B, 2] to the
    right and down, mirror [B], 1 or -1. size: width and height in pixels, [2]."""

    angle: np.ndarray
    zoom: np.ndarray
    shift: np.ndarray
    mirror: np.ndarray
    size: np.ndarray

    @classmethod
    def still(cls, count: int, shape: tuple[int, ...]) -> "Motion":
        """No motion of that many slices; shape: height and width in pixels."""
        return cls(
            angle=np.zeros(count),
            zoom=np.ones(count),
            shift=np.zeros((count, 2)),
            mirror=np.ones(count),
            size=np.array([shape[1], shape[0]]),
        )

    def matrices(self) -> np.ndarray:
        """Affine matrices [B, 2, 3] from source to target pixels."""
        centre = (self.size - 1) / 2
        cos, sin = self.zoom * np.cos(self.angle), self.zoom * np.sin(self.angle)
        linear = np.stack([cos * self.mirror, -sin, sin * self.mirror, cos], axis=1).reshape(-1, 2, 2)
        return np.concatenate([linear, (centre + self.shift - linear @ centre)[:, :, None]], axis=2)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One way to augment.

    default, text, check   of its strength, the hyperparameter; 0 or false: none of it
    move        (draws [B, num_draws], strength, motion): changes the motion in place
    num_draws   random numbers in [0, 1) that each slice brings to `move`
    alter       (hu float32 [H, W, C], generator, strength) -> hu of the same shape, after the warp, slice by slice;
                its randomness is of the slice and of this augmentation alone
    is_scaled   whether the factor `augmentation` of a search scales the strength
    """

    default: Any
    text: str
    check: Check | None = None
    move: Callable[[np.ndarray, Any, Motion], None] | None = None
    num_draws: int = 0
    alter: Callable[[np.ndarray, np.random.Generator, Any], np.ndarray] | None = None
    is_scaled: bool = False


def _rotate(draws: np.ndarray, degrees: float, motion: Motion) -> None:
    motion.angle = np.deg2rad(_signed(draws[:, 0]) * degrees)


def _zoom(draws: np.ndarray, share: float, motion: Motion) -> None:
    motion.zoom = 1 + _signed(draws[:, 0]) * share


def _shift(draws: np.ndarray, share: float, motion: Motion) -> None:
    motion.shift = _signed(draws) * share * motion.size


def _flip(draws: np.ndarray, flip: bool, motion: Motion) -> None:
    motion.mirror = np.where((draws[:, 0] < 0.5) & flip, -1.0, 1.0)


def _signed(draws: np.ndarray) -> np.ndarray:
    """From [0, 1) to [-1, 1)."""
    return 2 * draws - 1


#: In the order in which they take their draws: a record that has some, or another order, changes every training's
#: pixels. One that only alters has none, and changes nothing else.
AUGMENTATIONS: dict[str, Augmentation] = {
    "rotation_degrees": Augmentation(
        default=10.0,
        text="largest rotation by augmentation, in degrees, to either side",
        check=Between(0, 180),
        move=_rotate,
        num_draws=1,
        is_scaled=True,
    ),
    "zoom": Augmentation(
        default=0.1,
        text="largest zoom in or out by augmentation, as a share",
        check=Between(0, 0.9, without=(0.9,)),
        move=_zoom,
        num_draws=1,
        is_scaled=True,
    ),
    "shift": Augmentation(
        default=0.05,
        text="largest shift by augmentation, as a share of the image",
        check=Between(0, 0.5, without=(0.5,), unit="of the image"),
        move=_shift,
        num_draws=2,
        is_scaled=True,
    ),
    "flip": Augmentation(default=True, text="true flips left and right at random", move=_flip, num_draws=1),
    # In the order of a scanner: calibration, reconstruction, and noise last, which nothing after it smooths.
    "hu_gain": Augmentation(
        default=0.0,
        text="largest change of the slope of HU by augmentation, as a share, to either side",
        check=Between(0, 0.5),
        alter=scale_hu,
    ),
    "hu_offset": Augmentation(
        default=0.0,
        text="largest offset that augmentation adds to HU, to either side",
        check=Between(0, 100, unit="HU"),
        alter=shift_hu,
    ),
    "kernel_change": Augmentation(
        default=0.0,
        text="largest share of fine detail (1 pixel) that augmentation takes away or adds, as another kernel does",
        check=Between(0, 1),
        alter=change_kernel,
    ),
    "blur_pixels": Augmentation(
        default=0.0,
        text="largest deviation of the Gaussian by which augmentation blurs, in stored pixels (about 0.9 mm)",
        check=Between(0, 5, unit="pixels"),
        alter=blur,
    ),
    "noise_hu": Augmentation(
        default=0.0,
        text="largest standard deviation of the noise that augmentation adds, in HU",
        check=Between(0, 100, unit="HU"),
        alter=add_noise,
    ),
}


#: Names of those that the factor `augmentation` of a search scales.
SCALED = tuple(name for name, one in AUGMENTATIONS.items() if one.is_scaled)


def num_draws() -> int:
    """Random numbers that each slice of an epoch brings to its augmentation."""
    return sum(one.num_draws for one in AUGMENTATIONS.values())


def augment_slices(hu: np.ndarray, draws: np.ndarray, strengths: Any) -> np.ndarray:
    """Augment each slice of hu [B, H, W, C]; float32 [B, H, W, C], air outside.

    draws: [B, num_draws()] in [0, 1). strengths: an attribute for each name of AUGMENTATIONS. A slice's channels move
    alike. The same draws give the same slice, whatever the batch.
    """
    matrices = affine_matrices(draws, hu.shape[1:3], strengths)
    altering = [
        (name, one.alter, strength)
        for name, one in AUGMENTATIONS.items()
        if one.alter is not None and (strength := getattr(strengths, name))
    ]
    augmented = np.empty(hu.shape, np.float32)

    def augment(number: int) -> None:
        out = _warped(hu[number], matrices[number])
        for name, alter, strength in altering:
            out = alter(out, _generator(draws[number], name), strength)
        augmented[number] = out

    # Slice by slice on all cores: NumPy and OpenCV let other threads run.
    for _ in _threads(os.getpid()).map(augment, range(len(hu))):
        pass
    return augmented


@cache
def _threads(process_id: int) -> ThreadPoolExecutor:
    """Of the process that asks: threads do not outlive a fork."""
    import cv2  # as below

    cv2.setNumThreads(1)  # its own threads would get into the way of these: a third fewer slices
    return ThreadPoolExecutor(num_cores(), thread_name_prefix="augmentation")


def _warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """HU [H, W, C] moved by the matrix [2, 3], float32, air outside. Whole HU stay whole."""
    import cv2  # where used: --help reads the table

    # OpenCV moves unsigned 16 bits half as fast again as floats, and those faster than int16.
    whole = image.dtype == np.int16
    source = image.view(np.uint16) + np.uint16(-MIN_HU) if whole else image.astype(np.float32)
    air = float(AIR_HU - MIN_HU if whole else AIR_HU)
    result = cv2.warpAffine(
        source,
        matrix,
        (image.shape[1], image.shape[0]),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(air,) * 4,
    )
    moved = result.reshape(image.shape).astype(np.float32)
    return moved + np.float32(MIN_HU) if whole else moved


def _generator(row: np.ndarray, name: str) -> np.random.Generator:
    """Of one slice, whose draws tell it from others, and one augmentation."""
    words = np.ascontiguousarray(row, np.float64).view(np.uint64)
    return np.random.default_rng([*words.tolist(), zlib.crc32(name.encode())])


def affine_matrices(draws: np.ndarray, shape: tuple[int, ...], strengths: Any) -> np.ndarray:
    """Affine matrices [B, 2, 3] from source to target pixels of slices [H, W], of draws [B, num_draws()]."""
    motion = Motion.still(len(draws), shape)
    for one, own, strength in _each(draws, strengths):
        if one.move is not None:
            one.move(own, strength, motion)
    return motion.matrices()


def _each(draws: np.ndarray, strengths: Any) -> list[tuple[Augmentation, np.ndarray, Any]]:
    """Each augmentation with its own draws and its strength."""
    if draws.shape[1] != num_draws():
        raise ValueError(f"{draws.shape[1]} draws a slice, expected {num_draws()}")
    first, each = 0, []
    for name, one in AUGMENTATIONS.items():
        each.append((one, draws[:, first : first + one.num_draws], getattr(strengths, name)))
        first += one.num_draws
    return each
