import numpy as np
import pytest

from ich_mlflow.evaluation.t_interval import MIN_PATIENTS, t_difference, t_interval

#: Standard deviation 0.1, mean 0.5.
SAMPLES = np.array([0.4, 0.5, 0.6])


def ends(value, samples=SAMPLES, *, num_patients=5, is_share=True, of=t_interval):
    interval = of(value, np.asarray(samples), num_patients=num_patients, is_share=is_share)
    return interval.low, interval.high


def test_five_patients_by_hand():
    # t with 4 degrees of freedom is 2.7764, the root of 5 / 4 is 1.1180: 0.1 reaches 0.31042
    assert ends(3.0, is_share=False) == pytest.approx((3 - 0.31042, 3 + 0.31042), abs=1e-5)
    assert ends(0.1, of=t_difference) == pytest.approx((0.1 - 0.31042, 0.1 + 0.31042), abs=1e-5)


def test_a_share_by_hand():
    # on the logit scale 0.8 is ln 4 = 1.38629, and 0.31042 is 0.31042 / 0.16 = 1.94010
    low, high = ends(0.8)
    assert np.log(low / (1 - low)) == pytest.approx(1.38629 - 1.94010, abs=1e-4)
    assert np.log(high / (1 - high)) == pytest.approx(1.38629 + 1.94010, abs=1e-4)
    assert 0 < low < 0.8 < high < 1


def test_of_many_patients_it_is_that_of_the_normal_distribution():
    samples = np.random.default_rng(0).normal(0.7, 0.02, 100_000)
    low, high = ends(0.7, samples, num_patients=2000)
    assert (low, high) == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=2e-3)


def test_fewer_patients_make_it_wider():
    widths = [high - low for low, high in (ends(0.7, num_patients=n) for n in (3, 4, 6, 10, 30, 300))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("value", "expected"), [(1.0, (0.025**0.2, 1)), (0.0, (0, 1 - 0.025**0.2))])
def test_a_share_that_is_equal_in_all_resamples_has_the_exact_interval(value, expected):
    assert ends(value, np.full(50, value)) == pytest.approx(expected)
    # but for rounding
    assert ends(value + 1e-12, np.full(50, value)) == pytest.approx(expected)


def test_a_difference_that_is_equal_in_all_resamples_reaches_as_far_as_what_was_never_seen():
    reach = 1 - 0.025**0.2
    assert ends(0.0, np.zeros(50), of=t_difference) == pytest.approx((-reach, reach))
    assert ends(0.9, np.full(50, 0.9), of=t_difference) == pytest.approx((0.9 - reach, 1))


def test_what_is_no_share_and_equal_in_all_resamples_has_no_interval():
    for of in (t_interval, t_difference):
        assert np.isnan(ends(2.0, np.full(50, 2.0), is_share=False, of=of)).all()


@pytest.mark.parametrize("of", [t_interval, t_difference])
def test_too_few_patients_or_too_few_resamples_that_can_tell_give_none(of):
    assert np.isnan(ends(0.5, num_patients=MIN_PATIENTS - 1, of=of)).all()
    assert not np.isnan(ends(0.5, num_patients=MIN_PATIENTS, of=of)).any()
    assert not np.isnan(ends(0.5, np.r_[SAMPLES, np.full(3, np.nan)], of=of)).any()
    assert np.isnan(ends(0.5, np.r_[SAMPLES, np.full(4, np.nan)], of=of)).all()
    assert np.isnan(ends(np.nan, of=of)).all()


def test_what_is_called_a_share_and_is_none_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"a share is -0.2, expected 0 to 1: is_share=False"):
        ends(-0.2)
