"""Small multiples: one panel a label, placed by the pixel, and one legend below that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ich_mlflow.figures.legend import Entry, draw_legend, legend_px
from ich_mlflow.figures.style import (
    DPI,
    GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    WIDTH_PX,
    foot_px,
    head_px,
    label_style,
    new_figure,
    style_axes,
)

NOT_ESTIMABLE = "not estimable"
_MAX_PANEL_PX = 330
#: Around a panel: tick labels and, at the left edge of the picture, the name of the axis.
_LEFT_PX, _RIGHT_PX, _YLABEL_PX = 44, 12, 24
_LABEL_PX, _TICKS_PX, _XLABEL_PX = 26, 28, 22
_HEAD_LINE_PX = 16


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """A label, how many positives and negatives it has, and whether anything can be said about it."""

    label: str
    num_positive: int
    num_negative: int
    estimable: bool


def label_counts(targets: np.ndarray, labels: Sequence[str]) -> list[LabelCounts]:
    """The counts of targets [N, L] of 0 and 1. A label without positives or negatives is not estimable."""
    totals = np.asarray(targets).sum(axis=0)
    return [
        LabelCounts(
            label=label,
            num_positive=int(positive),
            num_negative=len(targets) - int(positive),
            estimable=0 < positive < len(targets),
        )
        for label, positive in zip(labels, totals, strict=True)
    ]


def checked_probabilities(
    targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Targets as bool [N, L] and probabilities as float64 [N, L]. Raises ValueError for other shapes or values."""
    targets, probabilities = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    expected = (len(targets), len(labels))
    if targets.shape != expected or probabilities.shape != expected or not len(targets):
        raise ValueError(
            f"targets have shape {targets.shape} and probabilities {probabilities.shape}, "
            f"expected both [N, {len(labels)}] with at least one slice"
        )
    if not np.isin(targets, (0, 1)).all():
        raise ValueError(f"targets hold {np.unique(targets)[:5]}, expected only 0 and 1")
    # Written so that NaN fails too.
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]: give probabilities, not logits, and no NaN")
    return targets.astype(bool), probabilities


def label_panels(
    counts: Sequence[LabelCounts],
    legend: Sequence[Entry],
    *,
    title: str,
    note: str,
    xlabel: str,
    ylabel: str,
    said: Sequence[str] = (),
    aspect: float = 1.0,
    below_px: int = 0,
) -> tuple[Figure, list[Axes]]:
    """A figure with an empty panel a label, headed by its name and counts: 2x2 for four, else rows of three.

    said has a text for each head, or none at all; aspect is the panel's height by its width; below_px is room
    kept under each panel. The names of the axes stand at the left and at the lower edge. A panel that is not
    estimable says so, and nothing is to be drawn in it. Raises ValueError for no labels or too few texts.
    """
    if not counts:
        raise ValueError("there are no labels, expected one or more")
    if said and len(said) != len(counts):
        raise ValueError(f"said has {len(said)} texts for {len(counts)} labels, expected one each or none")
    heads = [_head_text(one, text) for one, text in zip(counts, said or [""] * len(counts), strict=True)]
    foot = _XLABEL_PX + legend_px(legend) + foot_px(note)
    grid = _Grid.of(heads, top=head_px(title), foot=foot, aspect=aspect, below=below_px)
    figure = new_figure(title, note, height_px=grid.total, constrained=False)
    panels = []
    for i, one in enumerate(counts):
        axes = figure.add_axes(grid.box(i))
        lowest = i + grid.columns >= len(counts)
        style_axes(axes, xlabel=xlabel if lowest else "", ylabel="" if i % grid.columns else ylabel)
        axes.tick_params(labelsize=SMALL_SIZE)
        # A fixed place, so that a panel without ticks keeps it in line with the others.
        axes.yaxis.set_label_coords(-(_LEFT_PX - 2) / grid.width, 0.5)
        _head(axes, one.label, heads[i], grid.head)
        if not one.estimable:
            _say_not_estimable(axes)
        panels.append(axes)
    draw_legend(figure, legend, note)
    return figure, panels


def label_patches(counts: Sequence[LabelCounts], **style: Any) -> tuple[Artist, ...]:
    """Patches in the labels' colours, side by side in a legend."""
    return tuple(Patch(facecolor=label_style(one.label)[0], **style) for one in counts if one.estimable)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Where the panels are, in pixels."""

    columns: int
    width: float
    height: float
    top: int
    head: int
    cell: float
    total: int

    @classmethod
    def of(cls, heads: Sequence[str], *, top: int, foot: int, aspect: float, below: int) -> "_Grid":
        columns = min(len(heads), 2 if len(heads) in (2, 4) else 3)
        width = min(_MAX_PANEL_PX, (WIDTH_PX - _YLABEL_PX) / columns - _LEFT_PX - _RIGHT_PX)
        head = 6 + _HEAD_LINE_PX * max(text.count("\n") + 1 for text in heads)
        cell = _LABEL_PX + head + width * aspect + below + _TICKS_PX
        total = round(top - (-len(heads) // columns) * cell + foot)
        return cls(
            columns=columns, width=width, height=width * aspect, top=top, head=head, cell=cell, total=total
        )

    def box(self, i: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel as shares of the figure."""
        row, column = divmod(i, self.columns)
        across = self.width + _LEFT_PX + _RIGHT_PX
        left = (WIDTH_PX + _YLABEL_PX - self.columns * across) / 2 + _LEFT_PX + column * across
        bottom = self.total - self.top - row * self.cell - _LABEL_PX - self.head - self.height
        return left / WIDTH_PX, bottom / self.total, self.width / WIDTH_PX, self.height / self.total


def _head_text(one: LabelCounts, said: str) -> str:
    counts = f"{one.num_positive:,.0f} positive, {one.num_negative:,.0f} negative"
    return f"{counts}\n{said}" if said and one.estimable else counts


def _head(axes: Axes, label: str, text: str, height_px: int) -> None:
    """Write the label and below it the text, from height_px above the panel down."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    top = height_px * 72 / DPI
    axes.annotate(text, (0, 1), xytext=(0, top), fontsize=SMALL_SIZE, color=GREY, linespacing=1.25, **place)
    axes.set_title(label, fontsize=LABEL_SIZE, fontweight="bold", loc="left", pad=top + 3)


def _say_not_estimable(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#F4F4F4")
    axes.spines[:].set_visible(False)
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, NOT_ESTIMABLE, fontsize=LABEL_SIZE, color=GREY, **place)
