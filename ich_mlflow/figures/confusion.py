"""What was decided against what was true, label by label and between labels."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ich_mlflow.figures.style import LABEL_SIZE, TEXT_SIZE, new_figure
from ich_mlflow.labels import SUBTYPES

COLOUR_MAP = "Blues"


def confusion_figure(
    targets: np.ndarray,
    decisions: np.ndarray,
    labels: tuple[str, ...],
    title: str = "Confusion by label",
    *,
    note: str = "",
    unit: str = "slices",
) -> Figure:
    """One 2x2 table a label: rows the truth, columns the decision, counts and shares of the row.

    unit: what is counted, slices or exams. targets and decisions are 0 or 1, [N, L]. Raises ValueError for another
    shape.
    """
    targets, decisions = _checked(targets, decisions, labels)
    num_columns = min(len(labels), 2 if len(labels) == 4 else 3)
    num_rows = -(-len(labels) // num_columns)
    figure = new_figure(title, note, height_px=90 + 290 * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for i, (axes, label) in enumerate(zip(grid, labels, strict=False)):
        truth, decided = targets[:, i], decisions[:, i]
        counts = np.array(
            [
                [(truth & decided).sum(), (truth & ~decided).sum()],
                [(~truth & decided).sum(), (~truth & ~decided).sum()],
            ]
        )
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full((2, 2), np.nan), where=totals > 0)
        texts = [
            [f"{count:,}\n{_percent(share)}" for count, share in zip(*row, strict=True)]
            for row in zip(counts, shares, strict=True)
        ]
        _draw_shares(axes, shares, texts, font_size=LABEL_SIZE)
        axes.set_title(label, fontsize=LABEL_SIZE, fontweight="bold")
        axes.set_xticks([0, 1], ["decided yes", "decided no"], fontsize=TEXT_SIZE)
        axes.set_yticks([0, 1], ["true\nyes", "true\nno"], fontsize=TEXT_SIZE)
    for axes in grid[len(labels) :]:
        axes.remove()
    return figure


def cooccurrence_figure(
    targets: np.ndarray,
    decisions: np.ndarray,
    labels: tuple[str, ...],
    title: str = "What was decided where",
    *,
    note: str = "",
    unit: str = "slices",
) -> Figure:
    """For each true label (rows) the share of its slices on which each label (columns) was decided.

    A slice can have several labels, so a row need not sum to 1. The last row is the slices without any of
    the labels, the last column the slices on which none was decided. targets and decisions are 0 or 1,
    [N, L]. Raises ValueError for another shape.
    """
    targets, decisions = _checked(targets, decisions, labels)
    truth = np.column_stack([targets, ~targets.any(axis=1)])
    decided = np.column_stack([decisions, ~decisions.any(axis=1)])
    totals = truth.sum(axis=0)
    counts = truth.T.astype(np.int64) @ decided.astype(np.int64)
    shares = np.divide(counts, totals[:, None], out=np.full(counts.shape, np.nan), where=totals[:, None] > 0)
    # A scheme without some subtype can't tell that a slice has no blood.
    negative = "no bleed" if set(SUBTYPES) <= set(labels) else "none of these"
    figure = new_figure(title, note, height_px=160 + 62 * len(totals))
    axes = figure.subplots()
    _draw_shares(axes, shares, [[_percent(share) for share in row] for row in shares], font_size=LABEL_SIZE)
    # The two long names are too wide for a column of six.
    names = [name.replace("intra", "intra-\n", 1) for name in (*labels, "none")]
    axes.set_xticks(range(len(totals)), names, fontsize=TEXT_SIZE)
    rows = [f"{name}\n{total:,} {unit}" for name, total in zip((*labels, negative), totals, strict=True)]
    axes.set_yticks(range(len(totals)), rows, fontsize=TEXT_SIZE)
    axes.set_xlabel("decided", fontsize=LABEL_SIZE)
    axes.set_ylabel("true", fontsize=LABEL_SIZE)
    return figure


def _draw_shares(axes: Axes, shares: np.ndarray, texts: list[list[str]], *, font_size: float) -> None:
    """Draw shares [R, C] in [0, 1], NaN where unknown, as shaded cells with a text in each."""
    axes.imshow(np.nan_to_num(shares), cmap=COLOUR_MAP, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(*shares.shape):
        # White on the dark half of the map.
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=font_size, color=colour)
    axes.set_xticks(np.arange(1, shares.shape[1]) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, shares.shape[0]) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.1%}"


def _checked(
    targets: np.ndarray, decisions: np.ndarray, labels: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    targets, decisions = np.asarray(targets), np.asarray(decisions)
    expected = (len(targets), len(labels))
    if targets.shape != expected or decisions.shape != expected:
        raise ValueError(
            f"targets have shape {targets.shape} and decisions {decisions.shape}, "
            f"expected both [N, {len(labels)}]"
        )
    if not (np.isin(targets, (0, 1)).all() and np.isin(decisions, (0, 1)).all()):
        raise ValueError("targets and decisions must be 0 or 1: compare probabilities with thresholds first")
    return targets.astype(bool), decisions.astype(bool)
