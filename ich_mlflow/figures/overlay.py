"""Slices beside themselves with a saliency map over them: where the model looked, and where the blood is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, withStroke

from ich_mlflow.ct.resample import resize_weights
from ich_mlflow.ct.window import BRAIN, Window, apply_windows
from ich_mlflow.figures.legend import Entry, draw_legend, legend_px
from ich_mlflow.figures.style import CAPTION_SIZE, WIDTH_PX, foot_px, head_px, new_figure, wrapped

MAX_SLICES = 16
#: Its lightness grows from end to end, so that it is read without colours too.
COLOUR_MAP = "inferno"
#: How much of the slice the highest saliency covers.
MAX_ALPHA = 0.8
#: Not a colour of the map.
OUTLINE = "#4DF0FF"
_MARGIN_PX, _PAIR_GAP_PX, _TILE_GAP_PX, _LINE_PX = 16, 20, 4, 15
_MAX_TILE_PX = 280
_PEAK: dict[str, Any] = {
    "color": "white",
    "marker": "+",
    "markersize": 11,
    "markeredgewidth": 1.2,
    "linestyle": "none",
    "path_effects": [withStroke(linewidth=3, foreground="black"), Normal()],
}


def overlay_figure(
    hu: np.ndarray,
    maps: np.ndarray,
    captions: Sequence[str],
    *,
    lesions: np.ndarray | None = None,
    peaks: np.ndarray | None = None,
    hits: Sequence[bool | None] | None = None,
    columns: int = 2,
    window: Window = BRAIN,
    title: str = "Saliency",
    shown: str = "saliency",
    note: str = "",
) -> Figure:
    """Up to 16 slices, each in its window and again under its map, `columns` pairs a row, captions below.

    hu [n, H, W] in Hounsfield units; maps [n, h, w], 0 or more, each resized to its slice and scaled to its own
    maximum, low values transparent; lesions bool [n, H, W], outlined; peaks [n, 2], row and column in pixels
    of hu, a cross, none where NaN; hits, whether the peak lies in the lesion, None where it can't be said;
    shown, what the legend calls the maps.
    Raises ValueError for no slices or more, other shapes, or a map with a negative number or NaN.
    """
    hu, maps = np.asarray(hu), np.asarray(maps, dtype=np.float64)
    lesions = None if lesions is None else np.asarray(lesions, dtype=bool)
    peaks = None if peaks is None else np.asarray(peaks, dtype=np.float64)
    hits = [None] * len(hu) if hits is None else hits
    _check(hu, maps, captions, lesions, peaks, hits, columns)
    sheet = _Sheet.of(hu, captions, hits, columns=columns, top=head_px(title))
    legend = _legend(lesions, peaks, shown)
    height = sheet.bottom + legend_px(legend) + foot_px(note) + 4
    figure = new_figure(title, note, height_px=height, constrained=False)
    for i, grey in enumerate(apply_windows(hu, (window,))[..., 0]):
        axes = [_draw_slice(figure, grey, sheet.box(i, side, height)) for side in (0, 1)][1]
        _draw_map(axes, maps[i], grey.shape)
        _draw_marks(axes, None if lesions is None else lesions[i], None if peaks is None else peaks[i])
        # In the middle between the two tiles.
        place = (-_TILE_GAP_PX / 2 / sheet.tile, -4 / sheet.tall)
        axes.text(
            *place, sheet.texts[i], transform=axes.transAxes, ha="center", va="top", fontsize=CAPTION_SIZE
        )
    draw_legend(figure, legend, note)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """Captions, and where the tiles are, in pixels from the top of the picture."""

    texts: list[str]
    columns: int
    top: int
    tile: float
    tall: float
    row: float
    bottom: int

    @classmethod
    def of(
        cls, hu: np.ndarray, captions: Sequence[str], hits: Sequence[bool | None], *, columns: int, top: int
    ) -> "_Sheet":
        columns = min(columns, len(hu))
        pair = (WIDTH_PX - 2 * _MARGIN_PX + _PAIR_GAP_PX) / columns - _PAIR_GAP_PX
        tile = min(_MAX_TILE_PX, (pair - _TILE_GAP_PX) / 2)
        tall = tile * hu.shape[1] / hu.shape[2]
        texts = [_caption(caption, hit, 2 * tile) for caption, hit in zip(captions, hits, strict=True)]
        row = tall + _LINE_PX * max(text.count("\n") + 1 for text in texts) + 12
        bottom = round(top + -(-len(hu) // columns) * row)
        return cls(texts=texts, columns=columns, top=top, tile=tile, tall=tall, row=row, bottom=bottom)

    def box(self, i: int, side: int, height: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of the left (0) or right (1) tile as shares of a picture this high."""
        row, column = divmod(i, self.columns)
        pair = 2 * self.tile + _TILE_GAP_PX
        left = _MARGIN_PX + column * (pair + _PAIR_GAP_PX) + side * (self.tile + _TILE_GAP_PX)
        bottom = height - self.top - row * self.row - self.tall
        return left / WIDTH_PX, bottom / height, self.tile / WIDTH_PX, self.tall / height


