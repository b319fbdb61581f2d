"""DICOM display windows. The NumPy twin of the layer in models/slice_cnn/layers.py; a test holds the two equal."""

import math
from dataclasses import dataclass

import numpy as np

from ich_mlflow.errors import OptionError


@dataclass(frozen=True)
class Window:
    """Window center and width in HU, as DICOM's tags (0028,1050) and (0028,1051) mean them. width > 1."""

    center: float
    width: float

    def __post_init__(self) -> None:
        if not 1 < self.width < math.inf:
            raise OptionError(f"window width is {self.width}, expected more than 1 HU")
        if not math.isfinite(self.center):
            raise OptionError(f"window center is {self.center}, expected a number of HU")

    @property
    def scale_and_offset(self) -> tuple[float, float]:
        """(scale, offset) so that scale * hu + offset, clipped to [0, 1], is the windowed value.

        Source: DICOM PS3.3 C.11.2.1.2.1 (linear VOI LUT function).
        """
        scale = 1.0 / (self.width - 1.0)
        return scale, 0.5 - (self.center - 0.5) * scale


BRAIN = Window(40, 80)
SUBDURAL = Window(80, 200)
BONE = Window(600, 2800)
NAMED_WINDOWS = {"brain": BRAIN, "subdural": SUBDURAL, "bone": BONE}


def apply_windows(hu: np.ndarray, windows: tuple[Window, ...]) -> np.ndarray:
    """Window HU [..., H, W] to [0, 255], float32 [..., H, W, C], one channel a window."""
    scales, offsets = np.array([w.scale_and_offset for w in windows], dtype=np.float32).T
    unit = np.asarray(hu, dtype=np.float32)[..., None] * scales + offsets
    return np.clip(unit, 0, 1) * np.float32(255)


def parse_windows(text: str) -> tuple[Window, ...]:
    """Read `brain`, `brain,subdural,bone` or `40/80,80/200,600/2800` (center/width in HU): 1 or 3 windows.

    Raises OptionError for an unknown name, a width of 1 or less, or any number of windows but 1 and 3.
    """
    windows = tuple(_parse_one(part.strip()) for part in text.split(","))
    if len(windows) not in (1, 3):
        raise OptionError(
            f"windows is {text!r}: {len(windows)} windows, expected 1 (repeated over three channels) or 3: "
            "pass -P windows=brain or -P windows=brain,subdural,bone"
        )
    return windows


def _parse_one(text: str) -> Window:
    if text in NAMED_WINDOWS:
        return NAMED_WINDOWS[text]
    try:
        center, width = text.split("/")
        return Window(float(center), float(width))
    except OptionError:
        raise
    except ValueError:
        raise OptionError(
            f"window {text!r} is unknown, expected one of {', '.join(NAMED_WINDOWS)} or center/width in HU: "
            "pass for example -P windows=brain or -P windows=40/80"
        ) from None
