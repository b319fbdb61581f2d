"""How far apart the probabilities of positive and negative slices lie, and where the thresholds cut them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ich_mlflow.figures.legend import Entry
from ich_mlflow.figures.panels import (
    LabelCounts,
    checked_probabilities,
    label_counts,
    label_panels,
    label_patches,
)
from ich_mlflow.figures.style import GREY, RULE_STYLES, label_style, rule_style

NUM_BINS = 40
_FILL_ALPHA = 0.85


def score_histograms(
    targets: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    points: Mapping[str, np.ndarray] | None = None,
    unit: str = "slices",
    title: str = "Probabilities of positives and negatives",
    note: str = "",
) -> Figure:
    """Counts by probability in 40 bins on a logarithmic axis, the same in every panel, one panel a label.

    targets (0 or 1) and probabilities: [N, L]. points: for each rule its thresholds [L], NaN where there is none.
    unit: what is counted, slices or exams. Raises ValueError for other shapes or values, or an unknown rule.
    """
    truth, probabilities = checked_probabilities(targets, probabilities, labels)
    thresholds = {rule: np.asarray(values, dtype=float) for rule, values in (points or {}).items()}
    for rule, values in thresholds.items():
        rule_style(rule)
        if values.shape != (len(labels),):
            raise ValueError(f"thresholds of {rule} have shape {values.shape}, expected [{len(labels)}]")
    counts = label_counts(truth, labels)
    figure, panels = label_panels(
        counts,
        _legend(counts, thresholds),
        title=title,
        note=note,
        xlabel="probability",
        ylabel=f"{unit} (logarithmic)",
        aspect=0.8,
    )
    for i, (axes, one) in enumerate(zip(panels, counts, strict=True)):
        if one.estimable:
            cuts = {rule: float(values[i]) for rule, values in thresholds.items() if np.isfinite(values[i])}
            _draw(axes, one.label, truth[:, i], probabilities[:, i], cuts)
    return figure


def _draw(
    axes: Axes, label: str, positive: np.ndarray, probabilities: np.ndarray, cuts: Mapping[str, float]
) -> None:
    colour, _ = label_style(label)
    edges = np.linspace(0, 1, NUM_BINS + 1).tolist()
    axes.hist(probabilities[positive], edges, color=colour, alpha=_FILL_ALPHA)
    axes.hist(probabilities[~positive], edges, histtype="step", color=GREY, linewidth=1.2)
    for rule, threshold in cuts.items():
        axes.axvline(threshold, **_line(rule))
    axes.set_yscale("log")
    axes.set_ylim(0.6, 10 ** np.ceil(np.log10(len(positive) + 1)))
    axes.minorticks_off()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))


def _line(rule: str) -> dict[str, Any]:
    return {"color": "black", "linestyle": rule_style(rule).line, "linewidth": 1.4}


def _legend(counts: Sequence[LabelCounts], thresholds: Mapping[str, np.ndarray]) -> list[Entry]:
    estimable = [one.estimable for one in counts]
    if not any(estimable):
        return []
    entries: list[Entry] = [
        (label_patches(counts, alpha=_FILL_ALPHA), "positive"),
        (Patch(facecolor="none", edgecolor=GREY, linewidth=1.2), "negative"),
    ]
    return entries + [
        (Line2D([], [], **_line(rule)), f"threshold: {style.name}")
        for rule, style in RULE_STYLES.items()
        if rule in thresholds and np.isfinite(thresholds[rule][estimable]).any()
    ]
