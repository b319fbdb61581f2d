import numpy as np
import pytest
from matplotlib.colors import to_hex

from ich_mlflow.figures.ranking import RankingCurve, precision_recall_figure, roc_figure
from ich_mlflow.figures.style import LABEL_COLOURS
from ich_mlflow.labels import SCHEMES


def curve(label="subdural", **changed):
    values = {
        "label": label,
        "x": np.array([0.0, 0.0, 0.5, 1.0]),
        "y": np.array([0.0, 0.5, 1.0, 1.0]),
        "num_positive": 2,
        "num_negative": 1998,
    }
    return RankingCurve(**(values | changed))


def unknown(label="epidural"):
    return curve(label, x=np.array([]), y=np.array([]), num_positive=0, num_negative=2000)


BAND = {
    "band_x": np.array([0.0, 1.0]),
    "band_low": np.array([0.1, 0.8]),
    "band_high": np.array([0.9, 1.0]),
}
NULL_MODEL = {"null_x": np.array([0.0, 1.0]), "null_y": np.array([0.2, 0.6])}


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_of(axes, label):
    (line,) = [line for line in axes.lines if line.get_color() == LABEL_COLOURS[label]]
    return line


def test_the_roc_curve_is_drawn_in_the_colour_of_its_label():
    (axes,) = roc_figure([curve()]).axes
    assert line_of(axes, "subdural").get_xydata().tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("1 − specificity", "sensitivity")


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_precision_holds_back_to_the_next_lower_recall(order):
    # Precision 1 up to recall 0.5, 0.4 from there to recall 1, whichever way the curve is given.
    x, y = np.array([1, 0.5, 0])[order], np.array([0.4, 1, 1])[order]
    (axes,) = precision_recall_figure([curve(x=x, y=y)]).axes
    assert line_of(axes, "subdural").get_xydata().tolist() == [[1, 0.4], [0.5, 0.4], [0.5, 1], [0, 1], [0, 1]]


def test_a_label_that_is_not_estimable_says_so_with_its_counts():
    for build in (roc_figure, precision_recall_figure):
        first, second = build([unknown(), curve(said="AUC 0.88")]).axes
        assert texts_of(first) == ["0 positive, 2,000 negative", "not estimable"]
        assert not first.lines
        assert texts_of(second) == ["2 positive, 1,998 negative", "AUC 0.88"]


@pytest.mark.parametrize(("num_classes", "columns"), [(4, 2), (5, 3), (6, 3)])
def test_every_label_has_its_panel_in_two_rows(num_classes, columns, tmp_path):
    labels = SCHEMES[num_classes].labels
    figure = roc_figure([curve(label) for label in labels], title="Test split", note="phantoms")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(labels)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len({round(box.y0, 6) for box in boxes}) == 2
    assert len({round(box.x0, 6) for box in boxes}) == columns
    assert min(min(box.x0, box.y0) for box in boxes) > 0
    assert max(max(box.x1, box.y1) for box in boxes) < 1
    figure.savefig(tmp_path / "roc.png")


def test_the_legend_tells_only_what_is_drawn():
    assert legend_of(roc_figure([curve(), unknown()])) == ["chance"]
    points = (("youden", 0.1, 0.8), ("max_f1", 0.0, 0.5), ("sensitivity_95", 0.5, 1.0))
    figure = roc_figure([curve(points=points, **BAND, **NULL_MODEL)])
    assert legend_of(figure) == [
        *("95 % band", "slice position alone", "chance"),
        *("sensitivity 95 %", "highest F1", "Youden"),
    ]
    assert roc_figure([unknown()]).legends == []


def test_the_chance_line_of_precision_is_the_prevalence():
    assert precision_recall_figure([curve()]).legends == []
    figure = precision_recall_figure([curve(prevalence=0.001)])
    assert legend_of(figure) == ["chance"]
    assert [0.001, 0.001] in [list(line.get_ydata()) for line in figure.axes[0].lines]


def test_the_band_is_filled_in_the_colour_of_the_label():
    (axes,) = roc_figure([curve(**BAND)]).axes
    (band,) = axes.collections
    assert to_hex(band.get_facecolor()[0]) == LABEL_COLOURS["subdural"].lower()
    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(0.1)


def test_operating_points_in_one_place_are_all_seen():
    points = (("youden", 0.5, 1.0), ("sensitivity_95", 0.5, 1.0), ("max_f1", 0.5, 1.0))
    (axes,) = roc_figure([curve(points=points)]).axes
    drawn = [line for line in axes.lines if line.get_linestyle() == "None"]
    sizes = [line.get_markersize() for line in drawn]
    assert sizes == sorted(sizes, reverse=True)
    assert len({line.get_marker() for line in drawn}) == 3


def test_an_operating_point_that_decides_nothing_has_no_precision_and_no_marker():
    (axes,) = precision_recall_figure([curve(points=(("max_f1", 0.0, float("nan")),))]).axes
    assert not [line for line in axes.lines if line.get_linestyle() == "None"]


def test_what_is_said_stands_lower_right_in_an_roc_panel():
    (axes,) = roc_figure([curve(said="AUC 0.88 (0.80 to 0.95)")]).axes
    said = axes.texts[-1]
    assert said.get_horizontalalignment() == "right"
    assert said.get_position()[1] < 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": np.array([0.0, 1.0])}, r"x, y of subdural have the shapes \[\(4,\), \(2,\)\]"),
        ({"band_x": np.array([0.0, 1.0])}, "band_x, band_low, band_high of subdural"),
        ({"null_x": np.zeros((2, 2)), "null_y": np.zeros((2, 2))}, "null_x, null_y of subdural"),
        ({"points": (("best", 0.0, 1.0),)}, "rule is 'best', expected one of sensitivity_95"),
    ],
)
def test_refuses_a_curve_whose_parts_do_not_go_together(changed, message):
    with pytest.raises(ValueError, match=message):
        curve(**changed)


def test_refuses_no_curves():
    with pytest.raises(ValueError, match="no labels"):
        roc_figure([])
