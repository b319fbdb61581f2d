"""Of 1,000 slices 100 bleed. A network calls 170 of them suspicious: 80 of the 100, and 90 of the other 900."""

import numpy as np
import pytest

from ich_mlflow.evaluation.recalibrated import recalibrated_loss
from ich_mlflow.training.loop import mean_binary_crossentropy

LABELS = ("subdural",)
BLEEDS = np.repeat([1, 0], [100, 900])[:, None]
SUSPICIOUS = np.repeat([True, False, True, False], [80, 20, 90, 810])[:, None]
#: ln(80 / 90) = -0.118 and ln(20 / 810) = -3.701, moved by ln 9 as classes of equal size move them: 2.079 and -1.504
BALANCED = np.where(SUSPICIOUS, 8 / 9, 2 / 11)
#: The entropy of 80 of 170 and of 20 of 830: 0.17 * 0.6914 + 0.83 * 0.1136
TOLD_APART = 0.2118
#: -(0.1 ln 0.1 + 0.9 ln 0.9)
PREVALENCE = 0.3251


def _constant(value):
    return np.full(BLEEDS.shape, value)


def test_a_network_of_balanced_classes_beats_a_constant_though_its_plain_cross_entropy_does_not():
    # -(80 ln 0.889 + 20 ln 0.182 + 90 ln 0.111 + 810 ln 0.818) / 1000
    assert mean_binary_crossentropy(BLEEDS, BALANCED) == pytest.approx(0.4038, abs=1e-4)
    assert mean_binary_crossentropy(BLEEDS, _constant(0.1)) == pytest.approx(PREVALENCE, abs=1e-4)
    assert recalibrated_loss(BLEEDS, BALANCED, LABELS) == pytest.approx(TOLD_APART, abs=2e-3)
    assert recalibrated_loss(BLEEDS, _constant(0.1), LABELS) == pytest.approx(PREVALENCE, abs=1e-4)


@pytest.mark.parametrize("value", [0.01, 0.5, 0.9])
def test_every_constant_has_the_entropy_of_the_prevalence(value):
    assert recalibrated_loss(BLEEDS, _constant(value), LABELS) == pytest.approx(PREVALENCE, abs=1e-4)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, -3.0), (0.25, 0.0), (3.0, 1.0)])
def test_how_sure_a_network_is_does_not_matter(scale, shift):
    logits = np.log(BALANCED / (1 - BALANCED)) * scale + shift
    expected = recalibrated_loss(BLEEDS, BALANCED, LABELS)
    assert recalibrated_loss(BLEEDS, 1 / (1 + np.exp(-logits)), LABELS) == pytest.approx(expected, abs=1e-4)


def test_it_is_the_mean_over_labels():
    both = recalibrated_loss(
        np.hstack([BLEEDS, BLEEDS]), np.hstack([BALANCED, _constant(0.5)]), ("subdural", "epidural")
    )
    expected = (
        recalibrated_loss(BLEEDS, BALANCED, LABELS) + recalibrated_loss(BLEEDS, _constant(0.5), LABELS)
    ) / 2
    assert both == pytest.approx(expected)


def test_the_fit_is_not_paid_for_with_one_positive_slice():
    """A scale and a shift without a prior would take the loss of one slice that stands highest to nothing."""
    targets = np.arange(100)[:, None] == 99
    highest = np.linspace(0.01, 0.99, 100)[:, None]
    entropy = 0.0560  # -(0.01 ln 0.01 + 0.99 ln 0.99)
    assert 0.5 * entropy < recalibrated_loss(targets, highest, LABELS) < entropy


def test_a_label_without_positives_costs_next_to_nothing():
    """Half a slice is added of either kind: ln(1 + 0.5 / 1000.5)."""
    assert recalibrated_loss(np.zeros_like(BLEEDS), _constant(0.5), LABELS) == pytest.approx(0.0005, abs=1e-5)
