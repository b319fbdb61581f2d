"""Whether a signal of a window differs from the reference's: a test, an effect with its interval, Holm's correction.

Pure. Tests are SciPy's, which a serving machine has not: nothing that serves imports this module.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ich_mlflow.evaluation.interval import UNKNOWN, Interval

#: Categories that fewer exams have are put together.
MIN_CATEGORY = 2
#: Above this count in every cell that is expected, the chi-squared distribution is near enough.
_MIN_EXPECTED = 5
#: Tables drawn where it is not: the smallest p value is one in so many.
_TABLES = 9999
_LEVEL_Z = float(stats.norm.ppf(0.975))
REST = "others"
#: Instead of a test, where all exams are alike: a difference is not possible, and none is counted as looked for.
NO_TEST = "all alike"
#: Of a category that the header does not name.
NOT_SAID = "not said"
NUMBERS, SHARE, CATEGORIES = "numbers", "share", "categories"


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What a test found of one signal.

    kind              NUMBERS, SHARE or CATEGORIES; test: its name
    reference, window what each looks like, in a few words
    num_reference, num_window   exams of which the signal is known
    p, p_corrected    of the test alone, and by Holm among all signals
    effect, interval  of numbers, how often one of the window is larger than one of the reference, 0.5 without a change;
                      of shares, window minus reference; of categories the same of the one that changed most
    is_drift          whether p_corrected is below the rate of false alarms that was asked for
    """

    name: str
    kind: str
    test: str
    reference: str
    window: str
    num_reference: int
    num_window: int
    p: float
    effect: float
    interval: Interval
    effect_of: str = ""
    p_corrected: float = float("nan")
    is_drift: bool = False

    @property
    def size(self) -> float:
        """The effect as a distance from no change, to sort by."""
        return abs(self.effect - 0.5) * 2 if self.kind == NUMBERS else abs(self.effect)


def numbers(name: str, reference: Sequence[float], window: Sequence[float]) -> Signal:
    """Kolmogorov and Smirnov's test of two samples of numbers, which sees a change of place and of width."""
    first, second = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    alike = len(np.unique(np.concatenate([first, second]))) < 2
    p = 1.0 if alike else float(stats.ks_2samp(first, second, method="asymp").pvalue)
    effect, interval = larger(first, second)
    return Signal(
        name=name,
        kind=NUMBERS,
        test=NO_TEST if alike else "Kolmogorov-Smirnov",
        reference=_quartiles(first),
        window=_quartiles(second),
        num_reference=len(first),
        num_window=len(second),
        p=p,
        effect=effect,
        interval=interval,
    )


def share(name: str, reference: Sequence[bool], window: Sequence[bool]) -> Signal:
    """Fisher's exact test of two shares."""
    hits, others = (int(np.sum(one)) for one in (reference, window))
    table = [[hits, len(reference) - hits], [others, len(window) - others]]
    effect, interval = difference(hits, len(reference), others, len(window))
    return Signal(
        name=name,
        kind=SHARE,
        test=NO_TEST if hits + others in (0, len(reference) + len(window)) else "Fisher",
        reference=f"{hits / len(reference):.1%}",
        window=f"{others / len(window):.1%}",
        num_reference=len(reference),
        num_window=len(window),
        p=float(stats.fisher_exact(table).pvalue),
        effect=effect,
        interval=interval,
    )


def categories(name: str, reference: Sequence[str], window: Sequence[str], *, seed: int = 0) -> Signal:
    """A test of two samples of names: chi-squared, by drawn tables where counts are small, Fisher's of two names."""
    counts = [Counter(one or NOT_SAID for one in sample) for sample in (reference, window)]
    total = counts[0] + counts[1]
    rare = {value for value, count in total.items() if count < MIN_CATEGORY}
    names = [value for value, _ in total.most_common() if value not in rare] + ([REST] if rare else [])
    table = np.array(
        [
            [sum(each[one] for one in (rare if value == REST else {value})) for value in names]
            for each in counts
        ]
    )
    test, p = _test_of_table(table, seed)
    shifts = [difference(int(a), len(reference), int(b), len(window)) for a, b in table.T]
    most = int(np.argmax([abs(one[0]) for one in shifts]))
    said = [
        ", ".join(
            f"{value} {count / max(1, row.sum()):.0%}"
            for value, count in zip(names, row, strict=True)
            if count
        )
        for row in table
    ]
    return Signal(
        name=name,
        kind=CATEGORIES,
        test=test,
        reference=said[0],
        window=said[1],
        num_reference=len(reference),
        num_window=len(window),
        p=p,
        effect=shifts[most][0],
        interval=shifts[most][1],
        effect_of=names[most],
    )


