"""Pictures of a search over hyperparameters: how it went, what each dimension did. A table of trials in, Figures out.

The table has one row a trial: trial (its number), state (complete, pruned, failed), value (NaN where it has none),
started and ended (seconds since the search began), worker, and one column a dimension, empty where it did not count.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ich_mlflow.figures.style import (
    CAPTION_SIZE,
    GREY,
    LIGHT_GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    new_figure,
    style_axes,
)

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
#: Okabe and Ito's blue, orange and vermilion: told apart by colour-blind readers.
STATE_COLOURS = {COMPLETE: "#0072B2", PRUNED: "#E69F00", FAILED: "#D55E00"}
_STATE_MARKERS = {COMPLETE: "o", PRUNED: "v", FAILED: "X"}
BEST_COLOUR = "#000000"
_COLOUR_MAP = "viridis"
_COLUMNS = 3
_JITTER = 0.08


def history_figure(trials: pd.DataFrame, *, said: str, higher_is_better: bool, note: str = "") -> Figure:
    """The value of each trial in the order of their end, and the best so far as a line. said: what the value is."""
    figure = new_figure("How the search went", note, height_px=430)
    axes = figure.add_subplot()
    ended = trials.sort_values("ended").reset_index(drop=True)
    places = np.arange(1, len(ended) + 1)
    values = ended["value"].to_numpy(dtype=float)
    complete = (ended["state"] == COMPLETE).to_numpy()
    floor = np.nanmin(values) if np.isfinite(values).any() else 0.0
    for state in STATE_COLOURS:
        chosen = (ended["state"] == state).to_numpy()
        if not chosen.any():
            continue
        # A failed trial has no value: it stands at the bottom.
        heights = np.where(np.isnan(values), floor, values)[chosen]
        axes.scatter(places[chosen], heights, **_marker(state), s=36, label=state, zorder=3)
    if complete.any():
        best = np.where(complete, values, -np.inf if higher_is_better else np.inf)
        best = np.maximum.accumulate(best) if higher_is_better else np.minimum.accumulate(best)
        known = np.isfinite(best)
        axes.step(
            places[known], best[known], where="post", color=BEST_COLOUR, linewidth=1.2, label="best so far"
        )
    style_axes(axes, xlabel="trials that have ended", ylabel=said)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    if len(ended):
        axes.legend(fontsize=SMALL_SIZE, frameon=False, loc="best")
    return figure


def importance_figure(importances: Mapping[str, float], *, note: str = "") -> Figure:
    """How much of the value's variance each dimension accounts for, the largest on top."""
    names = sorted(importances, key=lambda name: importances[name])
    figure = new_figure("What mattered", note, height_px=140 + 28 * max(len(names), 3))
    axes = figure.add_subplot()
    if not names:
        return _nothing(figure, axes, "too few trials are complete to tell what mattered")
    bars = axes.barh(
        _shown(names), [importances[name] for name in names], color=STATE_COLOURS[COMPLETE], height=0.7
    )
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL_SIZE)
    style_axes(axes, xlabel="share of the variance between trials")
    axes.set_xlim(0, 1.08 * max(importances.values()))
    return figure


def timeline_figure(trials: pd.DataFrame, *, note: str = "") -> Figure:
    """When each trial ran, one row a worker; numbers are trials."""
    workers = sorted(trials["worker"].unique())
    unit, seconds = _time_unit(float(trials["ended"].max()) if len(trials) else 0.0)
    figure = new_figure("When trials ran", note, height_px=170 + 46 * max(len(workers), 1))
    axes = figure.add_subplot()
    for row in trials.to_dict("records"):
        y, width = workers.index(row["worker"]), (row["ended"] - row["started"]) / seconds
        start = row["started"] / seconds
        colour = STATE_COLOURS[row["state"]]
        axes.barh(y, width, left=start, height=0.6, color=colour, edgecolor="white", linewidth=1)
        axes.text(
            start + width / 2,
            y,
            str(row["trial"]),
            ha="center",
            va="center",
            fontsize=CAPTION_SIZE,
            color="white",
        )
    axes.set_yticks(range(len(workers)), [f"worker {worker}" for worker in workers])
    axes.set_ylim(max(len(workers), 1) - 0.5, -0.5)
    style_axes(axes, xlabel=f"{unit} since the search began")
    axes.legend(
        handles=_state_handles(trials),
        fontsize=SMALL_SIZE,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0, 1.22),
        ncols=3,
    )
    return figure


