import numpy as np
import pytest
from matplotlib.collections import PathCollection

from ich_mlflow.evaluation.calibration import NUM_BINS as NUM_BINS_OF_THE_ERROR
from ich_mlflow.figures.reliability import NUM_BINS, reliability_figure, wilson_interval
from ich_mlflow.labels import SCHEMES

LABELS = ("epidural", "subdural")
# Subdural: four slices in the first bin, of which one is positive, and one positive slice in the last.
TARGETS = np.array([[0, 0], [0, 0], [0, 0], [0, 1], [0, 1]])
PROBABILITIES = np.array([[0.1, 0.01], [0.1, 0.01], [0.1, 0.03], [0.1, 0.03], [0.1, 1.0]])


def circles_of(axes):
    (circles,) = [one for one in axes.collections if isinstance(one, PathCollection)]
    return circles


def test_each_bin_has_its_mean_probability_and_its_share_of_positives():
    _, subdural = reliability_figure(TARGETS, PROBABILITIES, LABELS).axes
    assert circles_of(subdural).get_offsets().data == pytest.approx(np.array([[0.02, 0.25], [1, 1]]))


def test_a_bin_with_more_slices_has_a_larger_circle():
    _, subdural = reliability_figure(TARGETS, PROBABILITIES, LABELS).axes
    four, one = circles_of(subdural).get_sizes()
    assert four > one > 0


@pytest.mark.parametrize(("times", "sizes"), [(1, ["2 slices"]), (400, ["10 slices", "1,000 slices"])])
def test_the_legend_shows_circles_of_numbers_that_there_are(times, sizes):
    targets, probabilities = np.tile(TARGETS, (times, 1)), np.tile(PROBABILITIES, (times, 1))
    figure = reliability_figure(targets, probabilities, LABELS)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [*sizes, "95 % interval", "ideal"]


def test_exams_can_be_counted_instead_of_slices():
    figure = reliability_figure(TARGETS[:, ::-1], PROBABILITIES[:, ::-1], LABELS[::-1], unit="exams")
    assert figure.legends[0].get_texts()[0].get_text() == "2 exams"
    assert figure.axes[0].child_axes[0].get_ylabel() == "exams"


def test_the_bars_are_wilsons_by_hand():
    # 1 of 4: centre (0.25 + z²/8) / (1 + z²/4) = 0.3725, half 0.3269 with z = 1.96.
    low, high = wilson_interval(np.array([1.0, 0.0]), np.array([4.0, 4.0]))
    assert low == pytest.approx([0.0456, 0], abs=1e-4)
    assert high == pytest.approx([0.6994, 0.4899], abs=1e-4)


def test_the_bins_are_those_of_the_calibration_error():
    assert NUM_BINS == NUM_BINS_OF_THE_ERROR


def test_probabilities_before_calibration_are_grey_crosses():
    _, subdural = reliability_figure(TARGETS, PROBABILITIES, LABELS, before=PROBABILITIES[::-1]).axes
    (before,) = [line for line in subdural.lines if line.get_marker() == "x"]
    assert before.get_xydata() == pytest.approx(np.array([[0.02, 0.5], [1, 0]]))


def test_the_strip_counts_the_slices_on_a_logarithmic_axis():
    _, subdural = reliability_figure(TARGETS, PROBABILITIES, LABELS).axes
    (strip,) = subdural.child_axes
    assert strip.get_yscale() == "log"
    assert [bar.get_height() for bar in strip.patches if bar.get_height()] == [4, 1]


def test_what_is_said_heads_the_panel_but_not_one_that_is_not_estimable():
    epidural, subdural = reliability_figure(TARGETS, PROBABILITIES, LABELS, said=["ECE 0.1", "ECE 0.2"]).axes
    assert subdural.texts[0].get_text() == "2 positive, 3 negative\nECE 0.2"
    assert [text.get_text() for text in epidural.texts] == ["0 positive, 5 negative", "not estimable"]
    assert not epidural.child_axes


@pytest.mark.parametrize("num_classes", [4, 5, 6])
def test_every_scheme_can_be_saved(num_classes, tmp_path):
    labels = SCHEMES[num_classes].labels
    targets = np.tile([[0], [1]], (3, num_classes))
    probabilities = np.random.default_rng(0).random(targets.shape)
    figure = reliability_figure(targets, probabilities, labels, before=probabilities**2, note="phantoms")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(labels)
    figure.savefig(tmp_path / "reliability.png")


@pytest.mark.parametrize(
    ("targets", "probabilities", "more", "message"),
    [
        (TARGETS, PROBABILITIES[:4], {}, r"expected both \[N, 2\] with at least one slice"),
        (TARGETS[:0], PROBABILITIES[:0], {}, "at least one slice"),
        (TARGETS * 2, PROBABILITIES, {}, "expected only 0 and 1"),
        (TARGETS, PROBABILITIES * 9 - 3, {}, "not logits"),
        (TARGETS, PROBABILITIES * np.nan, {}, "no NaN"),
        (TARGETS, PROBABILITIES, {"before": PROBABILITIES[:, :1]}, r"probabilities \(5, 1\)"),
        (TARGETS, PROBABILITIES, {"said": ["ECE 0.1"]}, "said has 1 texts for 2 labels"),
    ],
)
def test_refuses_what_cannot_be_drawn(targets, probabilities, more, message):
    with pytest.raises(ValueError, match=message):
        reliability_figure(targets, probabilities, LABELS, **more)
