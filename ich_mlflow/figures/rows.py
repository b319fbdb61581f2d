"""Rows of estimates under each other: where they stand, and how a row is drawn. Forests are made of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ich_mlflow.figures.style import DPI, GREY, MACRO, TEXT_SIZE, darkened, label_style, style_axes

ROW_PX, GROUP_GAP_PX, INDENT_PX = 25, 8, 12
EDGE_PX, BESIDE_PX, AXIS_PX = 18, 14, 50
MAX_NAME_PX, MAX_TEXT_PX = 320, 310
#: Of the text of a row without a value.
MISSING = {"color": GREY, "fontstyle": "italic"}
_STRIPE = "#F4F4F4"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where rows and headings are, in pixels from the top of the axes to their middle."""

    rows: list[float]
    striped: list[bool]
    headings: list[tuple[str, float]]
    height: int

    @property
    def indent(self) -> int:
        """How far names stand right of the headings."""
        return INDENT_PX if self.headings else 0


def places_of(groups: Iterable[object]) -> Places:
    """Places of the rows. groups: of each row the heading that it stands under, '' for none."""
    names = [str(group) for group in groups]
    top, tops, striped, headings = 0, [], [], []
    for i, group in enumerate(names):
        if group and (i == 0 or group != names[i - 1]):
            top += GROUP_GAP_PX if i else 0
            headings.append((group, top + ROW_PX / 2))
            top += ROW_PX
            striped.append(True)
        else:
            striped.append(not striped[-1] if striped else True)
        tops.append(top + ROW_PX / 2)
        top += ROW_PX
    return Places(rows=tops, striped=striped, headings=headings, height=top + 4)


def style_rows(
    axes: Axes, numbers: pd.DataFrame, *, reference: float | None, height: float, xlabel: str
) -> None:
    """Axes whose y is in pixels from the top, and whose x holds every number and the reference, a line across."""
    style_axes(axes, xlabel=xlabel)
    axes.grid(False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(height, 0)
    values = numbers.to_numpy(dtype=float)
    known = [*values[np.isfinite(values)], *([] if reference is None else [reference])]
    lowest, highest = (min(known), max(known)) if known else (0.0, 1.0)
    pad = 0.04 * (highest - lowest) or 0.05
    axes.set_xlim(lowest - pad, highest + pad)
    if reference is not None:
        axes.axvline(reference, color="black", linewidth=1.0, zorder=1)


def draw_estimate(
    axes: Axes, top: float, *, label: str, value: float, low: float, high: float, hollow: bool = False
) -> None:
    """Draw a value as the label's marker, and its interval as a line where it has one."""
    colour, marker = label_style(label)
    thick = 2.4 if label == MACRO else 1.8
    if not (np.isnan(low) or np.isnan(high)):
        axes.plot([low, high], [top, top], color=darkened(colour), linewidth=thick, zorder=3)
    axes.plot(
        value,
        top,
        marker=marker,
        markersize=8,
        color="white" if hollow else colour,
        markeredgecolor=darkened(colour) if hollow else "black",
        markeredgewidth=1.6 if hollow else 0.7,
        zorder=4,
    )


def draw_stripe(axes: Axes, top: float, *, left: float, right: float) -> None:
    """Shade a row from its name to its text, so that the eye finds one from the other.

    left, right: how far it reaches beyond the axes, in their widths.
    """
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False, "zorder": 0}
    axes.add_patch(Rectangle((-left, top - ROW_PX / 2), 1 + left + right, ROW_PX, facecolor=_STRIPE, **place))


def write(axes: Axes, x_px: float, top: float, text: str, **style: Any) -> None:
    """Write text from x_px right of the left edge of the axes on."""
    axes.annotate(
        text,
        (0, top),
        xytext=(x_px * 72 / DPI, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **({"fontsize": TEXT_SIZE} | style),
    )


def text_px(texts: Iterable[str]) -> int:
    """Pixels that the longest of the texts takes."""
    return round(max(map(len, texts)) * 0.6 * TEXT_SIZE * DPI / 72)