def slice_figure(
    trials: pd.DataFrame,
    dimensions: Sequence[str],
    *,
    said: str,
    log: Sequence[str] = (),
    best: int | None = None,
    note: str = "",
) -> Figure:
    """One panel a dimension: its value across, the trial's value up. best: the number of the best trial, ringed."""
    rows = -(-len(dimensions) // _COLUMNS)
    figure = new_figure("Each dimension by itself", note, height_px=90 + 230 * max(rows, 1))
    panels = np.asarray(figure.subplots(max(rows, 1), _COLUMNS, squeeze=False))
    known = trials[trials["value"].notna()]
    for number, axes in enumerate(panels.flat):
        if number >= len(dimensions):
            axes.set_axis_off()
            continue
        _slice_panel(axes, known, dimensions[number], log=dimensions[number] in log, best=best)
        axes.set_ylabel(said if number % _COLUMNS == 0 else "", fontsize=SMALL_SIZE)
    return figure


def parallel_figure(
    trials: pd.DataFrame,
    dimensions: Sequence[str],
    *,
    said: str,
    log: Sequence[str] = (),
    higher_is_better: bool,
    note: str = "",
) -> Figure:
    """Each complete trial as a line over all dimensions, coloured by its value, the best on top."""
    figure = new_figure("Settings and what they scored", note, height_px=520)
    axes = figure.add_subplot()
    complete = trials[(trials["state"] == COMPLETE) & trials["value"].notna()]
    if complete.empty or not len(dimensions):
        return _nothing(figure, axes, "no trial is complete yet")
    complete = complete.sort_values("value", ascending=higher_is_better)
    scales = [_Scale(trials[name], log=name in log) for name in dimensions]
    heights = np.stack(
        [scale.places(complete[name]) for name, scale in zip(dimensions, scales, strict=True)], axis=1
    )
    norm = mpl.colors.Normalize(complete["value"].min(), complete["value"].max() + 1e-12)
    colours = mpl.colormaps[_COLOUR_MAP if higher_is_better else _COLOUR_MAP + "_r"](
        norm(complete["value"].to_numpy())
    )
    for line, colour in zip(heights, colours, strict=True):
        # A dimension that did not count leaves a gap that the line steps over.
        there = ~np.isnan(line)
        axes.plot(np.flatnonzero(there), line[there], color=colour, linewidth=1.3, alpha=0.85)
    axes.plot(np.flatnonzero(there), line[there], color=BEST_COLOUR, linewidth=2.4, zorder=4)
    _parallel_axes(axes, dimensions, scales)
    colour_bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, _COLOUR_MAP if higher_is_better else _COLOUR_MAP + "_r"),
        ax=axes,
        pad=0.01,
    )
    colour_bar.set_label(f"{said} (black: the best)", fontsize=SMALL_SIZE)
    colour_bar.ax.tick_params(labelsize=SMALL_SIZE)
    return figure


