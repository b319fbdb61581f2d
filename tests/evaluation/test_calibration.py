import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ich_mlflow.evaluation.calibration import Calibration, calibrate, expected_calibration_error, logit
from ich_mlflow.evaluation.calibration_fit import fit_calibrations

LABEL = ("epidural",)


def _drawn(num, *, scale=1.0, shift=0.0, seed=0):
    """Targets drawn from true probabilities, and what a model says: logits scaled and shifted."""
    rng = np.random.default_rng(seed)
    true = rng.normal(-1, 1.5, size=(num, 1))
    targets = rng.random((num, 1)) < 1 / (1 + np.exp(-true))
    return targets, 1 / (1 + np.exp(-(scale * true + shift)))


def test_the_calibration_error_by_hand():
    # bin 7 (0.467 to 0.533): mean 0.5, all positive; bin 1: mean 0.1, none: (2 * 0.5 + 2 * 0.1) / 4
    assert expected_calibration_error(
        np.array([1, 1, 0, 0]), np.array([0.5, 0.5, 0.1, 0.1])
    ) == pytest.approx(0.3)


def test_temperature_and_platt_by_hand():
    # logit 0.8 is ln 4: half of it is ln 2, of probability 2/3; with ln 2 more it is 0.8 again
    halved = Calibration(label="a", method="temperature", scale=0.5)
    assert halved.apply(np.array([0.8])) == pytest.approx(2 / 3)
    assert Calibration(label="a", method="platt", scale=0.5, shift=np.log(2)).apply(
        np.array([0.8])
    ) == pytest.approx(0.8)


@pytest.mark.parametrize(("method", "shift"), [("temperature", 0.0), ("platt", 1.5)])
def test_a_model_that_is_too_sure_or_saw_another_prevalence_is_mended(method, shift):
    targets, said = _drawn(20_000, scale=3.0, shift=shift)
    (found,) = fit_calibrations(targets, said, LABEL, method=method)
    assert found.scale == pytest.approx(1 / 3, abs=0.02)
    assert found.shift == pytest.approx(-shift / 3, abs=0.05)
    fresh_targets, fresh = _drawn(20_000, scale=3.0, shift=shift, seed=1)
    before = expected_calibration_error(fresh_targets[:, 0], fresh[:, 0])
    after = expected_calibration_error(fresh_targets[:, 0], calibrate(fresh, [found])[:, 0])
    assert after < 0.02 < before


def test_platt_agrees_with_logistic_regression():
    targets, said = _drawn(5000, scale=2.0, shift=0.5)
    (found,) = fit_calibrations(targets, said, LABEL, method="platt")
    expected = LogisticRegression(C=np.inf).fit(logit(said), targets[:, 0])
    assert (found.scale, found.shift) == pytest.approx(
        (expected.coef_[0, 0], expected.intercept_[0]), abs=5e-3
    )


def test_the_method_follows_how_many_slices_there_are():
    for num, method in ((8000, "isotonic"), (400, "platt"), (40, "shrunk")):
        targets, said = _drawn(num)
        (found,) = fit_calibrations(targets, said, LABEL)
        assert found.method == method, num
    assert (
        fit_calibrations(np.zeros((50, 1)), np.full((50, 1), 0.2), LABEL, method="platt")[0].method
        == "shrunk"
    )


def test_every_method_keeps_the_order_of_slices():
    targets, said = _drawn(8000, scale=2.0)
    order = np.argsort(said[:, 0])
    for method in ("temperature", "platt", "isotonic"):
        (found,) = fit_calibrations(targets, said, LABEL, method=method)
        assert (np.diff(found.apply(said[order, 0])) >= -1e-12).all()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="expected one of auto"):
        fit_calibrations(np.array([[0], [1]]), np.array([[0.1], [0.9]]), LABEL, method="beta")
    with pytest.raises(ValueError, match="expected above 0"):
        Calibration(label="a", method="platt", scale=-1.0)
    with pytest.raises(ValueError, match="expected one of none"):
        Calibration(label="a", method="beta")


def test_isotonic_steps_stay_off_zero_and_one():
    # 2,000 slices of either kind, told apart without fault: 1 / 2,002 and 2,001 / 2,002.
    targets = np.repeat([[False], [True]], 2000, axis=0)
    said = np.repeat([[0.2], [0.8]], 2000, axis=0)
    (found,) = fit_calibrations(targets, said, ("any",), method="isotonic")
    np.testing.assert_allclose(found.y, [1 / 2002, 2001 / 2002])


def test_too_few_bleeds_give_probabilities_around_the_prevalence_and_not_the_networks_own():
    # 5 of 21 bleed, all ranked above the rest, and the network says .65 on average
    targets, said = np.array([0] * 16 + [1] * 5)[:, None], np.linspace(0.3, 0.99, 21)[:, None]
    (found,) = fit_calibrations(targets, said, LABEL)
    assert found.method == "shrunk"
    # the level is free but for half a bleed and half none beside the 21 slices
    assert found.apply(said).mean() == pytest.approx(5.5 / 22, abs=0.02)
    assert np.all(np.diff(found.apply(said)[:, 0]) > 0)


def test_without_a_bleed_every_probability_is_about_half_a_bleed_in_one_slice_more():
    said = np.linspace(0.3, 0.99, 21)[:, None]
    (found,) = fit_calibrations(np.zeros((21, 1)), said, LABEL)
    assert found.method == "shrunk"
    assert found.apply(said) == pytest.approx(np.full((21, 1), 0.5 / 22), abs=0.003)
    assert np.all(np.diff(found.apply(said)[:, 0]) > 0)


def test_the_prior_draws_a_slope_in_as_its_density_says():
    # Standardised logits -1, 1 and their targets 0, 1: at the most probable slope b the two slices' pull, 2 (1 - s(b)),
    # is the prior's, b; so b is .675.
    targets, logits = np.array([[0], [1]]), np.array([[-1.0], [1.0]])
    (found,) = fit_calibrations(targets, 1 / (1 + np.exp(-logits)), LABEL, method="shrunk")
    assert (found.scale, found.shift) == pytest.approx((0.675, 0), abs=1e-3)
