"""Logs of exams that never were: what a model says is drawn from distributions, and no image is rendered."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.monitoring.log import LogFolder
from ich_mlflow.monitoring.record import EXAM, FLAGGED, NOT_FLAGGED, Record, Site

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SITE = Site(b"a key of the tests alone")
#: Of the exams: with a bleed, each subtype among those, a second scanner.
_BLEEDS, _SUBTYPE, _OTHER_SCANNER = 0.2, 0.3, 0.4


def drawn(
    count: int,
    rng: np.random.Generator,
    *,
    hu_gain: float = 0.0,
    kernel: str = "",
    more_flags: float = 0.0,
    start: datetime = START,
) -> list[Record]:
    """Exams of two scanners, an hour apart. Log odds of a finding: normal, 2.5 higher with it, a tenth higher for each
    HU of gain. kernel: of all, in the place of two kernels. more_flags: so many more of all are flagged."""
    records = []
    for number in range(count):
        bleeds = rng.random() < _BLEEDS
        truth = rng.random(len(SUBTYPES)) < _SUBTYPE * bleeds
        odds = rng.normal(-3.5, 1.2, len(SUBTYPES)) + 2.5 * truth + 0.1 * hu_gain
        shares = 1 / (1 + np.exp(-odds))
        any_share = float(1 - np.prod(1 - shares))
        flagged = any_share > 0.3 or rng.random() < more_flags
        other = rng.random() < _OTHER_SCANNER
        records.append(
            Record(
                time=start + timedelta(hours=number),
                site=SITE.name,
                study=SITE.hashed(f"{rng.integers(2**62)}"),
                model_name="ich-5class",
                model_version="3",
                unit=EXAM,
                status=FLAGGED if flagged else NOT_FLAGGED,
                operating_point="max_f1",
                probabilities={**dict(zip(SUBTYPES, shares.tolist(), strict=True)), ANY: any_share},
                positive=(ANY,) if flagged else (),
                slices=int(rng.integers(28, 40)),
                manufacturer="SIEMENS" if other else "GE",
                kernel=kernel or ("Hr40f" if other else "STANDARD"),
                syntax="1.2.840.10008.1.2.1",
                step_mm=float(rng.choice([4.8, 5.0])),
                spacing_mm=round(float(rng.normal(0.45, 0.02)), 4),
                soft_tissue_hu=round(float(rng.normal(33, 1.5) + hu_gain), 2),
                warnings=("read with care",) if rng.random() < 0.05 else (),
            )
        )
    return records


def drill(rng: np.random.Generator) -> list[Record]:
    """400 exams, from the 201st another kernel and a gain of 5 HU."""
    before = drawn(200, rng)
    return [*before, *drawn(200, rng, hu_gain=5, kernel="FC26", start=before[-1].time + timedelta(hours=1))]


def write_log(
    folder: Path, records: Sequence[Record], change: Callable[[Record], Record] = lambda one: one
) -> Path:
    """The records in a folder of logs, as a server would have left them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.key").write_bytes(SITE.key)
    LogFolder(folder).append([replace(change(one)) for one in records])
    return folder
