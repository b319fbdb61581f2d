"""What a comparison of windows found, in words and figures: the answer, the table, the metrics."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.monitoring.drift import NO_TEST, NUMBERS, Signal
from ich_mlflow.monitoring.record import FLAGGED
from ich_mlflow.stages.monitor.options import MonitorOptions
from ich_mlflow.stages.monitor.outcomes import Outcome
from ich_mlflow.stages.monitor.windows import Windows
from ich_mlflow.system.counting import counted

COLUMNS = ("signal", "test", "reference", "window", "effect", "p", "p corrected", "drift")


@dataclass(frozen=True, kw_only=True)
class Found:
    """windows compared, signals with the surest first, outcomes by `reference` and `window` where labels were given."""

    run_id: str
    options: MonitorOptions
    model: str
    windows: Windows
    signals: Sequence[Signal]
    outcomes: dict[str, list[Outcome]]
    notes: Sequence[str]

    @property
    def drifted(self) -> list[Signal]:
        return [one for one in self.signals if one.is_drift]

    @property
    def answer(self) -> str:
        """The line that a scheduler hands on."""
        exams = f"{counted(len(self.windows.window), 'exam')} of {self.model}, {self.windows.said}"
        tested = sum(one.test != NO_TEST for one in self.signals)
        if not self.drifted:
            return f"no drift: {exams}, {counted(tested, 'signal')} tested"
        names = ", ".join(one.name for one in self.drifted)
        return f"drift of {counted(len(self.drifted), 'signal')} ({names}): {exams}"


def effect_text(one: Signal) -> str:
    """`larger in 0.62 (0.57 to 0.68)`, `FC26 +12 points (5 to 20)`."""
    low, high = one.interval.low, one.interval.high
    if one.kind == NUMBERS:
        return f"larger in {with_interval(one.effect, low, high)}"
    of = f"{one.effect_of} " if one.effect_of else ""
    return f"{of}{100 * one.effect:+.1f} points ({100 * low:.1f} to {100 * high:.1f})"


def p_text(p: float) -> str:
    """`0.032`, `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def rows_of(signals: Sequence[Signal]) -> list[list[str]]:
    """A row a signal, by COLUMNS."""
    return [
        [
            one.name,
            one.test,
            one.reference,
            one.window,
            effect_text(one),
            p_text(one.p),
            p_text(one.p_corrected),
            "drift" if one.is_drift else "",
        ]
        for one in signals
    ]


def frame_of(signals: Sequence[Signal]) -> pd.DataFrame:
    """The same for other programs: numbers as they are."""
    return pd.DataFrame(
        {
            "signal": one.name,
            "kind": one.kind,
            "test": one.test,
            "reference": one.reference,
            "window": one.window,
            "num_reference": one.num_reference,
            "num_window": one.num_window,
            "effect": one.effect,
            "effect_of": one.effect_of,
            "low": one.interval.low,
            "high": one.interval.high,
            "p": one.p,
            "p_corrected": one.p_corrected,
            "drift": one.is_drift,
        }
        for one in signals
    )


def metrics_of(found: Found) -> dict[str, float]:
    """Figures of the window that chart from run to run: few of the whole, then an effect and a p value a signal."""
    window = found.windows.window
    values = {
        "monitor/drifted": len(found.drifted),
        "monitor/exams": len(window),
        "monitor/flag_rate": sum(one.status == FLAGGED for one in window) / len(window),
        "monitor/smallest_p": min(one.p_corrected for one in found.signals),
    }
    for one in found.signals:
        name = re.sub(r"\W+", "_", one.name)
        values |= {f"effect/{name}": one.effect, f"p/{name}": one.p_corrected}
    values |= {f"labelled/{one.name.lower()}": one.value for one in found.outcomes.get("window", ())}
    return {name: value for name, value in values.items() if value == value}
