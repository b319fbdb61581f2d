"""What monitor's promise of false alarms is worth, how many exams a change takes, and what noting costs an answer.

    python -m benchmarks.monitoring

Exams are drawn from distributions (drawn_exams.py): no network is asked, no image rendered. Windows without a change
are counted as drift so often; then, of a change, how often so many exams say so. Last, the milliseconds that a
request of 40 slices waits for its note. Minutes on one core.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import fisher_exact

from benchmarks.drawn_exams import drawn
from ich_mlflow.dicom.facts import HeaderFacts
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.log import LogFolder
from ich_mlflow.monitoring.record import Record
from ich_mlflow.monitoring.recorder import Recorder
from ich_mlflow.monitoring.signals import compare
from ich_mlflow.serving.rows import Row
from ich_mlflow.serving.seen import what_was_seen

REFERENCES = (200,)
SIZES = (25, 50, 100, 200, 400, 800)
FLAG_SIZES = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400)
#: Of drawn exams, by 20,000 of them; how many of their signals are tested.
FLAG_RATE, SIGNALS = 0.35, 14
#: How often a change is to be seen.
WANTED = 0.8
Change = Callable[[int, np.random.Generator], list[Record]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=2000, help="without a change")
    parser.add_argument("--changed", type=int, default=100, help="windows of each size with a change")
    parser.add_argument("--alarms", type=float, default=0.01)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| reference | window | windows called drift without a change |\n|---|---|---|")
    for num_reference, size in ((200, 50), (200, 200)):
        hits = sum(
            is_alarm(drawn(num_reference, rng), drawn(size, rng), arguments.alarms)
            for _ in range(arguments.windows)
        )
        ends = clopper_pearson(hits / arguments.windows, arguments.windows)
        print(
            f"| {num_reference} | {size} | {hits / arguments.windows:.2%} ({ends.low:.2%} to {ends.high:.2%}) |"
        )
    print(
        f"\n| change | signal | reference | exams until {WANTED:.0%} of windows say so | shares by exams |\n"
        "|---|---|---|---|---|"
    )
    for name, signal, change in CHANGES:
        for num_reference in REFERENCES:
            shares = power(change, signal, num_reference, arguments.changed, arguments.alarms, rng)
            print(f"| {name} | {signal} | {num_reference:,} | {_enough(shares)} |", flush=True)
    print("\n| drop of the flag rate | alarms | reference | exams | shares by exams |\n|---|---|---|---|---|")
    for drop, alarms, num_reference in product(
        (0.05, 0.10, 0.20), (arguments.alarms, 0.05), (200, 1000, 5000)
    ):
        shares = flag_rate_power(drop, num_reference, alarms, rng)
        print(f"| {100 * drop:.0f} points | {alarms:g} | {num_reference:,} | {_enough(shares)} |", flush=True)
    print("\n" + waiting())


def _enough(shares: dict[int, float]) -> str:
    """The first size at which as many are seen as is wanted, and the shares."""
    enough = next(
        (f"{size:,}" for size, one in shares.items() if one >= WANTED), f"more than {max(shares):,}"
    )
    return f"{enough} | {', '.join(f'{size}: {one:.0%}' for size, one in shares.items())}"


def is_alarm(reference: list[Record], window: list[Record], alarms: float) -> bool:
    """Whether anything of the window is called drift."""
    return any(one.is_drift for one in compare(reference, window, alarms=alarms))


def power(
    change: Change, signal: str, num_reference: int, repeats: int, alarms: float, rng: np.random.Generator
) -> dict[int, float]:
    """By the window's size, how often that signal is called drift; up to the first size that nearly always is."""
    found: dict[int, float] = {}
    for size in SIZES:
        hits = 0
        for _ in range(repeats):
            signals = compare(drawn(num_reference, rng), change(size, rng), alarms=alarms)
            hits += any(one.is_drift and one.name == signal for one in signals)
        found[size] = hits / repeats
        if found[size] > 0.99:
            break
    return found


def flag_rate_power(
    drop: float, num_reference: int, alarms: float, rng: np.random.Generator, repeats: int = 400
) -> dict[int, float]:
    """By the window's size, how often such a drop of the flag rate is called drift.

    By counts alone, against the first step of Holm's correction for SIGNALS, as where nothing else has changed.
    """
    found: dict[int, float] = {}
    for size in FLAG_SIZES:
        before, after = (
            rng.binomial(num_reference, FLAG_RATE, repeats),
            rng.binomial(size, FLAG_RATE - drop, repeats),
        )
        found[size] = float(
            np.mean(
                [
                    fisher_exact([[a, num_reference - a], [b, size - b]]).pvalue < alarms / SIGNALS
                    for a, b in zip(before.tolist(), after.tolist(), strict=True)
                ]
            )
        )
        if found[size] >= WANTED:
            break
    return found


def _new_kernel(size: int, rng: np.random.Generator, *, share: float) -> list[Record]:
    return [replace(one, kernel="FC26") if rng.random() < share else one for one in drawn(size, rng)]


CHANGES: tuple[tuple[str, str, Change], ...] = (
    ("a new kernel, all exams", "kernel", lambda size, rng: _new_kernel(size, rng, share=1.0)),
    ("a new kernel, one exam in five", "kernel", lambda size, rng: _new_kernel(size, rng, share=0.2)),
    ("a new kernel, one exam in twenty", "kernel", lambda size, rng: _new_kernel(size, rng, share=0.05)),
    ("a gain of 1 HU", "soft tissue HU", lambda size, rng: drawn(size, rng, hu_gain=1)),
    ("a gain of 5 HU", "soft tissue HU", lambda size, rng: drawn(size, rng, hu_gain=5)),
    ("a gain of 5 HU", "probability any", lambda size, rng: drawn(size, rng, hu_gain=5)),
)


def waiting(answers: int = 300, slices: int = 40) -> str:
    """How long an answer of an exam waits for its note, in milliseconds, while the log is written beside it."""
    rng = np.random.default_rng(0)
    facts = HeaderFacts("GE", "STANDARD", "1.2.840.10008.1.2.1")
    rows = [
        Row(hu=rng.integers(-1000, 100, (256, 256)).astype(np.int16), series="1.2", study="1.3",
            position_mm=5.0 * place, warnings=(), facts=facts, spacing_mm=0.45)
        for place in range(slices)
    ]  # fmt: skip
    said = {f"probability_{ANY}": 0.1, f"decision_{ANY}": False}
    line = {
        "rows": list(range(slices)),
        **said,
        "model_name": "m",
        "model_version": "1",
        "operating_point": "max_f1",
    }
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(LogFolder(Path(folder)))
        taken = []
        for _ in range(answers):
            start = time.perf_counter()
            recorder.put(lambda: what_was_seen(rows, [line], is_exams=True))
            taken.append(1000 * (time.perf_counter() - start))
            time.sleep(0.003)
        recorder.flush()
    middle, late, last = np.quantile(taken, (0.5, 0.99, 1.0))
    return f"an answer of {slices} slices waits {middle:.3f} ms for a note, 99 % within {late:.3f}, at most {last:.3f}"


if __name__ == "__main__":
    main()
