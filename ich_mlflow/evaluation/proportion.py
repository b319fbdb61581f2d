"""The exact interval of a proportion: of a sensitivity among so many patients."""

import math

from ich_mlflow.evaluation.interval import LEVEL, UNKNOWN, Interval


def clopper_pearson(share: float, number: int) -> Interval:
    """The exact 95 % interval of a share in [0, 1] of `number` independent trials: it covers at least that often.

    share * number need be no whole number: the share of the slices of dependent patients can stand with the number of
    the patients, as if each patient were one trial. UNKNOWN where the share is NaN or there are no trials. Raises
    ValueError for another share or a negative number. Source: Clopper and Pearson, Biometrika 26, 1934, by quantiles of
    the beta distribution.
    """
    # a serving machine imports what surrounds this module, and has no need of SciPy
    from scipy.special import betaincinv

    if number < 0:
        raise ValueError(f"number is {number}, expected 0 or more")
    if math.isnan(share) or number == 0:
        return UNKNOWN
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected a number in [0, 1]")
    hits, misses = share * number, (1 - share) * number
    tail = (1 - LEVEL) / 2
    return Interval(
        low=float(betaincinv(hits, misses + 1, tail)) if hits else 0.0,
        high=float(betaincinv(hits + 1, misses, 1 - tail)) if misses else 1.0,
    )
