"""Augmentation of Hounsfield units, before any window: one affine warp a slice, then what alters its values.

Each way to augment is a record of AUGMENTATIONS; its strength is a hyperparameter of the same name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU
from ich_mlflow.parameters import Between, Check


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
    num_draws   random numbers in [0, 1) that each slice brings to it
    move        (draws [B, num_draws], strength, motion): changes the motion in place
    alter       (hu float32 [B, H, W, C], draws [B, num_draws], strength) -> hu of the same shape, after the warp
    is_scaled   whether the factor `augmentation` of a search scales the strength
    """

    default: Any
    text: str
    check: Check | None = None
    num_draws: int = 1
    move: Callable[[np.ndarray, Any, Motion], None] | None = None
    alter: Callable[[np.ndarray, np.ndarray, Any], np.ndarray] | None = None
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


#: In the order in which they take their draws: another order, or a record amid them, changes every training's pixels.
AUGMENTATIONS: dict[str, Augmentation] = {
    "rotation_degrees": Augmentation(
        default=10.0,
        text="largest rotation by augmentation, in degrees, to either side",
        check=Between(0, 180),
        move=_rotate,
        is_scaled=True,
    ),
    "zoom": Augmentation(
        default=0.1,
        text="largest zoom in or out by augmentation, as a share",
        check=Between(0, 0.9, without=(0.9,)),
        move=_zoom,
        is_scaled=True,
    ),
    "shift": Augmentation(
        default=0.05,
        text="largest shift by augmentation, as a share of the image",
        check=Between(0, 0.5, without=(0.5,), unit="of the image"),
        num_draws=2,
        move=_shift,
        is_scaled=True,
    ),
    "flip": Augmentation(default=True, text="true flips left and right at random", move=_flip),
}


def num_draws() -> int:
    """Random numbers that each slice of an epoch brings to its augmentation."""
    return sum(one.num_draws for one in AUGMENTATIONS.values())


def augment_slices(hu: np.ndarray, draws: np.ndarray, strengths: Any) -> np.ndarray:
    """Augment each slice of hu [B, H, W, C]; float32 [B, H, W, C], air outside.

    draws: [B, num_draws()] in [0, 1). strengths: an attribute for each name of AUGMENTATIONS. A slice's channels are
    augmented alike.
    """
    import cv2  # where used: --help reads the table

    matrices = affine_matrices(draws, hu.shape[1:3], strengths)
    warped = np.empty(hu.shape, np.float32)
    for image, matrix, out in zip(hu.astype(np.float32), matrices, warped, strict=True):
        # OpenCV is several times faster on floats than on int16.
        result = cv2.warpAffine(
            image,
            matrix,
            (hu.shape[2], hu.shape[1]),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(float(AIR_HU),) * 4,
        )
        out[...] = result.reshape(out.shape)
    for one, own, strength in _each(draws, strengths):
        if one.alter is not None and strength:
            warped = one.alter(warped, own, strength).astype(np.float32, copy=False)
    return warped


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
