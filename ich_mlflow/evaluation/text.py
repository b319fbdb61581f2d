"""Figures in words, the same everywhere: `0.91 (0.85 to 0.95)`, `not estimable`."""

import math

NOT_ESTIMABLE = "not estimable"


def shown(value: float, *, digits: int = 2) -> str:
    """`0.91`, or `not estimable` for NaN."""
    return NOT_ESTIMABLE if math.isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float, low: float, high: float, *, digits: int = 2) -> str:
    """`0.91 (0.85 to 0.95)`, without an interval where it is NaN, `not estimable` where the value is."""
    if math.isnan(value):
        return NOT_ESTIMABLE
    if math.isnan(low) or math.isnan(high):
        return f"{value:.{digits}f} (no interval)"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
