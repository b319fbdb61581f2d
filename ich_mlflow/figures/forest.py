"""Estimates with their intervals, one row each: labels, subgroups, or the differences of two models."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ich_mlflow.figures.legend import Entry, draw_legend, legend_px
from ich_mlflow.figures.panels import NOT_ESTIMABLE
from ich_mlflow.figures.rows import (
    AXIS_PX,
    BESIDE_PX,
    EDGE_PX,
    INDENT_PX,
    MAX_NAME_PX,
    MAX_TEXT_PX,
    MISSING,
    ROW_PX,
    draw_estimate,
    draw_stripe,
    places_of,
    style_rows,
    text_px,
    write,
)
from ich_mlflow.figures.style import TEXT_SIZE, WIDTH_PX, foot_px, head_px, new_figure, wrapped

_COLUMNS = ("name", "label", "value", "low", "high", "null_model", "text")
_NUMBERS = ["value", "low", "high", "null_model"]
_NULL_MODEL: dict[str, Any] = {"color": "#8C8C8C", "marker": "|", "markeredgewidth": 2.5, "linestyle": "none"}


def forest_figure(
    rows: pd.DataFrame,
    *,
    metric_name: str,
    reference: float | None = None,
    null_model_name: str = "slice position alone",
    title: str = "Estimates with 95 % intervals",
    note: str = "",
) -> Figure:
    """Values as markers in the colour of their label, intervals as lines, null models as grey ticks, texts right.

    rows: from top to bottom; columns name, label (for the colour; macro, micro or any other name too), value,
    low, high, null_model, text, and optionally group, which heads the rows that follow it. Numbers may be NaN: a row
    without value says "not estimable", or its text if it has one, and draws nothing.
    reference: where a line is drawn across all rows, such as 0 for differences.
    Raises ValueError for no rows, a missing column or an infinite number.
    """
    _check(rows)
    places = places_of(rows["group"].fillna("") if "group" in rows else [""] * len(rows))
    names, texts = rows["name"].astype(str), _texts(rows)
    left = min(MAX_NAME_PX, text_px(names) + INDENT_PX) + BESIDE_PX
    right = min(MAX_TEXT_PX, text_px(texts)) + BESIDE_PX
    foot = AXIS_PX + legend_px(legend := _legend(rows, null_model_name)) + foot_px(note)
    total = head_px(title) + places.height + foot
    figure = new_figure(title, note, height_px=total, constrained=False)
    width = WIDTH_PX - 2 * EDGE_PX - left - right
    box = (EDGE_PX + left) / WIDTH_PX, foot / total, width / WIDTH_PX, places.height / total
    axes = figure.add_axes(box)
    style_rows(axes, rows[_NUMBERS], reference=reference, height=places.height, xlabel=metric_name)
    for heading, top in places.headings:
        write(axes, -left, top, heading, fontsize=TEXT_SIZE, fontweight="bold")
    for i, (row, top) in enumerate(zip(rows.to_dict("records"), places.rows, strict=True)):
        if places.striped[i]:
            draw_stripe(axes, top, left=left / width, right=right / width)
        name = wrapped(names.iloc[i], left - places.indent, TEXT_SIZE, max_lines=1)
        write(axes, places.indent - left, top, name)
        _draw_row(axes, row, top)
        text = wrapped(texts.iloc[i], right, TEXT_SIZE, max_lines=1)
        write(axes, width + BESIDE_PX, top, text, **(MISSING if np.isnan(row["value"]) else {}))
    draw_legend(figure, legend, note)
    return figure


def _draw_row(axes: Axes, row: dict[str, Any], top: float) -> None:
    if np.isnan(row["value"]):
        return
    if not np.isnan(row["null_model"]):
        axes.plot(row["null_model"], top, markersize=ROW_PX * 0.5, zorder=2, **_NULL_MODEL)
    draw_estimate(axes, top, label=str(row["label"]), value=row["value"], low=row["low"], high=row["high"])


def _texts(rows: pd.DataFrame) -> pd.Series:
    texts = rows["text"].fillna("").astype(str)
    return texts.mask(rows["value"].isna() & (texts == ""), NOT_ESTIMABLE)


def _legend(rows: pd.DataFrame, null_model_name: str) -> list[Entry]:
    if not (rows["null_model"].notna() & rows["value"].notna()).any():
        return []
    return [(Line2D([], [], markersize=ROW_PX * 0.5, **_NULL_MODEL), null_model_name)]


def _check(rows: pd.DataFrame) -> None:
    missing = [column for column in _COLUMNS if column not in rows]
    if missing or rows.empty:
        raise ValueError(
            f"there are {len(rows)} rows with the columns {list(rows.columns)}, expected one or more with "
            f"{', '.join(_COLUMNS)}, and group if they are to have headings"
        )
    if np.isinf(rows[_NUMBERS].to_numpy(dtype=float)).any():
        raise ValueError(f"{', '.join(_NUMBERS)} hold an infinite number, expected NaN where there is none")
