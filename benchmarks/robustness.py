"""How often a model's decisions on exams flip where nothing about the patient changed. It needs no labels.

    python -m benchmarks.robustness --model ich-5class-ctich-demo/1 --data data/ctich

Every exam of a stored set, or of one of its splits, is scored as the model serves it, and again after its slices were
changed: HU 5 higher or lower, a blur, noise, the head rolled by 15 degrees to either side. The table has the share of
exams whose decision on any bleed flips, with its interval (Clopper-Pearson), to positive and to negative, and on any
finding; and how far the calibrated probability of any moves (median of the absolute difference).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ich_mlflow.ct.hounsfield import AIR_HU, MAX_HU, MIN_HU
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.models.series import known_positions
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.stages.common.scoring import load_model
from ich_mlflow.stages.common.specification import columns

#: What is not air: scanners are calibrated by that.
_BODY_HU = -500
#: HU int16 [n, 256, 256] of a series, and a generator of its own, to the same as changed.
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def shifted(offset: int) -> Change:
    """What is not air is `offset` HU denser."""
    return lambda hu, _: _stored(hu + offset * (hu > _BODY_HU).astype(np.float32))


def blurred(pixels: float) -> Change:
    """Blurred by a Gaussian of that deviation in stored pixels, about 0.9 mm."""
    return lambda hu, _: _each(hu, lambda one: cv2.GaussianBlur(one, (0, 0), pixels))


def noisy(deviation_hu: float) -> Change:
    """White noise of that deviation on every slice."""

    def change(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _stored(hu + deviation_hu * rng.standard_normal(hu.shape, dtype=np.float32))

    return change


def rolled(degrees: float) -> Change:
    """The head turned about the middle of its slices."""

    def turn(one: np.ndarray) -> np.ndarray:
        height, width = one.shape
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        return np.asarray(cv2.warpAffine(one, matrix, (width, height), borderValue=float(AIR_HU)))

    return lambda hu, _: _each(hu, turn)


#: By what the table calls them.
CHANGES: dict[str, Change] = {
    "+5 HU": shifted(5),
    "-5 HU": shifted(-5),
    "blur of 1 pixel": blurred(1.0),
    "noise of 5 HU": noisy(5.0),
    "roll of 15 degrees": rolled(15.0),
    "roll of -15 degrees": rolled(-15.0),
}


def _each(hu: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return _stored(np.stack([change(one) for one in hu.astype(np.float32)]))


def _stored(hu: np.ndarray) -> np.ndarray:
    """As a stored set has it: whole numbers."""
    return np.clip(np.rint(hu), MIN_HU, MAX_HU).astype(np.int16)


def exam_probabilities(
    classifier: Classifier, stored: StoredSet, rows: np.ndarray, change: Change | None, *, seed: int = 0
) -> np.ndarray:
    """Calibrated probabilities float64 [M, F] of the exams that those rows are of, whole series, as served."""
    specification = classifier.specification
    series = stored.whole_series(rows)
    position_mm = stored.table["position_mm"].to_numpy()
    outputs, of_series = [], []
    for number, members in enumerate(series):
        hu = stored.hu(members)
        if change is not None:
            hu = change(hu, np.random.default_rng((seed, number)))
        read = classifier.predict_series(hu, known_positions(position_mm[members]))
        outputs.append(read.slices)
        if read.exam is not None:
            of_series.append(np.tile(read.exam, (len(members), 1)))
    scores = specification.scores(np.concatenate(outputs))
    where = columns(stored, np.concatenate(series))
    exams = to_exams(
        np.zeros(scores.shape, bool),
        scores,
        where.studies,
        where.patients,
        where.series,
        aggregation=specification.aggregation,
        of_series=specification.scores(np.concatenate(of_series)) if of_series else None,
    )
    return specification.exams.calibrated(exams.scores)


def row_of(name: str, before: np.ndarray, after: np.ndarray, thresholds: np.ndarray, any_at: int) -> str:
    """A row of the table, of probabilities [M, F] before and after a change and thresholds [F]."""
    was, now = before >= thresholds, after >= thresholds
    flips = was[:, any_at] != now[:, any_at]
    share = float(flips.mean())
    interval = clopper_pearson(share, len(flips))
    to_positive, to_negative = int((flips & now[:, any_at]).sum()), int((flips & was[:, any_at]).sum())
    others = float((was != now).any(axis=1).mean())
    moved = float(np.median(np.abs(after - before)[:, any_at]))
    said = with_interval(share, interval.low, interval.high)
    return f"| {name} | {said} | {to_positive}, {to_negative} | {others:.2f} | {moved:.3f} |"


def report(classifier: Classifier, stored: StoredSet, rows: np.ndarray) -> list[str]:
    """The table's lines."""
    specification = classifier.specification
    thresholds = specification.exams.thresholds(specification.decides_by)
    any_at = specification.findings.index(ANY)
    before = exam_probabilities(classifier, stored, rows, None)
    positive = int((before >= thresholds)[:, any_at].sum())
    lines = [
        f"{len(before)} exams, {positive} of them positive for any as they are; by {specification.decides_by}",
        "",
        "| change | any flips | to positive, to negative | any finding flips | any's probability moves |",
        "|---|---|---|---|---|",
    ]
    for name, change in CHANGES.items():
        after = exam_probabilities(classifier, stored, rows, change)
        lines.append(row_of(name, before, after, thresholds, any_at))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, help="a registered name with alias or version, or a model URI"
    )
    parser.add_argument("--data", type=Path, required=True, help="a stored set; its labels are not looked at")
    parser.add_argument("--split", default="all", help="train, validation, test, or all of the set")
    arguments = parser.parse_args()
    stored = StoredSet.open(arguments.data)
    rows = np.arange(len(stored.table)) if arguments.split == "all" else stored.rows(arguments.split)
    print("\n".join(report(load_model(arguments.model).classifier, stored, rows)))


if __name__ == "__main__":
    main()