def _draw_slice(figure: Figure, grey: np.ndarray, box: tuple[float, float, float, float]) -> Axes:
    axes = figure.add_axes(box)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect="auto")
    axes.set_axis_off()
    return axes


def _caption(caption: str, hit: bool | None, width_px: float) -> str:
    text = wrapped(caption, width_px, CAPTION_SIZE, max_lines=3)
    if hit is None:
        return text
    return f"{text}\n{'hit: the peak is in the lesion' if hit else 'miss: the peak is outside the lesion'}"


def _draw_map(axes: Axes, saliency: np.ndarray, shape: tuple[int, ...]) -> None:
    """Lay a map [h, w] over the slice: the higher, the less is seen of it. A map of zeros covers nothing."""
    rows, columns = (resize_weights(*sizes) for sizes in zip(saliency.shape, shape, strict=True))
    full = rows @ saliency @ columns.T
    full = full / (full.max() or 1.0)
    axes.imshow(full, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=MAX_ALPHA * full, aspect="auto")


def _draw_marks(axes: Axes, lesion: np.ndarray | None, peak: np.ndarray | None) -> None:
    if lesion is not None and lesion.any():
        # A rim of zeros, so that a lesion at the edge of the picture is closed.
        places = [np.arange(-1, size + 1) for size in lesion.shape[::-1]]
        axes.contour(*places, np.pad(lesion, 1).astype(float), [0.5], colors=OUTLINE, linewidths=1.0)
    if peak is not None and not np.isnan(peak).any():
        axes.plot(peak[1], peak[0], **_PEAK)
    # Neither may widen the picture.
    height, width = axes.images[0].get_array().shape  # type: ignore[union-attr]
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _legend(lesions: np.ndarray | None, peaks: np.ndarray | None, shown: str) -> list[Entry]:
    colours = mpl.colormaps[COLOUR_MAP](np.linspace(0.1, 1, 8))
    scale = tuple(Patch(facecolor=colour, linewidth=0) for colour in colours)
    entries: list[Entry] = [(scale, f"{shown}, low to the slice's highest")]
    if lesions is not None and lesions.any():
        entries.append((Line2D([], [], color=OUTLINE, linewidth=2), "lesion"))
    if peaks is not None and not np.isnan(peaks).all():
        entries.append((Line2D([], [], **_PEAK), f"peak of the {shown}"))
    return entries


def _check(
    hu: np.ndarray,
    maps: np.ndarray,
    captions: Sequence[str],
    lesions: np.ndarray | None,
    peaks: np.ndarray | None,
    hits: Sequence[bool | None],
    columns: int,
) -> None:
    if hu.ndim != 3 or not 1 <= len(hu) <= MAX_SLICES:
        raise ValueError(f"hu has shape {hu.shape}, expected [n, H, W] with 1 to {MAX_SLICES} slices")
    if maps.ndim != 3 or len(maps) != len(hu):
        raise ValueError(f"maps have shape {maps.shape}, expected [{len(hu)}, h, w]")
    # Written so that NaN fails too.
    if not ((maps >= 0) & (maps < np.inf)).all():
        raise ValueError("maps hold negative numbers, infinite ones or NaN, expected 0 or more")
    if len(captions) != len(hu) or len(hits) != len(hu):
        raise ValueError(
            f"there are {len(captions)} captions and {len(hits)} hits for {len(hu)} slices, expected one each"
        )
    if lesions is not None and lesions.shape != hu.shape:
        raise ValueError(f"lesions have shape {lesions.shape}, expected that of hu, {hu.shape}")
    if peaks is not None and peaks.shape != (len(hu), 2):
        raise ValueError(f"peaks have shape {peaks.shape}, expected [{len(hu)}, 2]")
    if columns < 1:
        raise ValueError(f"columns is {columns}, expected 1 or more")
