"""Records of exams that never were: what a model says is drawn from distributions, no image is rendered."""

from datetime import UTC, datetime, timedelta

import numpy as np

from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.monitoring.record import EXAM, FLAGGED, NOT_FLAGGED, Record, Site

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SITE = Site(b"a key of the tests alone")
#: Mean and spread of the soft tissue HU of CT-ICH's 50 exams, and how much of a gain it moves by there.
SOFT_TISSUE, SEEN_OF_GAIN = (37.0, 2.8), 0.92
#: Of the exams: with a bleed, each subtype among those, a second scanner.
_BLEEDS, _SUBTYPE, _OTHER_SCANNER = 0.2, 0.3, 0.4


def drawn(
    count: int,
    rng: np.random.Generator,
    *,
    hu_gain: float = 0.0,
    kernel: str = "",
    start: datetime = START,
) -> list[Record]:
    """Exams of two scanners, an hour apart. Log odds of a finding: normal, 2.5 higher with it, a tenth higher for each
    HU of gain. kernel: of all, in the place of two kernels."""
    records = []
    for number in range(count):
        bleeds = rng.random() < _BLEEDS
        truth = rng.random(len(SUBTYPES)) < _SUBTYPE * bleeds
        odds = rng.normal(-3.5, 1.2, len(SUBTYPES)) + 2.5 * truth + 0.1 * hu_gain
        shares = 1 / (1 + np.exp(-odds))
        any_share = float(1 - np.prod(1 - shares))
        flagged = any_share > 0.3
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
                soft_tissue_hu=round(float(rng.normal(*SOFT_TISSUE) + SEEN_OF_GAIN * hu_gain), 2),
                warnings=("read with care",) if rng.random() < 0.05 else (),
            )
        )
    return records
