"""The one visual language of the figures: a label has the same colour and marker in every figure.

Sizes suit MLflow's artifact view, which shows a figure about 900 px wide.
"""

import textwrap
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from ich_mlflow.labels import ANY

WIDTH_PX = 900
_EDGES_PX = 40
DPI = 100
TITLE_SIZE = 14
LABEL_SIZE = 11
TEXT_SIZE = 10
SMALL_SIZE = 9
CAPTION_SIZE = 8
GREY = "#5F5F5F"
LIGHT_GREY = "#D0D0D0"
MACRO = "macro"
MICRO = "micro"

#: Told apart by colour-blind readers. Source: Okabe and Ito, Color Universal Design, 2008.
LABEL_COLOURS = {
    "epidural": "#E69F00",
    "intraparenchymal": "#D55E00",
    "intraventricular": "#56B4E9",
    "subarachnoid": "#009E73",
    "subdural": "#0072B2",
    ANY: "#CC79A7",
    MACRO: "#000000",
    MICRO: GREY,
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
    MICRO: "X",
}
#: Greys, so that a split is never taken for a label. Any other name gets LIGHT_GREY.
SPLIT_COLOURS = {"train": "#3B3B3B", "validation": "#8C8C8C", "test": "#C8C8C8"}


@dataclass(frozen=True, kw_only=True)
class RuleStyle:
    """How a rule that chose an operating point is named and drawn: a marker on a curve, a line at a threshold.

    The markers differ in size as well, so that points in one place are all seen when the largest lies lowest.
    """

    name: str
    marker: str
    size: float
    line: str | tuple[int, tuple[int, ...]]


RULE_STYLES = {
    "sensitivity_95": RuleStyle(name="sensitivity 95 %", marker="^", size=12, line="--"),
    "sensitivity_90": RuleStyle(name="sensitivity 90 %", marker="v", size=10, line=(0, (3, 1, 1, 1))),
    "specificity_90": RuleStyle(name="specificity 90 %", marker="P", size=9, line=(0, (5, 3))),
    "max_f1": RuleStyle(name="highest F1", marker="o", size=8, line="-"),
    "youden": RuleStyle(name="Youden", marker="D", size=5, line=":"),
    "default": RuleStyle(name="default", marker="s", size=4, line="-."),
}


def rule_style(rule: str) -> RuleStyle:
    """How a rule is drawn. Raises ValueError for one that has no style yet."""
    if rule not in RULE_STYLES:
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(RULE_STYLES)}")
    return RULE_STYLES[rule]


def label_style(label: str) -> tuple[str, str]:
    """Colour and marker of a label; those of no label (a grey dot) for any other name."""
    return LABEL_COLOURS.get(label, GREY), LABEL_MARKERS.get(label, "o")


def darkened(colour: str) -> str:
    """The colour, as dark as it takes to be read as text on white: a contrast of 4.5 (WCAG 2.2, 1.4.3)."""
    red, green, blue = to_rgb(colour)
    while 1.05 / (_luminance(red, green, blue) + 0.05) < 4.5:
        red, green, blue = 0.97 * red, 0.97 * green, 0.97 * blue
    return to_hex((red, green, blue))


def _luminance(*channels: float) -> float:
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def new_figure(
    title: str, note: str = "", *, width_px: int = WIDTH_PX, height_px: int = 480, constrained: bool = True
) -> Figure:
    """An empty white figure with a bold title, and a grey note at its foot: what it shows, what it is not.

    Both are wrapped to the width. With constrained=False the caller lays the figure out and leaves room.
    """
    figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor="white")
    if constrained:
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12, wspace=0.02, hspace=0.02)
    wide = width_px - _EDGES_PX
    head = figure.suptitle(
        wrapped(title, wide, TITLE_SIZE), x=0.02, ha="left", fontsize=TITLE_SIZE, fontweight="bold"
    )
    foot = figure.supxlabel(wrapped(note, wide, TEXT_SIZE), x=0.02, ha="left", fontsize=TEXT_SIZE, color=GREY)
    if not constrained:
        # A constrained layout places both; here they keep a fixed number of pixels from the edge.
        head.set_y(1 - 12 / height_px)
        foot.set_y(10 / height_px)
    return figure


def head_px(title: str) -> int:
    """Pixels at the top of an unconstrained figure that its wrapped title needs."""
    return 16 + 24 * (wrapped(title, WIDTH_PX - _EDGES_PX, TITLE_SIZE).count("\n") + 1)


def foot_px(note: str) -> int:
    """Pixels at the bottom of an unconstrained figure that its wrapped note needs."""
    return 20 + (17 * (wrapped(note, WIDTH_PX - _EDGES_PX, TEXT_SIZE).count("\n") + 1) if note else 0)


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
