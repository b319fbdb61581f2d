"""How the loss and the validation AUC went, epoch by epoch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ich_mlflow.figures.style import (
    GREY,
    LABEL_COLOURS,
    LABEL_MARKERS,
    MACRO,
    TEXT_SIZE,
    new_figure,
    style_axes,
)

AUC_PREFIX = "val/auc/"
#: Column, name, colour, marker and line of each loss.
_LOSSES = (
    ("loss", "train", "#8C8C8C", "o", "--"),
    ("val_loss", "validation, recalibrated", "#000000", "s", "-"),
    ("val_loss_uncalibrated", "validation, not recalibrated", "#000000", "v", ":"),
)


def training_curves(
    history: pd.DataFrame, *, best_epoch: int | None = None, title: str = "Training", note: str = ""
) -> Figure:
    """Loss of train and validation on the left, validation AUC of each label on the right.

    history: one row an epoch; columns epoch and loss, and as far as they are there val_loss, val_loss_uncalibrated,
    val/auc/<label>, val/auc/macro; NaN where a value is unknown. best_epoch, a value of the epoch column, is marked;
    without it the first epoch with the highest val/auc/macro is, or with the lowest val_loss.
    Raises ValueError for no epochs or a missing column.
    """
    missing = {"epoch", "loss"} - set(history.columns)
    if missing or history.empty:
        raise ValueError(
            f"history has {len(history)} rows and the columns {list(history.columns)}, expected one "
            "row an epoch and at least epoch and loss"
        )
    figure = new_figure(title, note, height_px=520)
    loss_axes, auc_axes = figure.subplots(1, 2)
    epochs = history["epoch"].to_numpy()
    if best_epoch is None:
        best_epoch = _best_epoch(history)
    _draw_loss(loss_axes, history)
    _draw_auc(auc_axes, history)
    for axes in (loss_axes, auc_axes):
        if best_epoch is not None:
            axes.axvline(
                best_epoch, color=GREY, linestyle=":", linewidth=1.5, label=f"best epoch ({best_epoch})"
            )
        axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        # Below the axes, where it can't cover a curve.
        if axes.get_lines():
            axes.legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=TEXT_SIZE, frameon=False
            )
    return figure


def _best_epoch(history: pd.DataFrame) -> int | None:
    for column, sign in ((f"{AUC_PREFIX}{MACRO}", 1), ("val_loss", -1)):
        if column in history and history[column].notna().any():
            return int(
                history["epoch"].to_numpy()[np.nanargmax(sign * history[column].to_numpy(dtype=float))]
            )
    return None


def _draw_loss(axes: Axes, history: pd.DataFrame) -> None:
    style_axes(axes, title="Loss", xlabel="epoch", ylabel="binary cross-entropy")
    for column, name, colour, marker, line in _LOSSES:
        if column in history:
            axes.plot(
                history["epoch"], history[column], line, color=colour, marker=marker, markersize=4, label=name
            )
    highest = np.nanmax([value for column, *_ in _LOSSES for value in history.get(column, [])], initial=0)
    axes.set_ylim(0, 1.08 * highest if np.isfinite(highest) and highest > 0 else 1)


def _draw_auc(axes: Axes, history: pd.DataFrame) -> None:
    style_axes(axes, title="Validation AUC", xlabel="epoch", ylabel="area under the ROC curve")
    lowest = 0.5
    for label, colour in LABEL_COLOURS.items():
        column = f"{AUC_PREFIX}{label}"
        if column not in history:
            continue
        is_macro = label == MACRO
        axes.plot(
            history["epoch"],
            history[column],
            color=colour,
            marker=LABEL_MARKERS[label],
            markersize=4,
            linewidth=2.5 if is_macro else 1.5,
            label=_legend_name(label, history[column]),
        )
        if history[column].notna().any():
            lowest = min(lowest, float(history[column].min()))
    # From chance up, unless something is below chance, which must then be seen.
    axes.set_ylim(max(0.0, lowest - 0.02), 1.01)


def _legend_name(label: str, values: pd.Series) -> str:
    return label if values.notna().any() else f"{label} (not estimable)"
