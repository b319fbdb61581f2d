import numpy as np
import pytest
from matplotlib.colors import to_hex

from ich_mlflow.figures.histograms import score_histograms
from ich_mlflow.figures.style import LABEL_COLOURS
from ich_mlflow.labels import SCHEMES

LABELS = ("epidural", "subdural")
TARGETS = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [0, 1]])
PROBABILITIES = np.array([[0.1, 0.01], [0.1, 0.01], [0.1, 0.51], [0.1, 0.51], [0.1, 1.0]])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_positives_are_filled_in_the_colour_of_the_label_and_negatives_are_an_outline():
    _, axes = score_histograms(TARGETS, PROBABILITIES, LABELS).axes
    *bars, outline = axes.patches
    # Bins of 0.025: 0.51 lies in the 21st, 1.0 in the last of 40.
    assert {i: bar.get_height() for i, bar in enumerate(bars) if bar.get_height()} == {20: 1, 39: 1}
    assert {to_hex(bar.get_facecolor()) for bar in bars} == {LABEL_COLOURS["subdural"].lower()}
    assert not outline.get_fill()
    assert outline.get_xy()[:, 1].max() == 2


def test_each_rule_has_its_line_at_its_threshold():
    points = {"max_f1": np.array([0.5, 0.3]), "youden": np.array([0.5, np.nan])}
    figure = score_histograms(TARGETS, PROBABILITIES, LABELS, points=points)
    assert [list(line.get_xdata()) for line in figure.axes[1].lines] == [[0.3, 0.3]]
    # Youden has a threshold for the label alone that is not drawn.
    assert legend_of(figure) == ["positive", "negative", "threshold: highest F1"]


def test_every_panel_has_the_same_logarithmic_axis():
    targets, probabilities = TARGETS[:, [1, 1]], PROBABILITIES[:, [1, 1]] * [1, 0.5]
    first, second = score_histograms(targets, probabilities, LABELS).axes
    assert first.get_yscale() == "log"
    assert first.get_ylim() == second.get_ylim()


def test_exams_can_be_counted_instead_of_slices():
    epidural, _ = score_histograms(TARGETS, PROBABILITIES, LABELS, unit="exams").axes
    assert epidural.get_ylabel() == "exams (logarithmic)"


def test_a_label_without_positives_says_that_it_is_not_estimable():
    epidural, _ = score_histograms(TARGETS, PROBABILITIES, LABELS).axes
    assert [text.get_text() for text in epidural.texts] == ["0 positive, 5 negative", "not estimable"]
    assert not epidural.patches


@pytest.mark.parametrize("num_classes", [4, 5, 6])
def test_every_scheme_can_be_saved(num_classes, tmp_path):
    labels = SCHEMES[num_classes].labels
    targets = np.tile([[0], [1]], (3, num_classes))
    figure = score_histograms(targets, targets * 0.5, labels, title="Test split", note="phantoms")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(labels)
    figure.savefig(tmp_path / "histograms.png")


def test_no_label_at_all_estimable_can_be_saved(tmp_path):
    figure = score_histograms(TARGETS * 0, PROBABILITIES, LABELS)
    assert figure.legends == []
    figure.savefig(tmp_path / "histograms.png")


def test_refuses_thresholds_of_other_labels_and_unknown_rules():
    with pytest.raises(ValueError, match=r"thresholds of max_f1 have shape \(3,\), expected \[2\]"):
        score_histograms(TARGETS, PROBABILITIES, LABELS, points={"max_f1": np.zeros(3)})
    with pytest.raises(ValueError, match="rule is 'best'"):
        score_histograms(TARGETS, PROBABILITIES, LABELS, points={"best": np.zeros(2)})
    with pytest.raises(ValueError, match=r"expected both \[N, 2\]"):
        score_histograms(TARGETS, PROBABILITIES[:, :1], LABELS)
