"""Which subtypes an exam shows. A pure function of the seed and the patient's number."""

import numpy as np

from ich_mlflow.labels import SUBTYPES

#: Steps of the draws (fractional parts of square roots of primes): any run of patients, however short, has
#: close to the asked share of each subtype, which independent draws would not give a small cohort.
_STEPS = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0]) % 1
#: How much more often blood breaks into the ventricles with a clot, into the sulci with a subdural.
_WITH_PARENCHYMAL = 2.4
_WITH_SUBDURAL = 1.8


def subtypes_of(seed: int, patient: int, rates: tuple[float, ...]) -> tuple[str, ...]:
    """The patient's subtypes, in SUBTYPES order; each with its rate, co-occurring as real ones do."""
    offsets = np.random.default_rng([seed, 90001]).random(5)
    draws = dict(zip(SUBTYPES, (offsets + patient * _STEPS) % 1, strict=True))
    rate = dict(zip(SUBTYPES, rates, strict=True))
    shown = {name: draws[name] < rate[name] for name in ("epidural", "intraparenchymal", "subdural")}
    for name, companion, factor in (
        ("intraventricular", "intraparenchymal", _WITH_PARENCHYMAL),
        ("subarachnoid", "subdural", _WITH_SUBDURAL),
    ):
        given = rate_given(rate[name], rate[companion], factor)
        shown[name] = draws[name] < given[int(shown[companion])]
    return tuple(name for name in SUBTYPES if shown[name])


def rate_given(rate: float, companion_rate: float, factor: float) -> tuple[float, float]:
    """(rate without the companion, rate with it): `factor` times as often with it, the overall rate kept."""
    with_it = min(1.0, factor * rate)
    if companion_rate >= 1:
        return 0.0, rate
    without = (rate - companion_rate * with_it) / (1 - companion_rate)
    if without < 0:
        return 0.0, rate / companion_rate
    return without, with_it
