"""The frame of a head: the square of a slice that holds it. The NumPy twin of HeadResize in models/slice_cnn/layers.py.

A frame is (top, left, side) in pixels, float32. It lies within the slice and has half its side at least, so that a
vertex is not enlarged without end. What is thinner than about three cells, as the head's holder, is no head; where
none is found the frame is the whole slice.
"""

import numpy as np

#: Pixels a side of the cells in which the head is looked for.
CELL = 4
#: A cell is of the body above this mean.
BODY_HU = -300.0
#: More than 6 of a cell and the 8 around it are of the body: bands of one or two cells are not.
MOST_OF_NINE = 6.5 / 9
#: Room on each side, as a share of the slice: about what MOST_OF_NINE takes off a head, and a little more.
MARGIN = 1 / 32
#: The smallest side, as a share of the slice.
MIN_SIDE = 0.5
#: Names of what a network sees of a slice.
IMAGE, HEAD = "image", "head"


def head_frames(hu: np.ndarray) -> np.ndarray:
    """The frame of each slice of HU [B, S, S], float32 [B, 3]. S: a multiple of CELL."""
    count, size = len(hu), hu.shape[1]
    num = size // CELL
    means = hu.astype(np.float32).reshape(count, num, CELL, num, CELL).mean(axis=(2, 4))
    body = np.pad((means > BODY_HU).astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    around: np.ndarray = np.sum(
        [body[:, i : i + num, j : j + num] for i in range(3) for j in range(3)], axis=0
    )
    head = around / 9 > MOST_OF_NINE
    (top, bottom), (left, right) = (_ends(np.asarray(head.any(axis=axis))) for axis in (2, 1))
    longest = np.maximum(bottom - top, right - left) * CELL
    side = np.clip(longest + 2 * MARGIN * size, MIN_SIDE * size, size)
    side = np.where(longest > 0, side, size)
    starts = [
        np.clip((low + high) / 2 * CELL - side / 2, 0, size - side)
        for low, high in ((top, bottom), (left, right))
    ]
    return np.stack([*starts, side], axis=1).astype(np.float32)


def _ends(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First place and one behind the last of bool [B, n] that is true; n and 0 where none is."""
    places = np.arange(occupied.shape[1])
    first = np.where(occupied, places, occupied.shape[1]).min(axis=1)
    return first, np.where(occupied, places + 1, 0).max(axis=1)


def frame_weights(start: np.ndarray, side: np.ndarray, *, source: int, target: int) -> np.ndarray:
    """Weights float32 [B, target, source] that resample the pixels from start [B] on, side [B] of them.

    As ct.resample.resize_weights does the whole line: averaged by area to fewer, interpolated linearly to more.
    """
    scale = (side / target)[:, None, None]
    centre = start[:, None, None] + (np.arange(target) + 0.5)[:, None] * scale
    half = np.maximum(scale, 1) / 2
    pixels = np.arange(source)
    overlap = np.minimum(centre + half, pixels + 1) - np.maximum(centre - half, pixels)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)


def into_place(maps: np.ndarray, frames: np.ndarray, size: int) -> np.ndarray:
    """Maps [B, K, h, w] of frames [B, 3] put back into slices of `size` pixels: float32 [B, K, 2h, 2w], 0 outside.

    Twice as many places a side, since a frame may be half a slice: so no place of a map is lost. Interpolated linearly.
    """
    rows = _placed(frames[:, 0], frames[:, 2], maps.shape[2], size)
    columns = _placed(frames[:, 1], frames[:, 2], maps.shape[3], size)
    return (rows[:, None] @ maps @ columns.transpose(0, 2, 1)[:, None]).astype(np.float32)


def _placed(start: np.ndarray, side: np.ndarray, num: int, size: int) -> np.ndarray:
    """Weights [B, 2 num, num] of a line of a map's places for the places of the slice."""
    edges = np.arange(2 * num + 1) * (size / (2 * num))
    lower, upper = edges[:-1], edges[1:]
    start, side = start[:, None], side[:, None]
    inside = np.clip(np.minimum(upper, start + side) - np.maximum(lower, start), 0, None) / (upper - lower)
    place = np.clip(((lower + upper) / 2 - start) / side * num - 0.5, 0, num - 1)
    near = np.clip(1 - np.abs(place[..., None] - np.arange(num)), 0, None)
    return np.asarray(inside[..., None] * near)