class _Scale:
    """Values of one dimension on a line from 0 to 1: numbers by size (or logarithm), names in order."""

    def __init__(self, values: pd.Series, *, log: bool) -> None:
        known = values.dropna()
        self.names: list[str] | None = None
        if not known.map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all():
            self.names = sorted({str(value) for value in known})
            return
        self._log = log
        numbers = self._scaled(known.to_numpy(dtype=float))
        self._low, self._high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)

    def places(self, values: pd.Series) -> np.ndarray:
        """Heights float64 [n]; NaN where there is no value."""
        if self.names is not None:
            steps = max(len(self.names) - 1, 1)
            return np.array([np.nan if pd.isna(v) else self.names.index(str(v)) / steps for v in values])
        numbers = self._scaled(values.to_numpy(dtype=float))
        return (numbers - self._low) / ((self._high - self._low) or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Heights and what stands there."""
        if self.names is not None:
            steps = max(len(self.names) - 1, 1)
            return [(number / steps, name) for number, name in enumerate(self.names)]
        ends = (self._low, self._high)
        return [
            (place, f"{10**end if self._log else end:.3g}")
            for place, end in zip((0.0, 1.0), ends, strict=True)
        ]

    def _scaled(self, numbers: np.ndarray) -> np.ndarray:
        return np.log10(numbers) if self._log else numbers


def _parallel_axes(axes: Axes, dimensions: Sequence[str], scales: Sequence[_Scale]) -> None:
    for x, scale in enumerate(scales):
        axes.axvline(x, color=LIGHT_GREY, linewidth=1, zorder=0)
        for height, text in scale.ticks():
            # Every other one a little further out, or long names would touch.
            out = 0.0 if 0 < height < 1 or x % 2 else (0.06 if height else -0.06)
            axes.text(
                x, height + out, text, fontsize=CAPTION_SIZE, ha="center", va="top" if height == 0 else "bottom",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}, zorder=5,
            )  # fmt: skip
    axes.set_xticks(range(len(dimensions)), _shown(dimensions), rotation=35, ha="right", fontsize=SMALL_SIZE)
    axes.set_yticks([])
    axes.set_xlim(-0.4, len(dimensions) - 0.6)
    axes.set_ylim(-0.17, 1.17)
    for side in axes.spines.values():
        side.set_visible(False)


def _slice_panel(axes: Axes, trials: pd.DataFrame, dimension: str, *, log: bool, best: int | None) -> None:
    counted = trials[trials[dimension].notna()]
    scale = _Scale(trials[dimension], log=False)
    for state in (PRUNED, COMPLETE):
        shown = counted[counted["state"] == state]
        x = (
            shown[dimension].to_numpy(dtype=float)
            if scale.names is None
            else _spread(shown, dimension, scale.names)
        )
        axes.scatter(x, shown["value"], **_marker(state), s=26, zorder=3)
        ring = (shown["trial"] == best).to_numpy()
        axes.scatter(
            x[ring], shown["value"][ring], s=110, facecolors="none", edgecolors=BEST_COLOUR, zorder=4
        )
    if scale.names is not None:
        axes.set_xticks(range(len(scale.names)), [name.replace(",", ",\n") for name in scale.names])
        axes.set_xlim(-0.5, len(scale.names) - 0.5)
    elif log and len(counted):
        axes.set_xscale("log")
    style_axes(axes, xlabel=_shown([dimension])[0])
    axes.tick_params(labelsize=CAPTION_SIZE)


def _spread(trials: pd.DataFrame, dimension: str, names: Sequence[str]) -> np.ndarray:
    """Places of names, a little apart by the trial's number so that equal ones are all seen."""
    places = np.array([names.index(str(value)) for value in trials[dimension]], dtype=float)
    return places + _JITTER * ((trials["trial"].to_numpy() % 5) - 2)


def _marker(state: str) -> dict[str, Any]:
    return {"color": STATE_COLOURS[state], "marker": _STATE_MARKERS[state]}


def _state_handles(trials: pd.DataFrame) -> list[Line2D]:
    states = set(trials["state"])
    return [
        Line2D([], [], linestyle="none", marker="s", markersize=9, color=colour, label=state)
        for state, colour in STATE_COLOURS.items()
        if state in states
    ]


def _shown(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def _nothing(figure: Figure, axes: Axes, text: str) -> Figure:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=TEXT_SIZE, color=GREY)
    return figure
