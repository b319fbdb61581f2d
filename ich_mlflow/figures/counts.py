"""How many slices and patients each split has of each label."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich_mlflow.figures.style import (
    LIGHT_GREY,
    SMALL_SIZE,
    SPLIT_COLOURS,
    TEXT_SIZE,
    new_figure,
    style_axes,
)

#: Above this ratio between the tallest bar and the lowest the axis is logarithmic.
LOG_SCALE_RATIO = 30


def split_counts_figure(
    counts: pd.DataFrame, *, title: str = "Positive slices by split", note: str = ""
) -> Figure:
    """Grouped bars of the positive slices of each label and split, with the positive patients written below.

    counts: as dataset.split.split_counts returns it, one row a split (the index), columns patients, slices
    and for each label <label>_slices and <label>_patients. Raises ValueError if one of them is missing.
    """
    labels = [column.removesuffix("_slices") for column in counts.columns if column.endswith("_slices")]
    wanted = ["patients", "slices", *(f"{label}_patients" for label in labels)]
    missing = [column for column in wanted if column not in counts.columns]
    if not labels or missing or counts.empty:
        raise ValueError(
            f"counts have {len(counts)} rows and the columns {list(counts.columns)}, expected "
            "one row a split, patients, slices, and <label>_slices and <label>_patients for each label"
        )
    figure = new_figure(title, note, height_px=480)
    axes = figure.subplots()
    style_axes(axes, ylabel="positive slices")
    axes.grid(False, axis="x")
    heights = counts[[f"{label}_slices" for label in labels]].to_numpy(dtype=np.int64)
    _draw_bars(axes, counts, heights)
    _scale(axes, heights)
    patients = counts[[f"{label}_patients" for label in labels]].to_numpy(dtype=np.int64)
    ticks = [
        f"{label}\n{' / '.join(map(_short, column))}"
        for label, column in zip(labels, patients.T, strict=True)
    ]
    axes.set_xticks(range(len(labels)), ticks, fontsize=SMALL_SIZE)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(
        f"below each label: positive patients, {' / '.join(map(str, counts.index))}", fontsize=TEXT_SIZE
    )
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), fontsize=TEXT_SIZE, frameon=False)
    return figure


def _draw_bars(axes: Axes, counts: pd.DataFrame, heights: np.ndarray) -> None:
    """Draw heights [splits, labels], the number on each bar; a zero has its number and no bar."""
    width = 0.9 / len(heights)
    for i, (split, row) in enumerate(zip(counts.index, heights, strict=True)):
        places = np.arange(len(row)) + (i - (len(heights) - 1) / 2) * width
        patients, slices = int(counts["patients"].iloc[i]), int(counts["slices"].iloc[i])
        bars = axes.bar(
            places,
            row,
            width * 0.94,
            color=SPLIT_COLOURS.get(str(split), LIGHT_GREY),
            label=f"{split}: {patients:,} patients, {slices:,} slices",
        )
        axes.bar_label(bars, [_short(number) for number in row], fontsize=SMALL_SIZE, padding=2)


def _scale(axes: Axes, heights: np.ndarray) -> None:
    positive = heights[heights > 0]
    if len(positive) and positive.max() > LOG_SCALE_RATIO * positive.min():
        # symlog and not log: it has a place for zero, and the number on an empty bar stays in the picture.
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, positive.max() * 3)
        axes.set_ylabel("positive slices (logarithmic)")
    else:
        axes.set_ylim(0, max(1, heights.max()) * 1.12)


def _short(number: int) -> str:
    """At most five characters, so that it fits the bar: 1234, 12.3k, 123k."""
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 100_000 else f"{number / 1000:.0f}k"
