"""What the probabilities mean: the share of positives among slices that were given about the same probability."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ich_mlflow.figures.legend import Entry
from ich_mlflow.figures.panels import (
    LabelCounts,
    checked_probabilities,
    label_counts,
    label_panels,
)
from ich_mlflow.figures.placement import panel_px
from ich_mlflow.figures.style import GREY, LIGHT_GREY, SMALL_SIZE, darkened, label_style

NUM_BINS = 15
_STRIP_PX, _STRIP_GAP_PX = 46, 14
_IDEAL: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.0}
_BEFORE: dict[str, Any] = {
    "color": "#8C8C8C",
    "linestyle": "none",
    "marker": "x",
    "markersize": 6,
    "markeredgewidth": 1.4,
}
#: The legend shows how large the circles of these counts are, as far as there are so many.
_SHOWN_COUNTS = (2, 10, 1000, 100_000)
_Z = 1.959964


def reliability_figure(
    targets: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    before: np.ndarray | None = None,
    said: Sequence[str] = (),
    unit: str = "slices",
    title: str = "Calibration",
    note: str = "",
) -> Figure:
    """Share of positives against mean probability in 15 bins of equal width, a panel a label.

    A circle is as large as the logarithm of its count, its bar is Wilson's 95 % interval. The strip below has
    the count of each bin on a logarithmic axis: nearly all of them lie near 0 and would hide the rest.

    targets (0 or 1), probabilities and before, those before calibration: [N, L]. said: a text for each head.
    unit: what is counted, slices or exams. Raises ValueError for other shapes or values.
    """
    truth, probabilities = checked_probabilities(targets, probabilities, labels)
    if before is not None:
        _, before = checked_probabilities(targets, before, labels)
    counts = label_counts(truth, labels)
    figure, panels = label_panels(
        counts,
        _legend(counts, unit, with_before=before is not None),
        title=title,
        note=note,
        xlabel="probability",
        ylabel="share of positives",
        said=said,
        below_px=_STRIP_PX + _STRIP_GAP_PX,
    )
    for i, (axes, one) in enumerate(zip(panels, counts, strict=True)):
        if one.estimable:
            earlier = None if before is None else before[:, i]
            _draw(axes, one.label, truth[:, i], probabilities[:, i], earlier, unit)
    return figure


def wilson_interval(positive: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high ends of the 95 % interval of positive / total, total above 0. Source: Wilson, JASA 1927."""
    share = positive / total
    centre = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * np.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def _draw(
    axes: Axes, label: str, truth: np.ndarray, probabilities: np.ndarray, before: np.ndarray | None, unit: str
) -> None:
    colour, _ = label_style(label)
    axes.plot([0, 1], [0, 1], **_IDEAL)
    if before is not None:
        mean, share, _ = _bins(truth, before)
        axes.plot(mean, share, **_BEFORE, zorder=3)
    mean, share, total = _bins(truth, probabilities)
    low, high = wilson_interval(share * total, total)
    axes.vlines(mean, low, high, color=darkened(colour), linewidth=1.2, zorder=3)
    axes.scatter(
        mean,
        share,
        s=_area(total),
        facecolor=colour,
        edgecolor="black",
        linewidth=0.7,
        zorder=4,
        clip_on=False,
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    _draw_strip(axes, colour, probabilities, before, unit)


def _draw_strip(
    axes: Axes, colour: str, probabilities: np.ndarray, before: np.ndarray | None, unit: str
) -> None:
    """Below the panel, how many slices or exams each bin has."""
    _, height = panel_px(axes)
    strip = axes.inset_axes(
        (0, -(_STRIP_PX + _STRIP_GAP_PX) / height, 1, _STRIP_PX / height), transform=axes.transAxes
    )
    edges = np.linspace(0, 1, NUM_BINS + 1).tolist()
    strip.hist(probabilities, edges, color=colour, edgecolor="white", linewidth=0.6)
    if before is not None:
        strip.hist(before, edges, histtype="step", color=GREY, linewidth=1.0)
    strip.set_yscale("log")
    power = int(np.ceil(np.log10(len(probabilities) + 1)))
    strip.set_ylim(0.6, 10**power)
    strip.set_yticks([1, 10**power], ["1", f"$10^{power}$"])
    strip.minorticks_off()
    strip.set_xlim(axes.get_xlim())
    strip.set_xticks(axes.get_xticks())
    strip.set_xlabel(axes.get_xlabel(), fontsize=axes.xaxis.label.get_fontsize())
    axes.set_xlabel("")
    if axes.get_ylabel():
        strip.set_ylabel(unit, fontsize=SMALL_SIZE)
        strip.yaxis.set_label_coords(axes.yaxis.label.get_position()[0], 0.5)
    axes.tick_params(axis="x", labelbottom=False, length=0)
    strip.tick_params(labelsize=SMALL_SIZE)
    strip.grid(True, axis="x", color=LIGHT_GREY, linewidth=0.6)
    strip.set_axisbelow(True)
    strip.spines[["top", "right"]].set_visible(False)


def _bins(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, share of positives and number of slices of each bin that has any."""
    bins = np.minimum((probabilities * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    total = np.bincount(bins, minlength=NUM_BINS)
    filled = total > 0
    means = [
        np.bincount(bins, weights=values, minlength=NUM_BINS)[filled] / total[filled]
        for values in (probabilities, truth)
    ]
    return means[0], means[1], total[filled]


def _area(total: np.ndarray | int) -> np.ndarray:
    """Area of a circle in square points."""
    return 6 + 30 * np.log10(np.asarray(total))


def _legend(counts: Sequence[LabelCounts], unit: str, *, with_before: bool) -> list[Entry]:
    circle: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "color": "black",
        "markerfacecolor": "white",
    }
    num_all = counts[0].num_positive + counts[0].num_negative
    entries: list[Entry] = [
        (
            Line2D([], [], markersize=float(np.sqrt(_area(number))), **circle),
            f"{number:,} {unit}",
        )
        for number in [number for number in _SHOWN_COUNTS if number <= num_all][-2:]
    ]
    entries.append((Line2D([], [], color=GREY, marker="|", markersize=12, linestyle="none"), "95 % interval"))
    if with_before:
        entries.append((Line2D([], [], **_BEFORE), "before calibration"))
    entries.append((Line2D([], [], **_IDEAL), "ideal"))
    return entries if any(one.estimable for one in counts) else []
