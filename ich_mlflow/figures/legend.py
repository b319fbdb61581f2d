"""One legend for a whole figure, at its foot and above its note."""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from ich_mlflow.figures.style import DPI, TEXT_SIZE, WIDTH_PX, foot_px

#: What the legend shows, several artists side by side, and what it says.
Entry = tuple[Artist | tuple[Artist, ...], str]
_LINE_PX = 24


def legend_px(entries: Sequence[Entry]) -> int:
    """Pixels that a legend of these entries needs above the note."""
    return _LINE_PX * -(-len(entries) // _columns(entries))


def draw_legend(figure: Figure, entries: Sequence[Entry], note: str) -> None:
    """Draw the entries at the foot of an unconstrained figure with this note."""
    if not entries:
        return
    # Matplotlib takes tuples of artists, which its types do not say.
    handles: list[Any] = [handle for handle, _ in entries]
    figure.legend(
        handles,
        [text for _, text in entries],
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        loc="lower center",
        bbox_to_anchor=(0.5, foot_px(note) / (figure.get_figheight() * DPI)),
        borderaxespad=0,
        ncols=_columns(entries),
        fontsize=TEXT_SIZE,
        handlelength=2.6,
        columnspacing=1.8,
        frameon=False,
    )


def _columns(entries: Sequence[Entry]) -> int:
    """As many as fit if all are as wide as the widest, spread evenly over the lines."""
    if not entries:
        return 1
    widest = max(len(text) for _, text in entries) * 0.56 * TEXT_SIZE * DPI / 72 + 72
    fit = max(1, min(len(entries), int((WIDTH_PX - 40) / widest)))
    return -(-len(entries) // -(-len(entries) // fit))
