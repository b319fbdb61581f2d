import numpy as np
import pandas as pd
import pytest

from ich_mlflow.figures.forest import forest_figure
from ich_mlflow.figures.style import LABEL_COLOURS, LABEL_MARKERS

NAN = float("nan")


def rows(**changed):
    columns = {
        "name": ["epidural", "subdural", "macro"],
        "label": ["epidural", "subdural", "macro"],
        "value": [NAN, 0.9, 0.8],
        "low": [NAN, 0.85, NAN],
        "high": [NAN, 0.95, NAN],
        "null_model": [NAN, 0.6, NAN],
        "text": ["", "0.90 (0.85 to 0.95)", "0.80"],
    }
    return pd.DataFrame(columns | changed)


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_a_row_has_its_interval_its_null_model_and_its_value():
    (axes,) = forest_figure(rows(), metric_name="AUC").axes
    null, interval, value, macro = axes.lines
    assert list(null.get_xdata()) == [0.6]
    assert list(interval.get_xdata()) == [0.85, 0.95]
    assert (list(value.get_xdata()), value.get_color()) == ([0.9], LABEL_COLOURS["subdural"])
    assert value.get_marker() == LABEL_MARKERS["subdural"]
    # Without an interval the value stands alone.
    assert list(macro.get_xdata()) == [0.8]
    assert axes.get_xlabel() == "AUC"


def test_rows_go_from_top_to_bottom_and_share_their_height():
    (axes,) = forest_figure(rows(), metric_name="AUC").axes
    null, interval, value, macro = axes.lines
    assert set(null.get_ydata()) == set(interval.get_ydata()) == set(value.get_ydata())
    assert axes.get_ylim()[0] > macro.get_ydata()[0] > value.get_ydata()[0] > axes.get_ylim()[1]


def test_a_row_without_a_value_says_that_it_is_not_estimable_or_its_own_text():
    (axes,) = forest_figure(rows(), metric_name="AUC").axes
    assert texts_of(axes)[:4] == ["epidural", "not estimable", "subdural", "0.90 (0.85 to 0.95)"]
    (axes,) = forest_figure(rows(text=["0 positive", "", ""]), metric_name="AUC").axes
    assert texts_of(axes)[:2] == ["epidural", "0 positive"]


def test_a_group_heads_the_rows_that_follow_it():
    (axes,) = forest_figure(rows(group=["Slices", "Slices", "Exams"]), metric_name="AUC").axes
    assert [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"] == ["Slices", "Exams"]
    heights = {text.get_text(): text.xy[1] for text in axes.texts}
    assert heights["Slices"] < heights["epidural"] < heights["subdural"] < heights["Exams"] < heights["macro"]


def test_the_axis_holds_every_number_and_the_reference():
    (axes,) = forest_figure(rows(), metric_name="difference", reference=0).axes
    low, high = axes.get_xlim()
    assert low < 0
    assert high > 0.95
    assert list(axes.lines[0].get_xdata()) == [0, 0]


def test_the_null_model_is_told_only_where_there_is_one():
    figure = forest_figure(rows(), metric_name="AUC", null_model_name="prevalence")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["prevalence"]
    assert forest_figure(rows(null_model=[NAN] * 3), metric_name="AUC").legends == []


def test_texts_stay_inside_the_picture():
    long = rows(name=["a subgroup with a very long name indeed, 12,345 slices"] * 3, text=["0.9 " * 30] * 3)
    figure = forest_figure(long, metric_name="AUC", note="phantoms")
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert min(box.x0 for box in boxes) > 0
    assert max(box.x1 for box in boxes) < 900
    assert max(box.x1 for box in boxes[::2]) < axes.get_window_extent().x0


def test_nothing_estimable_can_be_saved(tmp_path):
    nothing = {column: [NAN] * 3 for column in ("value", "low", "high", "null_model")}
    figure = forest_figure(rows(**nothing), metric_name="AUC")
    figure.savefig(tmp_path / "forest.png")
    assert (tmp_path / "forest.png").stat().st_size > 1000


@pytest.mark.parametrize("bad", [rows().iloc[:0], rows().drop(columns="null_model")])
def test_refuses_no_rows_and_missing_columns(bad):
    with pytest.raises(ValueError, match="expected one or more with name, label, value"):
        forest_figure(bad, metric_name="AUC")


def test_refuses_an_infinite_number():
    with pytest.raises(ValueError, match="infinite"):
        forest_figure(rows(high=[NAN, np.inf, NAN]), metric_name="AUC")
