"""Where a text inside a panel covers least of what is drawn there."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ich_mlflow.figures.style import DPI, SMALL_SIZE

#: How far from the side of a panel a text is tried, as a share of the panel, and at how many heights.
_INSETS = (0.02, 0.05, 0.08, 0.12)
_NUM_HEIGHTS = 40
_PAD_PX = 5


def panel_px(axes: Axes) -> tuple[float, float]:
    """Width and height of a panel in pixels."""
    box = axes.get_position()
    width, height = axes.get_figure(root=True).get_size_inches() * DPI  # type: ignore[union-attr]
    return box.width * width, box.height * height


def place_text(axes: Axes, text: str, vertices: Sequence[np.ndarray], *, sides: Sequence[str]) -> None:
    """Write text inside a panel where it covers least of the polylines, vertices [n, 2] each.

    sides, of left and right, are tried in this order, each from the bottom up; the first of equals wins. To be
    called when the limits of the axes are set.
    """
    width_px, height_px = panel_px(axes)
    lines = text.split("\n")
    width = (max(map(len, lines)) * 0.62 * SMALL_SIZE * DPI / 72 + 2 * _PAD_PX) / width_px
    height = (len(lines) * 1.25 * SMALL_SIZE * DPI / 72 + 6) / height_px
    drawn = np.concatenate([np.empty((0, 2)), *map(_dense, vertices)])
    taken = axes.transAxes.inverted().transform(axes.transData.transform(drawn))
    places = [
        (side, inset if side == "left" else 1 - inset - width, y)
        for side in sides
        for inset in _INSETS
        for y in np.linspace(0.03, 0.97 - height, _NUM_HEIGHTS)
    ]
    covered = [
        ((taken >= (x, y)) & (taken <= (x + width, y + height))).all(axis=1).sum() for _, x, y in places
    ]
    side, x, y = places[int(np.argmin(covered))]
    axes.text(
        x + (_PAD_PX / width_px if side == "left" else width - _PAD_PX / width_px),
        y + height / 2,
        text,
        transform=axes.transAxes,
        ha=side,
        va="center",
        fontsize=SMALL_SIZE,
        linespacing=1.25,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        zorder=6,
    )


def _dense(vertices: np.ndarray) -> np.ndarray:
    """Points [m, 2] along a polyline [n, 2], close enough that no text fits between two of them."""
    vertices = np.asarray(vertices, dtype=float)
    if len(vertices) < 2:
        return vertices
    steps = np.hypot(*np.diff(vertices, axis=0).T)
    along = np.r_[0, np.cumsum(steps)]
    wanted = np.linspace(0, along[-1], 400)
    return np.column_stack(
        [np.interp(wanted, along, vertices[:, 0]), np.interp(wanted, along, vertices[:, 1])]
    )
