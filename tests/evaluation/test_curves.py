import numpy as np

from ich_mlflow.evaluation.curves import GRID, bands, precision_recall, roc

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


def test_without_doubt_about_the_patients_there_is_no_band():
    # one patient, drawn again and again: every resample is the data
    band, recall_band = bands(TARGETS, PROBABILITIES, np.zeros(4), num_resamples=20)
    np.testing.assert_array_equal(band.low, band.high)
    assert band.low[25] == 0.5
    np.testing.assert_allclose(recall_band.low[[40, 60, 100]], [1, 2 / 3, 2 / 3])


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


def test_where_most_resamples_lack_a_kind_there_is_no_band():
    # the only positive is of one patient of forty: 37 % of the resamples lack it, two such patients would not
    targets = np.zeros(40, bool)
    targets[0] = True
    band, _ = bands(targets, np.linspace(0, 1, 40), np.arange(40), num_resamples=100)
    assert not np.isnan(band.low).any()
    band, _ = bands(np.ones(3, bool), np.linspace(0, 1, 3), np.arange(3), num_resamples=100)
    assert np.isnan(band.low).all()
