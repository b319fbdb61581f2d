"""Where the blood is on a slice: a byte a pixel, a bit for each subtype and one for blood that nobody has named."""

import numpy as np

from ich_mlflow.ct.resample import STORED_SIZE, to_stored_size
from ich_mlflow.labels import ANY, SUBTYPES

#: The bit of labels.SUBTYPES[i] is BITS[i].
BITS = 1 << np.arange(len(SUBTYPES), dtype=np.uint8)
#: The bit of blood whose subtype the source doesn't know.
UNNAMED = 1 << len(SUBTYPES)


def blood_of(mask: np.ndarray, subtypes: tuple[int, ...]) -> np.ndarray:
    """The blood uint8 [H, W] of one mask bool [H, W] of all of it, on a slice with these labels (0 or 1, five).

    Where the slice shows a single subtype it is that one's; of several nobody can say whose it is where.
    """
    bit = int(BITS[subtypes.index(1)]) if sum(subtypes) == 1 else UNNAMED
    return np.where(mask, np.uint8(bit), np.uint8(0))


def mask_of(blood: np.ndarray, label: str) -> np.ndarray:
    """Where the blood of a subtype is, or with `any` all blood: bool, of the shape of `blood`."""
    return blood > 0 if label == ANY else (blood & BITS[SUBTYPES.index(label)]) > 0


def blood_to_stored_size(blood: np.ndarray, *, size: int = STORED_SIZE) -> np.ndarray:
    """Resample blood uint8 [H, W] as its slice's HU are, to [size, size]: a bit is set where half a pixel has it."""
    stored = np.zeros((size, size), np.uint8)
    for bit in (*BITS, np.uint8(UNNAMED)):
        here = (blood & bit) > 0
        if here.any():
            signed = np.where(here, 1000, -1000).astype(np.int16)
            stored |= np.where(to_stored_size(signed, size=size) >= 0, bit, np.uint8(0))
    return stored
