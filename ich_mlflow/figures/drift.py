"""What a deployed model saw, over time, and in a window beside a reference."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from ich_mlflow.figures.style import GREY, LIGHT_GREY, TEXT_SIZE, new_figure, style_axes

#: Of the window, and of what has drifted; the reference is grey.
WINDOW_COLOUR = "#0072B2"
_BINS = 24
#: Panels beside each other, and the height of a row of them in pixels.
_COLUMNS, _ROW_PX = 2, 260


def share_over_time(
    times: Sequence[datetime],
    values: np.ndarray,
    lows: np.ndarray,
    highs: np.ndarray,
    *,
    num_reference: int,
    ylabel: str,
    title: str,
    note: str = "",
) -> Figure:
    """A share of successive blocks of exams with its interval; the first num_reference blocks are the reference's.

    values, lows, highs: [n], 0 to 1, one a block. Raises ValueError for other lengths.
    """
    if not len(times) == len(values) == len(lows) == len(highs) or not 0 < num_reference < len(times):
        raise ValueError(f"{len(times)} times, {len(values)} values, {num_reference} of the reference")
    figure = new_figure(title, note, height_px=420)
    axes = figure.subplots()
    style_axes(axes, ylabel=ylabel)
    places = date2num(list(times))
    for part, colour, name in (
        (slice(0, num_reference), GREY, "reference"),
        (slice(num_reference, None), WINDOW_COLOUR, "window"),
    ):
        errors = np.abs(np.stack([values[part] - lows[part], highs[part] - values[part]]))
        axes.errorbar(
            places[part],
            values[part],
            yerr=errors,
            fmt="o",
            color=colour,
            capsize=3,
            markersize=6,
            label=name,
        )
    axes.axhline(float(np.mean(values[:num_reference])), color=LIGHT_GREY, zorder=0)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylim(0, min(1.0, float(np.max(highs)) * 1.15 + 0.02))
    axes.legend(fontsize=TEXT_SIZE, frameon=False, loc="upper left")
    return figure


def samples_beside(
    samples: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    drifted: Sequence[str] = (),
    title: str,
    note: str = "",
) -> Figure:
    """Histograms of the reference (grey, filled) and the window (a line), a panel a signal, as shares of each.

    samples: by signal the reference's numbers and the window's. Raises ValueError where there is no signal.
    """
    if not samples:
        raise ValueError("no signal to draw, expected one at least")
    rows = -(-len(samples) // _COLUMNS)
    figure = new_figure(title, note, height_px=130 + _ROW_PX * rows)
    panels: list[Axes] = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, (name, (reference, window)) in zip(panels, samples.items(), strict=False):
        style_axes(axes, title=f"{name}: drift" if name in drifted else name, ylabel="share of exams")
        both = np.concatenate([reference, window])
        ends = float(both.min()), float(both.max())
        edges = np.linspace(*(ends if ends[0] < ends[1] else (ends[0] - 0.5, ends[1] + 0.5)), _BINS + 1)
        for values, style in (
            (reference, {"color": LIGHT_GREY, "histtype": "stepfilled", "label": "reference"}),
            (window, {"color": WINDOW_COLOUR, "histtype": "step", "linewidth": 1.8, "label": "window"}),
        ):
            axes.hist(values, edges, weights=np.full(len(values), 1 / len(values)), **style)  # type: ignore[arg-type]
    for axes in panels[len(samples) :]:
        axes.set_axis_off()
    panels[0].legend(fontsize=TEXT_SIZE, frameon=False)
    return figure
