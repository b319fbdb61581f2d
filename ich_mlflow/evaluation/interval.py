"""What an interval is. A metric's comes from resamples (intervals.py), a proportion's from theory (proportion.py)."""

from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The ends of a 95 % interval; both are NaN where there is none."""

    low: float
    high: float


#: Of what has no interval.
UNKNOWN = Interval(low=float("nan"), high=float("nan"))
