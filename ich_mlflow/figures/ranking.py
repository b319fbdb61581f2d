"""How well a label's probabilities rank its slices: ROC and precision-recall curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ich_mlflow.figures.legend import Entry
from ich_mlflow.figures.panels import LabelCounts, label_panels, label_patches
from ich_mlflow.figures.placement import place_text
from ich_mlflow.figures.style import GREY, RULE_STYLES, label_style, rule_style

_BAND_ALPHA = 0.25
_NULL_MODEL: dict[str, Any] = {"color": GREY, "linestyle": "--", "linewidth": 1.2}
_CHANCE: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.0}


@dataclass(frozen=True, kw_only=True)
class RankingCurve:
    """One label's ROC or precision-recall curve.

    x, y                  the curve [n], both empty where the label is not estimable
    band_x, band_low, band_high: its 95 % band over a grid of x [g]
    null_x, null_y      the curve [m] of the predictor that knows the slice's position alone
    prevalence            precision-recall: the chance line
    points                operating points (rule, x, y); one with a NaN is left out
    said                  written inside the panel, such as "AUC 0.91 (0.85 to 0.95)"

    Coordinates are in [0, 1]; x ascends or descends. Raises ValueError for arrays that do not go together or
    an unknown rule.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    num_positive: int
    num_negative: int
    band_x: np.ndarray | None = None
    band_low: np.ndarray | None = None
    band_high: np.ndarray | None = None
    null_x: np.ndarray | None = None
    null_y: np.ndarray | None = None
    prevalence: float | None = None
    points: tuple[tuple[str, float, float], ...] = ()
    said: str = ""

    def __post_init__(self) -> None:
        for names in (("x", "y"), ("band_x", "band_low", "band_high"), ("null_x", "null_y")):
            shapes = [np.shape(array) for name in names if (array := getattr(self, name)) is not None]
            if shapes and (len(shapes) < len(names) or len(set(shapes)) > 1 or len(shapes[0]) != 1):
                raise ValueError(
                    f"{', '.join(names)} of {self.label} have the shapes {shapes}, expected all of them, "
                    "of one length"
                )
        for rule, _, _ in self.points:
            rule_style(rule)

    @property
    def counts(self) -> LabelCounts:
        """What the panel is headed with; a label without a curve is not estimable."""
        return LabelCounts(
            label=self.label,
            num_positive=self.num_positive,
            num_negative=self.num_negative,
            estimable=len(self.x) > 0,
        )


def roc_figure(curves: Sequence[RankingCurve], *, title: str = "ROC", note: str = "") -> Figure:
    """Sensitivity (y) against 1 - specificity (x), a panel a label. Raises ValueError for no curves."""
    figure, panels = label_panels(
        [curve.counts for curve in curves],
        _legend(curves, chance=True),
        title=title,
        note=note,
        xlabel="1 − specificity",
        ylabel="sensitivity",
    )
    for axes, curve in zip(panels, curves, strict=True):
        if len(curve.x):
            axes.plot([0, 1], [0, 1], **_CHANCE)
            _draw(axes, curve, np.array([[0, 0], [1, 1]]), stepwise=False, sides=("right", "left"))
    return figure


def precision_recall_figure(
    curves: Sequence[RankingCurve], *, title: str = "Precision and recall", note: str = ""
) -> Figure:
    """Precision (y) against recall (x), a panel a label, in steps. Raises ValueError for no curves."""
    figure, panels = label_panels(
        [curve.counts for curve in curves],
        _legend(curves, chance=any(curve.prevalence is not None for curve in curves)),
        title=title,
        note=note,
        xlabel="recall (sensitivity)",
        ylabel="precision",
    )
    for axes, curve in zip(panels, curves, strict=True):
        if len(curve.x):
            chance = np.empty((0, 2))
            if curve.prevalence is not None:
                axes.axhline(curve.prevalence, **_CHANCE)
                chance = np.array([[0, curve.prevalence], [1, curve.prevalence]])
            _draw(axes, curve, chance, stepwise=True, sides=("left", "right"))
    return figure


def _draw(
    axes: Axes, curve: RankingCurve, chance: np.ndarray, *, stepwise: bool, sides: Sequence[str]
) -> None:
    """Draw all of a curve, and its text where it covers least of that and of the chance line [2, 2]."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    colour, _ = label_style(curve.label)
    vertices = [chance]
    if curve.band_x is not None and curve.band_low is not None and curve.band_high is not None:
        axes.fill_between(
            curve.band_x, curve.band_low, curve.band_high, color=colour, alpha=_BAND_ALPHA, linewidth=0
        )
        vertices += [np.column_stack([curve.band_x, edge]) for edge in (curve.band_low, curve.band_high)]
    if curve.null_x is not None and curve.null_y is not None:
        null = _vertices(curve.null_x, curve.null_y, stepwise=stepwise)
        axes.plot(*null.T, **_NULL_MODEL)
        vertices.append(null)
    line = _vertices(curve.x, curve.y, stepwise=stepwise)
    axes.plot(*line.T, color=colour, linewidth=1.8, solid_joinstyle="miter")
    vertices += [line, _draw_points(axes, curve)]
    if curve.said:
        place_text(axes, curve.said, vertices, sides=sides)


def _draw_points(axes: Axes, curve: RankingCurve) -> np.ndarray:
    """Draw the operating points, the largest marker lowest; where they are, [k, 2]."""
    known = [point for point in curve.points if np.isfinite(point[1:]).all()]
    for rule, x, y in sorted(known, key=lambda point: -rule_style(point[0]).size):
        axes.add_line(_marker(rule, x, y))
    return np.array([point[1:] for point in known], dtype=float).reshape(-1, 2)


def _marker(rule: str, x: float = 0.0, y: float = 0.0) -> Line2D:
    style = rule_style(rule)
    return Line2D(
        [x],
        [y],
        linestyle="none",
        marker=style.marker,
        markersize=style.size,
        markerfacecolor="white",
        markeredgecolor="black",
        markeredgewidth=1.1,
        zorder=5,
        clip_on=False,
    )


def _vertices(x: np.ndarray, y: np.ndarray, *, stepwise: bool) -> np.ndarray:
    """The polyline [n, 2]. In steps the precision of a recall holds back to the next lower recall."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not stepwise or len(x) < 2:
        return np.column_stack([x, y])
    if x[0] < x[-1]:
        x, y = x[::-1], y[::-1]
    return np.column_stack([np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]])


def _legend(curves: Sequence[RankingCurve], *, chance: bool) -> list[Entry]:
    """What is drawn in any of the panels and must be told."""
    drawn = [curve for curve in curves if len(curve.x)]
    entries: list[Entry] = []
    if any(curve.band_x is not None for curve in drawn):
        patches = label_patches([curve.counts for curve in drawn], alpha=_BAND_ALPHA, linewidth=0)
        entries.append((patches, "95 % band"))
    if any(curve.null_x is not None for curve in drawn):
        entries.append((Line2D([], [], **_NULL_MODEL), "slice position alone"))
    if drawn and chance:
        entries.append((Line2D([], [], **_CHANCE), "chance"))
    rules = {rule for curve in drawn for rule, _, _ in curve.points}
    entries += [(_marker(rule), style.name) for rule, style in RULE_STYLES.items() if rule in rules]
    return entries