def _test_of_table(table: np.ndarray, seed: int) -> tuple[str, float]:
    if table.shape[1] < 2:
        return NO_TEST, 1.0
    if table.shape[1] == 2:
        return "Fisher", float(stats.fisher_exact(table).pvalue)
    if stats.contingency.expected_freq(table).min() >= _MIN_EXPECTED:
        return "chi-squared", float(stats.chi2_contingency(table, correction=False).pvalue)
    return "chi-squared by drawn tables", _by_drawn_tables(table, seed)


def _by_drawn_tables(table: np.ndarray, seed: int) -> float:
    """The chance of as large a chi-squared among tables with the same sums, of two rows.

    By NumPy: SciPy's own way shuffles the exams themselves, which takes seconds.
    """
    expected = stats.contingency.expected_freq(table)
    first = np.random.default_rng(seed).multivariate_hypergeometric(
        table.sum(axis=0), int(table[0].sum()), size=_TABLES, method="marginals"
    )
    # the second row differs by as much, the other way
    weights = 1 / expected[0] + 1 / expected[1]
    found = ((first - expected[0]) ** 2 * weights).sum(axis=1)
    seen = float(((table[0] - expected[0]) ** 2 * weights).sum())
    return float((1 + np.count_nonzero(found >= seen * (1 - 1e-9))) / (1 + _TABLES))


def corrected(signals: Sequence[Signal], *, alarms: float) -> list[Signal]:
    """The signals with Holm's p values among all of them, the smallest first; drift is below `alarms`.

    Without a change at least one is below it with a probability of at most `alarms`, however they depend on each other.
    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    ordered = sorted(signals, key=lambda one: (one.p, -one.size))
    left = sum(one.test != NO_TEST for one in ordered)
    found, highest = [], 0.0
    for one in ordered:
        highest = min(1.0, max(highest, one.p * left)) if one.test != NO_TEST else 1.0
        left -= one.test != NO_TEST
        found.append(replace(one, p_corrected=highest, is_drift=highest < alarms))
    return found


def difference(hits: int, number: int, other_hits: int, other_number: int) -> tuple[float, Interval]:
    """The second share minus the first, with its 95 % interval. Source: Newcombe, Statistics in Medicine 17, 1998."""
    first, second = hits / number, other_hits / other_number
    (low, high), (other_low, other_high) = _wilson(hits, number), _wilson(other_hits, other_number)
    change = second - first
    return change, Interval(
        low=change - float(np.hypot(second - other_low, high - first)),
        high=change + float(np.hypot(other_high - second, first - low)),
    )


def _wilson(hits: int, number: int) -> tuple[float, float]:
    found = stats.binomtest(hits, number).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def larger(reference: np.ndarray, window: np.ndarray) -> tuple[float, Interval]:
    """How often a number of the window is larger than one of the reference, a tie counting half, and its 95 % interval.

    It is the AUC of the two. Source of the variance: DeLong et al., Biometrics 44, 1988; on the logit.
    """
    if min(len(reference), len(window)) < 2:
        return float("nan"), UNKNOWN
    ordered, others = np.sort(reference), np.sort(window)
    below = (
        (np.searchsorted(ordered, window) + np.searchsorted(ordered, window, "right")) / 2 / len(reference)
    )
    above = 1 - (np.searchsorted(others, reference) + np.searchsorted(others, reference, "right")) / 2 / len(
        window
    )
    value = float(below.mean())
    spread = float(np.sqrt(below.var(ddof=1) / len(window) + above.var(ddof=1) / len(reference)))
    if not 0 < value < 1:
        return value, UNKNOWN
    logit, width = np.log(value / (1 - value)), _LEVEL_Z * spread / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (logit - width, logit + width))
    return value, Interval(low=low, high=high)


def _quartiles(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"
