"""The one visual language of the figures: a label has the same colour and marker in every figure.

Sizes suit MLflow's artifact view, which shows a figure about 900 px wide.
"""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich_mlflow.labels import ANY

WIDTH_PX = 900
DPI = 100
TITLE_SIZE = 14
LABEL_SIZE = 11
TEXT_SIZE = 10
SMALL_SIZE = 9
CAPTION_SIZE = 8
GREY = "#5F5F5F"
LIGHT_GREY = "#D0D0D0"
MACRO = "macro"

#: Told apart by colour-blind readers. Source: Okabe and Ito, Color Universal Design, 2008.
LABEL_COLOURS = {
    "epidural": "#E69F00",
    "intraparenchymal": "#D55E00",
    "intraventricular": "#56B4E9",
    "subarachnoid": "#009E73",
    "subdural": "#0072B2",
    ANY: "#CC79A7",
    MACRO: "#000000",
}
#: A second channel beside the colour, for print in grey.
LABEL_MARKERS = {
    "epidural": "o",
    "intraparenchymal": "s",
    "intraventricular": "^",
    "subarachnoid": "D",
    "subdural": "v",
    ANY: "P",
    MACRO: "o",
}
#: Greys, so that a split is never taken for a label. Any other name gets LIGHT_GREY.
SPLIT_COLOURS = {"train": "#3B3B3B", "validation": "#8C8C8C", "test": "#C8C8C8"}


def new_figure(
    title: str, note: str = "", *, width_px: int = WIDTH_PX, height_px: int = 480, constrained: bool = True
) -> Figure:
    """An empty white figure with a bold title, and a grey note at its foot: what it shows, what it is not.

    Both are wrapped to the width. With constrained=False the caller lays the figure out and leaves room.
    """
    figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor="white")
    if constrained:
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12, wspace=0.02, hspace=0.02)
    wide = width_px - 40
    head = figure.suptitle(
        wrapped(title, wide, TITLE_SIZE), x=0.02, ha="left", fontsize=TITLE_SIZE, fontweight="bold"
    )
    foot = figure.supxlabel(wrapped(note, wide, TEXT_SIZE), x=0.02, ha="left", fontsize=TEXT_SIZE, color=GREY)
    if not constrained:
        # A constrained layout places both; here they keep a fixed number of pixels from the edge.
        head.set_y(1 - 12 / height_px)
        foot.set_y(10 / height_px)
    return figure


def style_axes(axes: Axes, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Give axes their texts in the project's sizes, a light grid behind, and no box."""
    axes.set_title(title, fontsize=LABEL_SIZE, loc="left")
    axes.set_xlabel(xlabel, fontsize=LABEL_SIZE)
    axes.set_ylabel(ylabel, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE)
    axes.grid(True, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def wrapped(text: str, width_px: float, font_size: float, *, max_lines: int | None = None) -> str:
    """Break text into lines that fit width_px; what goes beyond max_lines ends in an ellipsis."""
    # A glyph of the default font (DejaVu Sans) is about 0.6 of the font size wide; 72 points make an inch.
    columns = max(4, int(width_px / (0.6 * font_size * DPI / 72)))
    lines: list[str] = []
    for part in text.split("\n"):
        # A subtype's name that is a letter or two too wide stays whole; a UID is broken.
        longest = max((len(word) for word in part.split()), default=0)
        breaks = longest > 1.25 * columns
        lines += textwrap.wrap(part, columns, break_long_words=breaks, break_on_hyphens=False) or [""]
    if max_lines is not None and len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1][: columns - 1] + "…"]
    return "\n".join(lines)
