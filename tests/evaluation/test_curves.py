import numpy as np
import pytest

from ich_mlflow.evaluation.curves import GRID, bands, precision_recall, roc
from ich_mlflow.evaluation.proportion import clopper_pearson

TARGETS = np.array([0, 0, 1, 1], dtype=bool)
PROBABILITIES = np.array([0.1, 0.4, 0.35, 0.8])


def test_roc_of_four_slices_by_hand():
    x, y = roc(TARGETS, PROBABILITIES)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.interp(0.25, x, y) == 0.5
    assert np.interp(0.75, x, y) == 1


def test_precision_at_full_recall_by_hand():
    recall, precision = precision_recall(TARGETS, PROBABILITIES)
    assert recall[0] == 0
    assert recall[-1] == 1
    assert precision[np.flatnonzero(recall == 1)[0]] == 2 / 3


def test_where_three_patients_are_alike_a_height_has_the_exact_interval_of_a_share():
    # each has the four slices above, so that every resample is the data
    band, recall_band = bands(
        np.tile(TARGETS, 3), np.tile(PROBABILITIES, 3), np.repeat([0, 1, 2], 4), num_resamples=20
    )
    half, whole, two_thirds = (clopper_pearson(share, 3) for share in (0.5, 1, 2 / 3))
    assert (band.low[25], band.high[25]) == (half.low, half.high)
    # of three that are all right, 1 - 0.975 to the power of one third
    assert (band.low[75], band.high[75]) == pytest.approx((0.2924, 1), abs=5e-5)
    assert (band.low[100], band.high[100]) == (1, 1)
    np.testing.assert_allclose(recall_band.low[[40, 60, 100]], [whole.low, two_thirds.low, two_thirds.low])


def test_a_band_holds_the_curve_and_narrows_with_more_patients():
    rng = np.random.default_rng(0)
    widths = []
    for patients in (20, 200):
        targets = rng.random(patients * 5) < 0.3
        probabilities = np.clip(0.3 * targets + 0.7 * rng.random(len(targets)), 0, 1)
        band, _ = bands(targets, probabilities, np.repeat(np.arange(patients), 5), num_resamples=200)
        curve = np.interp(GRID, *roc(targets, probabilities))
        assert ((band.low <= curve + 0.02) & (curve <= band.high + 0.02)).mean() > 0.95
        widths.append((band.high - band.low).mean())
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(("num_positive", "known"), [(2, False), (3, True), (37, True), (38, False)])
def test_with_fewer_than_three_patients_of_a_kind_there_is_no_band(num_positive, known):
    targets = np.arange(40) < num_positive
    for band in bands(targets, np.linspace(0, 1, 40), np.arange(40), num_resamples=100):
        assert np.isnan(band.low[50]) != known
        assert np.isnan(band.high[50]) != known
