"""The interval of a metric from its resamples, also where few patients stand behind it.

The middle 95 % of the resamples, the percentile interval, is too narrow then: it never reaches beyond what these few
patients show, and has no width where all of them came out alike. How often either holds the truth is in
docs/results.md, by benchmarks/coverage.py. Of many patients both are nearly the same.
"""

import math

import numpy as np
from scipy.special import expit, logit, stdtrit

from ich_mlflow.evaluation.interval import LEVEL, UNKNOWN, Interval
from ich_mlflow.evaluation.proportion import clopper_pearson

#: With fewer there is no interval: of two patients it would be nearly all that is possible.
MIN_PATIENTS = 3
#: Resamples that differ by less are equal, but for rounding.
_EQUAL = 1e-9


def t_interval(value: float, samples: np.ndarray, *, num_patients: int, is_share: bool) -> Interval:
    """The interval of a metric by Student's t: value - reach to value + reach, see _reach.

    samples: the metric in resamples, NaN where one can't tell. A share, between 0 and 1, is moved on the logit scale,
    where it has no ends, by the delta method. One that is equal in all resamples, such as a sensitivity of 1, has the
    exact interval of Clopper and Pearson, as if every patient were one trial.
    UNKNOWN with fewer than MIN_PATIENTS, where most resamples can't tell, and where all are equal of what is no share.
    Raises ValueError for a share outside [0, 1].
    """
    if is_share and not -_EQUAL <= value <= 1 + _EQUAL and not math.isnan(value):
        raise ValueError(f"a share is {value}, expected 0 to 1: is_share=False in the record of its metric")
    reach = _reach(samples, num_patients)
    if math.isnan(reach) or math.isnan(value):
        return UNKNOWN
    if not is_share:
        return Interval(low=value - reach, high=value + reach) if reach else UNKNOWN
    share = min(max(value, 0.0), 1.0)
    if not reach or share in (0, 1):
        return clopper_pearson(share, num_patients)
    on_logits = reach / (share * (1 - share))
    low, high = expit(logit(share) + np.array([-on_logits, on_logits]))
    return Interval(low=float(low), high=float(high))


def t_difference(value: float, samples: np.ndarray, *, num_patients: int, is_share: bool) -> Interval:
    """The interval of the difference of a metric of two models, from paired resamples, as t_interval.

    Of shares it ends at -1 and 1; one that is equal in all resamples reaches as far as a share that is 0 in all.
    """
    reach = _reach(samples, num_patients)
    if math.isnan(reach) or math.isnan(value):
        return UNKNOWN
    if not is_share:
        return Interval(low=value - reach, high=value + reach) if reach else UNKNOWN
    reach = reach or clopper_pearson(0.0, num_patients).high
    return Interval(low=max(value - reach, -1.0), high=min(value + reach, 1.0))


def _reach(samples: np.ndarray, num_patients: int) -> float:
    """The half width t * s * sqrt(n / (n - 1)) for n patients; 0 where samples are equal, NaN where it can't be told.

    s: the standard deviation of the samples. t: 0.975 quantile of Student's t with n - 1 degrees of freedom. The root
    makes s of a mean its usual standard error. Source: Hesterberg, The American Statistician 69, 2015, 4.3.
    """
    known = samples[~np.isnan(samples)]
    if num_patients < MIN_PATIENTS or len(known) < max(2, len(samples) / 2):
        return math.nan
    spread = float(known.std(ddof=1))
    if spread < _EQUAL:
        return 0.0
    quantile = float(stdtrit(num_patients - 1, (1 + LEVEL) / 2))
    return quantile * spread * math.sqrt(num_patients / (num_patients - 1))
