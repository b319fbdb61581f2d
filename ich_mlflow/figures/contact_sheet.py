"""Many slices in one picture, for a look at the data or at what augmentation does to it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ich_mlflow.ct.window import BRAIN, Window, apply_windows
from ich_mlflow.figures.style import CAPTION_SIZE, WIDTH_PX, new_figure, wrapped

#: More would make a picture that no one looks at and that takes long to draw.
MAX_SLICES = 256
_MARGIN_PX = 16
_GAP_PX = 6
_HEAD_PX = 52
_FOOT_PX = 48
_LINE_PX = 15


def contact_sheet(
    hu: np.ndarray,
    captions: Sequence[str],
    columns: int = 8,
    window: Window = BRAIN,
    *,
    title: str = "Slices",
    note: str = "",
) -> Figure:
    """Grey slices, hu [n, H, W] in Hounsfield units, row by row, a caption of up to four lines under each.

    Raises ValueError for more than 256 slices or none, another shape, or not one caption a slice.
    """
    hu = np.asarray(hu)
    _check(hu, captions, columns)
    columns = min(columns, len(hu))
    # Few slices are not blown up to the whole width.
    tile_width = min(280, (WIDTH_PX - 2 * _MARGIN_PX + _GAP_PX) / columns - _GAP_PX)
    tile_height = tile_width * hu.shape[1] / hu.shape[2]
    texts = [wrapped(caption, tile_width, CAPTION_SIZE, max_lines=4) for caption in captions]
    row_height = tile_height + _LINE_PX * max(text.count("\n") + 1 for text in texts) + 8
    height = round(_HEAD_PX + -(-len(hu) // columns) * row_height + _FOOT_PX)
    figure = new_figure(title, note, height_px=height, constrained=False)
    grey = apply_windows(hu, (window,))[..., 0]
    for i, text in enumerate(texts):
        row, column = divmod(i, columns)
        left = _MARGIN_PX + column * (tile_width + _GAP_PX)
        bottom = height - _HEAD_PX - row * row_height - tile_height
        axes = figure.add_axes(
            (left / WIDTH_PX, bottom / height, tile_width / WIDTH_PX, tile_height / height)
        )
        axes.imshow(grey[i], cmap="gray", vmin=0, vmax=255, aspect="auto")
        axes.set_axis_off()
        place = (0.5, -4 / tile_height)
        axes.text(*place, text, transform=axes.transAxes, ha="center", va="top", fontsize=CAPTION_SIZE)
    return figure


def _check(hu: np.ndarray, captions: Sequence[str], columns: int) -> None:
    if hu.ndim != 3 or not 1 <= len(hu) <= MAX_SLICES:
        raise ValueError(f"hu has shape {hu.shape}, expected [n, H, W] with 1 to {MAX_SLICES} slices")
    if len(captions) != len(hu):
        raise ValueError(f"there are {len(captions)} captions for {len(hu)} slices, expected one each")
    if columns < 1:
        raise ValueError(f"columns is {columns}, expected 1 or more")
