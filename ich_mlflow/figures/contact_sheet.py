"""Many slices in one picture, for a look at the data or at what augmentation does to it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ich_mlflow.ct.window import BRAIN, Window, apply_windows
from ich_mlflow.figures.style import (
    CAPTION_SIZE,
    DPI,
    WIDTH_PX,
    darkened,
    foot_px,
    head_px,
    new_figure,
    wrapped,
)

#: More would make a picture that no one looks at and that takes long to draw.
MAX_SLICES = 256
_MARGIN_PX = 16
_GAP_PX = 6
_LINE_PX = 15
_FRAME_PX = 3


def contact_sheet(
    hu: np.ndarray,
    captions: Sequence[str],
    columns: int = 8,
    window: Window = BRAIN,
    *,
    colours: Sequence[str] | None = None,
    title: str = "Slices",
    note: str = "",
) -> Figure:
    """Grey slices, hu [n, H, W] in Hounsfield units, row by row, a caption of up to four lines under each.

    colours: of the frame around each slice; its caption has the same, dark enough to be read.
    Raises ValueError for more than 256 slices or none, another shape, or not one caption and colour a slice.
    """
    hu = np.asarray(hu)
    _check(hu, captions, columns)
    if colours is not None and len(colours) != len(hu):
        raise ValueError(f"there are {len(colours)} colours for {len(hu)} slices, expected one each")
    columns = min(columns, len(hu))
    # Few slices are not blown up to the whole width.
    tile_width = min(280, (WIDTH_PX - 2 * _MARGIN_PX + _GAP_PX) / columns - _GAP_PX)
    tile_height = tile_width * hu.shape[1] / hu.shape[2]
    texts = [wrapped(caption, tile_width, CAPTION_SIZE, max_lines=4) for caption in captions]
    row_height = tile_height + _LINE_PX * max(text.count("\n") + 1 for text in texts) + 8
    height = round(head_px(title) + -(-len(hu) // columns) * row_height + foot_px(note))
    figure = new_figure(title, note, height_px=height, constrained=False)
    grey = apply_windows(hu, (window,))[..., 0]
    for i, text in enumerate(texts):
        row, column = divmod(i, columns)
        left = _MARGIN_PX + column * (tile_width + _GAP_PX)
        bottom = height - head_px(title) - row * row_height - tile_height
        axes = figure.add_axes(
            (left / WIDTH_PX, bottom / height, tile_width / WIDTH_PX, tile_height / height)
        )
        axes.imshow(grey[i], cmap="gray", vmin=0, vmax=255, aspect="auto")
        axes.set_axis_off()
        _write_caption(axes, text, tile_height, None if colours is None else colours[i])
    return figure


def _write_caption(axes: Axes, text: str, tile_height: float, colour: str | None) -> None:
    """Write the caption under a tile, and draw a frame around it where there is a colour."""
    place = (0.5, -4 / tile_height)
    caption = axes.text(*place, text, transform=axes.transAxes, ha="center", va="top", fontsize=CAPTION_SIZE)
    if colour is not None:
        caption.set_color(darkened(colour))
        frame = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=colour)
        frame.set(linewidth=_FRAME_PX * 72 / DPI, clip_on=False)
        axes.add_patch(frame)


def _check(hu: np.ndarray, captions: Sequence[str], columns: int) -> None:
    if hu.ndim != 3 or not 1 <= len(hu) <= MAX_SLICES:
        raise ValueError(f"hu has shape {hu.shape}, expected [n, H, W] with 1 to {MAX_SLICES} slices")
    if len(captions) != len(hu):
        raise ValueError(f"there are {len(captions)} captions for {len(hu)} slices, expected one each")
    if columns < 1:
        raise ValueError(f"columns is {columns}, expected 1 or more")
