"""Several models side by side, label by label: estimates left, paired differences from one of them right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich_mlflow.figures.panels import NOT_ESTIMABLE
from ich_mlflow.figures.rows import (
    AXIS_PX,
    BESIDE_PX,
    EDGE_PX,
    INDENT_PX,
    MISSING,
    Places,
    draw_estimate,
    draw_stripe,
    places_of,
    style_rows,
    text_px,
    write,
)
from ich_mlflow.figures.style import TEXT_SIZE, foot_px, head_px, new_figure, wrapped

#: Two panels and their texts beside each other need more than the width of other figures.
FIGURE_PX = 1300
_NUMBERS = ("value", "low", "high")
_DIFFERENCES = ("difference", "difference_low", "difference_high")
_COLUMNS = ("group", "label", "model", "text", "difference_text", *_NUMBERS, *_DIFFERENCES)
_MAX_NAME_PX, _MAX_TEXT_PX = 300, 230
_HEADING_PX = 26
BASELINE_TEXT = "baseline"


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Widths in pixels: of the names, of each of the two panels, and of the texts right of either."""

    names: int
    panel: int
    value_texts: int
    difference_texts: int

    @property
    def second(self) -> int:
        """Where the second panel begins, from the left edge of the figure."""
        return EDGE_PX + self.names + self.panel + self.value_texts

    @property
    def beyond(self) -> int:
        """What lies right of the first panel."""
        return self.value_texts + self.panel + self.difference_texts


def side_by_side_figure(
    rows: pd.DataFrame, *, baseline: str, metric_name: str, title: str, note: str = ""
) -> Figure:
    """A row a label and model: its value with its interval left, its difference from the baseline right.

    rows: from top to bottom; columns group (the heading of a label's rows), label (for the colour), model, value, low,
    high, text, difference, difference_low, difference_high, difference_text. Numbers may be NaN: a row without a value
    says "not estimable" and draws nothing. The baseline is hollow, and the text of a difference whose interval excludes
    zero is bold. Raises ValueError for no rows, a missing column or an infinite number.
    """
    _check(rows)
    places = places_of(rows["group"])
    layout = _layout(rows)
    foot = AXIS_PX + foot_px(note)
    total = head_px(title) + _HEADING_PX + places.height + foot
    figure = new_figure(title, note, width_px=FIGURE_PX, height_px=total, constrained=False)
    panels = []
    for left, columns, reference, xlabel in (
        (EDGE_PX + layout.names, _NUMBERS, None, metric_name),
        (layout.second, _DIFFERENCES, 0.0, f"{metric_name}, model minus baseline"),
    ):
        box = left / FIGURE_PX, foot / total, layout.panel / FIGURE_PX, places.height / total
        axes = figure.add_axes(box)
        style_rows(axes, rows[list(columns)], reference=reference, height=places.height, xlabel=xlabel)
        axes.patch.set_visible(False)  # else the second hides the stripes that the first draws across both
        panels.append(axes)
    _write_headings(panels, places, layout, baseline=baseline, metric_name=metric_name)
    for i, (row, top) in enumerate(zip(rows.to_dict("records"), places.rows, strict=True)):
        if places.striped[i]:
            draw_stripe(panels[0], top, left=layout.names / layout.panel, right=layout.beyond / layout.panel)
        write(panels[0], INDENT_PX - layout.names, top, _short(str(row["model"])))
        _draw_value(panels[0], row, top, layout, hollow=row["model"] == baseline)
        _draw_difference(panels[1], row, top, layout, is_baseline=row["model"] == baseline)
    return figure


def _layout(rows: pd.DataFrame) -> _Layout:
    names = (
        INDENT_PX + text_px([*map(_short, rows["model"].astype(str)), *rows["group"].astype(str)]) + BESIDE_PX
    )
    texts = {
        column: min(_MAX_TEXT_PX, text_px([*rows[column].astype(str), NOT_ESTIMABLE])) + 2 * BESIDE_PX
        for column in ("text", "difference_text")
    }
    left = FIGURE_PX - 2 * EDGE_PX - names - sum(texts.values())
    return _Layout(
        names=names,
        panel=left // 2,
        value_texts=texts["text"],
        difference_texts=texts["difference_text"],
    )


def _short(name: str) -> str:
    """The name, without its middle where it is too long: its end tells versions apart."""
    columns = _MAX_NAME_PX // text_px("m")
    kept = columns // 2
    return name if len(name) <= columns else f"{name[:kept]}…{name[-kept:]}"


def _write_headings(
    panels: Sequence[Axes], places: Places, layout: _Layout, *, baseline: str, metric_name: str
) -> None:
    """What the panels show, above them, and the labels above their rows."""
    right = wrapped(
        f"Minus {baseline}: right of 0 is better",
        layout.panel + layout.difference_texts,
        TEXT_SIZE,
        max_lines=1,
    )
    for axes, text in zip(panels, (f"{metric_name} with 95 % intervals", right), strict=True):
        write(axes, 0, -_HEADING_PX / 2, text, fontweight="bold")
    for heading, top in places.headings:
        write(panels[0], -layout.names, top, heading, fontweight="bold")


def _draw_value(axes: Axes, row: dict[str, Any], top: float, layout: _Layout, *, hollow: bool) -> None:
    known = not np.isnan(row["value"])
    if known:
        ends = {name: row[name] for name in _NUMBERS}
        draw_estimate(axes, top, label=str(row["label"]), hollow=hollow, **ends)
    text = wrapped(str(row["text"]), layout.value_texts - BESIDE_PX, TEXT_SIZE, max_lines=1)
    write(axes, layout.panel + BESIDE_PX, top, text if known else NOT_ESTIMABLE, **({} if known else MISSING))


def _draw_difference(
    axes: Axes, row: dict[str, Any], top: float, layout: _Layout, *, is_baseline: bool
) -> None:
    place = layout.panel + BESIDE_PX
    if is_baseline:
        write(axes, place, top, BASELINE_TEXT, **MISSING)
        return
    value, low, high = (row[name] for name in _DIFFERENCES)
    if np.isnan(value):
        write(axes, place, top, NOT_ESTIMABLE, **MISSING)
        return
    draw_estimate(axes, top, label=str(row["label"]), value=value, low=low, high=high)
    excludes_zero = low > 0 or high < 0
    text = wrapped(str(row["difference_text"]), layout.difference_texts - BESIDE_PX, TEXT_SIZE, max_lines=1)
    write(axes, place, top, text, fontweight="bold" if excludes_zero else "normal")


def _check(rows: pd.DataFrame) -> None:
    missing = [column for column in _COLUMNS if column not in rows]
    if missing or rows.empty:
        raise ValueError(
            f"there are {len(rows)} rows with the columns {list(rows.columns)}, expected one or more with "
            f"{', '.join(_COLUMNS)}"
        )
    if np.isinf(rows[[*_NUMBERS, *_DIFFERENCES]].to_numpy(dtype=float)).any():
        raise ValueError("rows hold an infinite number, expected NaN where there is none")
