"""Models side by side: what stands in either panel, and what is said of what can't be told."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ich_mlflow.figures.side_by_side import FIGURE_PX, side_by_side_figure
from ich_mlflow.figures.style import DPI, LABEL_COLOURS

NAN = float("nan")
LONG = "a-hospitals-own-name-of-its-very-best-model-of-2027 v10"


def rows(**changed):
    columns = {
        "group": ["any bleed"] * 3 + ["epidural"],
        "label": ["any"] * 3 + ["epidural"],
        "model": ["ich-5class v3", "run 0123abcd", LONG, "ich-5class v3"],
        "value": [0.9, 0.8, 0.85, NAN],
        "low": [0.85, 0.75, NAN, NAN],
        "high": [0.95, 0.85, NAN, NAN],
        "text": ["0.90 (0.85 to 0.95)", "0.80 (0.75 to 0.85)", "0.85 (no interval)", "not estimable"],
        "difference": [0.0, -0.1, -0.05, NAN],
        "difference_low": [0.0, -0.12, -0.15, NAN],
        "difference_high": [0.0, -0.08, 0.05, NAN],
        "difference_text": ["", "-0.100 (-0.120 to -0.080)", "-0.050 (-0.150 to 0.050)", ""],
    }
    return pd.DataFrame(columns | changed)


def drawn(**changed):
    return side_by_side_figure(
        rows(**changed), baseline="ich-5class v3", metric_name="AUC", title="AUC", note="a note"
    )


def texts_of(axes):
    return {text.get_text(): text for text in axes.texts}


def test_estimates_stand_left_and_differences_right_in_the_same_rows():
    left, right = drawn().axes
    first, baseline, *_ = left.lines
    assert list(first.get_xdata()) == [0.85, 0.95]
    assert (list(baseline.get_xdata()), baseline.get_color()) == ([0.9], "white")
    zero, interval, value, *_ = right.lines
    assert list(zero.get_xdata()) == [0.0, 0.0]
    assert list(interval.get_xdata()) == [-0.12, -0.08]
    assert (list(value.get_xdata()), value.get_color()) == ([-0.1], LABEL_COLOURS["any"])
    # second row of the left panel: its interval is drawn after the baseline's interval and marker
    assert value.get_ydata()[0] == left.lines[2].get_ydata()[0]


def test_what_excludes_zero_is_bold_and_the_baseline_has_no_difference():
    left, right = drawn().axes
    weights = {text: one.get_fontweight() for text, one in texts_of(right).items()}
    assert weights["-0.100 (-0.120 to -0.080)"] == "bold"
    assert weights["-0.050 (-0.150 to 0.050)"] == "normal"
    assert "baseline" in weights
    assert {"any bleed", "epidural", "0.85 (no interval)", "not estimable"} <= texts_of(left).keys()
    assert "Minus ich-5class v3: right of 0 is better" in weights


def test_a_long_name_keeps_its_end_which_tells_versions():
    (name,) = (text for text in texts_of(drawn().axes[0]) if text.startswith("a-hospital"))
    assert name.endswith(" v10")
    assert "…" in name
    assert len(name) < len(LONG)


def test_every_text_is_inside_the_figure():
    figure = drawn()
    assert figure.get_figwidth() * DPI == FIGURE_PX
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert 0 <= box.x0 < box.x1 <= FIGURE_PX, text.get_text()


@pytest.mark.parametrize(
    "changed",
    [{"value": [np.inf, 0, 0, 0]}, {"difference_low": [0, -np.inf, 0, 0]}],
    ids=["value", "difference"],
)
def test_an_infinite_number_is_refused(changed):
    with pytest.raises(ValueError, match="infinite"):
        drawn(**changed)


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match="expected one or more with group, label, model"):
        side_by_side_figure(rows().drop(columns="difference"), baseline="x", metric_name="AUC", title="")
