"""Estimates with their intervals, one row each: labels, subgroups, or the differences of two models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ich_mlflow.figures.legend import Entry, draw_legend, legend_px
from ich_mlflow.figures.panels import NOT_ESTIMABLE
from ich_mlflow.figures.style import (
    DPI,
    GREY,
    MACRO,
    TEXT_SIZE,
    WIDTH_PX,
    darkened,
    foot_px,
    head_px,
    label_style,
    new_figure,
    style_axes,
    wrapped,
)

_COLUMNS = ("name", "label", "value", "low", "high", "null_model", "text")
_NUMBERS = ["value", "low", "high", "null_model"]
_ROW_PX, _GROUP_GAP_PX, _INDENT_PX = 25, 8, 12
_EDGE_PX, _BESIDE_PX, _AXIS_PX = 18, 14, 50
_MAX_NAME_PX, _MAX_TEXT_PX = 320, 310
_STRIPE = "#F4F4F4"
_MISSING = {"color": GREY, "fontstyle": "italic"}
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
    places = _places(rows)
    names, texts = rows["name"].astype(str), _texts(rows)
    left = min(_MAX_NAME_PX, _text_px(names) + _INDENT_PX) + _BESIDE_PX
    right = min(_MAX_TEXT_PX, _text_px(texts)) + _BESIDE_PX
    foot = _AXIS_PX + legend_px(legend := _legend(rows, null_model_name)) + foot_px(note)
    total = head_px(title) + places.height + foot
    figure = new_figure(title, note, height_px=total, constrained=False)
    width = WIDTH_PX - 2 * _EDGE_PX - left - right
    box = (_EDGE_PX + left) / WIDTH_PX, foot / total, width / WIDTH_PX, places.height / total
    _style(axes := figure.add_axes(box), rows, reference, height=places.height, xlabel=metric_name)
    for heading, top in places.headings:
        _write(axes, -left, top, heading, fontsize=TEXT_SIZE, fontweight="bold")
    for i, (row, top) in enumerate(zip(rows.to_dict("records"), places.rows, strict=True)):
        if places.striped[i]:
            _draw_stripe(axes, top, left=left / width, right=right / width)
        name = wrapped(names.iloc[i], left - places.indent, TEXT_SIZE, max_lines=1)
        _write(axes, places.indent - left, top, name)
        _draw_row(axes, row, top)
        text = wrapped(texts.iloc[i], right, TEXT_SIZE, max_lines=1)
        _write(axes, width + _BESIDE_PX, top, text, **(_MISSING if np.isnan(row["value"]) else {}))
    draw_legend(figure, legend, note)
    return figure


@dataclass(frozen=True, kw_only=True)
class _Places:
    """Where rows and headings are, in pixels from the top of the axes to their middle."""

    rows: list[float]
    striped: list[bool]
    headings: list[tuple[str, float]]
    height: int

    @property
    def indent(self) -> int:
        """How far names stand right of the headings."""
        return _INDENT_PX if self.headings else 0


def _places(rows: pd.DataFrame) -> _Places:
    groups = rows["group"].fillna("").astype(str).tolist() if "group" in rows else [""] * len(rows)
    top, tops, striped, headings = 0, [], [], []
    for i, group in enumerate(groups):
        if group and (i == 0 or group != groups[i - 1]):
            top += _GROUP_GAP_PX if i else 0
            headings.append((group, top + _ROW_PX / 2))
            top += _ROW_PX
            striped.append(True)
        else:
            striped.append(not striped[-1] if striped else True)
        tops.append(top + _ROW_PX / 2)
        top += _ROW_PX
    return _Places(rows=tops, striped=striped, headings=headings, height=top + 4)


def _style(axes: Axes, rows: pd.DataFrame, reference: float | None, *, height: float, xlabel: str) -> None:
    """Axes whose y is in pixels from the top, and whose x holds every number and the reference."""
    style_axes(axes, xlabel=xlabel)
    axes.grid(False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(height, 0)
    numbers = rows[_NUMBERS].to_numpy(dtype=float)
    known = [*numbers[np.isfinite(numbers)], *([] if reference is None else [reference])]
    lowest, highest = (min(known), max(known)) if known else (0.0, 1.0)
    pad = 0.04 * (highest - lowest) or 0.05
    axes.set_xlim(lowest - pad, highest + pad)
    if reference is not None:
        axes.axvline(reference, color="black", linewidth=1.0, zorder=1)


def _draw_row(axes: Axes, row: dict[str, Any], top: float) -> None:
    colour, marker = label_style(str(row["label"]))
    if np.isnan(row["value"]):
        return
    if not np.isnan(row["null_model"]):
        axes.plot(row["null_model"], top, markersize=_ROW_PX * 0.5, zorder=2, **_NULL_MODEL)
    thick = 2.4 if row["label"] == MACRO else 1.8
    if not (np.isnan(row["low"]) or np.isnan(row["high"])):
        axes.plot([row["low"], row["high"]], [top, top], color=darkened(colour), linewidth=thick, zorder=3)
    axes.plot(
        row["value"],
        top,
        marker=marker,
        markersize=8,
        color=colour,
        markeredgecolor="black",
        markeredgewidth=0.7,
        zorder=4,
    )


def _draw_stripe(axes: Axes, top: float, *, left: float, right: float) -> None:
    """Shade every other row from its name to its text, so that the eye finds one from the other."""
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False, "zorder": 0}
    axes.add_patch(
        Rectangle((-left, top - _ROW_PX / 2), 1 + left + right, _ROW_PX, facecolor=_STRIPE, **place)
    )


def _write(axes: Axes, x_px: float, top: float, text: str, **style: Any) -> None:
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


def _texts(rows: pd.DataFrame) -> pd.Series:
    texts = rows["text"].fillna("").astype(str)
    return texts.mask(rows["value"].isna() & (texts == ""), NOT_ESTIMABLE)


def _text_px(texts: pd.Series) -> int:
    return round(max(texts.map(len)) * 0.6 * TEXT_SIZE * DPI / 72)


def _legend(rows: pd.DataFrame, null_model_name: str) -> list[Entry]:
    if not (rows["null_model"].notna() & rows["value"].notna()).any():
        return []
    return [(Line2D([], [], markersize=_ROW_PX * 0.5, **_NULL_MODEL), null_model_name)]


def _check(rows: pd.DataFrame) -> None:
    missing = [column for column in _COLUMNS if column not in rows]
    if missing or rows.empty:
        raise ValueError(
            f"there are {len(rows)} rows with the columns {list(rows.columns)}, expected one or more with "
            f"{', '.join(_COLUMNS)}, and group if they are to have headings"
        )
    if np.isinf(rows[_NUMBERS].to_numpy(dtype=float)).any():
        raise ValueError(f"{', '.join(_NUMBERS)} hold an infinite number, expected NaN where there is none")
