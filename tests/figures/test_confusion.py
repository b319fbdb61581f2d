import numpy as np
import pytest

from ich_mlflow.figures.confusion import confusion_figure, cooccurrence_figure
from ich_mlflow.labels import SCHEMES, SUBTYPES

LABELS = ("subarachnoid", "subdural")
# Subdural: three positives of which two are found, one negative which is called positive.
TARGETS = np.array([[0, 1], [0, 1], [0, 1], [0, 0]])
DECISIONS = np.array([[1, 1], [0, 1], [0, 0], [0, 1]])


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def test_counts_and_row_rates_by_hand():
    subdural = confusion_figure(TARGETS, DECISIONS, LABELS).axes[1]
    assert subdural.get_title() == "subdural"
    assert texts_of(subdural) == ["2\n66.7%", "1\n33.3%", "1\n100.0%", "0\n0.0%"]


def test_a_label_without_positives_has_no_rate():
    subarachnoid = confusion_figure(TARGETS, DECISIONS, LABELS).axes[0]
    assert texts_of(subarachnoid)[:2] == ["0\n–", "0\n–"]


@pytest.mark.parametrize("num_classes", [4, 5, 6])
def test_every_label_has_its_table(num_classes, tmp_path):
    labels = SCHEMES[num_classes].labels
    zeros = np.zeros((3, num_classes))
    figure = confusion_figure(zeros, zeros, labels, "Test split", note="phantoms")
    assert [axes.get_title() for axes in figure.axes] == list(labels)
    figure.savefig(tmp_path / "confusion.png")


def test_cooccurrence_by_hand():
    # Rows: subarachnoid (no slice), subdural (three), none of these (one).
    (axes,) = cooccurrence_figure(TARGETS, DECISIONS, LABELS).axes
    assert texts_of(axes) == [
        *("–", "–", "–"),
        *("33.3%", "66.7%", "33.3%"),
        *("0.0%", "100.0%", "0.0%"),
    ]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["subarachnoid\n0 slices", "subdural\n3 slices", "none of these\n1 slices"]


@pytest.mark.parametrize(("labels", "name"), [(SUBTYPES, "no bleed"), (SUBTYPES[1:], "none of these")])
def test_only_a_scheme_with_every_subtype_can_tell_that_there_is_no_bleed(labels, name):
    zeros = np.zeros((2, len(labels)))
    (axes,) = cooccurrence_figure(zeros, zeros, labels).axes
    assert axes.get_yticklabels()[-1].get_text() == f"{name}\n2 slices"


@pytest.mark.parametrize("figure", [confusion_figure, cooccurrence_figure])
def test_refuses_other_shapes_and_probabilities(figure):
    with pytest.raises(ValueError, match=r"expected both \[N, 2\]"):
        figure(TARGETS, DECISIONS[:3], LABELS)
    with pytest.raises(ValueError, match="compare probabilities with thresholds first"):
        figure(TARGETS, DECISIONS * 0.5, LABELS)
