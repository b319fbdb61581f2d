"""Logs of exams that never were: records are drawn from distributions, no network is asked and no image rendered."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.drawn_exams import SITE, drawn
from ich_mlflow.monitoring.log import LogFolder
from ich_mlflow.monitoring.record import Record


def drill(rng: np.random.Generator) -> list[Record]:
    """400 exams, from the 201st another kernel and a gain of 5 HU."""
    before = drawn(200, rng)
    return [*before, *drawn(200, rng, hu_gain=5, kernel="FC26", start=before[-1].time + timedelta(hours=1))]


def write_log(folder: Path, records: Sequence[Record]) -> Path:
    """The records in a folder of logs, as a server would have left them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.key").write_bytes(SITE.key)
    LogFolder(folder).append(records)
    return folder
