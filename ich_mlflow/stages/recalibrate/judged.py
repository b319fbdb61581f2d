"""Before and after on the local exams: what the version says, and what the other patients would have had it say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, Predictions, assess, paired
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.recalibration import cross_fitted, recalibrate
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY
from ich_mlflow.stages.recalibrate.local import Unit

_OF_PROBABILITIES = ("calibration_slope", "calibration_intercept", "brier", "brier_skill")
_OF_DECISIONS = ("sensitivity", "specificity")
SHOWN = (*_OF_PROBABILITIES, *_OF_DECISIONS)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A unit recalibrated. chosen: from all patients, what the new version has; the rest is cross-fitted.

    labels: those that were recalibrated. targets bool, before, after: probabilities, [N, L] of them. table: a row a
    metric and label: before, after, and after minus before, with 95 % intervals by patient. flagged_before,
    flagged_after: whether any bleed is decided positive, bool [N].
    """

    unit: Unit
    chosen: Chosen
    labels: tuple[str, ...]
    targets: np.ndarray
    before: np.ndarray
    after: np.ndarray
    table: pd.DataFrame
    flagged_before: np.ndarray
    flagged_after: np.ndarray

    def figure(self, metric: str, when: str, *, label: str = ANY) -> float:
        """A figure of the table. when: before, after or difference, and _low or _high after it."""
        rows = self.table[(self.table["metric"] == metric) & (self.table["label"] == label)]
        return float(rows[when].iloc[0])

    def said(self, metric: str, when: str) -> str:
        """A figure of any bleed with its interval."""
        return with_interval(*(self.figure(metric, f"{when}{end}") for end in ("", "_low", "_high")))

    @property
    def pays(self) -> bool:
        """Whether the Brier skill of any bleed is higher after."""
        return self.figure("brier_skill", "difference") > 0


def judged(
    unit: Unit, labels: tuple[str, ...], *, recalibrated: Sequence[str], rule: str, num_resamples: int
) -> Judged:
    """Recalibrate a unit of those labels, and compare on patients who had no part in it."""
    arrays = (unit.targets, unit.scores, unit.patients, labels)
    found = cross_fitted(unit.chosen, *arrays, folds=unit.folds, recalibrated=recalibrated, rule=rule)
    said = unit.chosen.calibrated(unit.scores)
    before = (said, said >= unit.chosen.thresholds(rule))
    after = (found.probabilities, found.decisions)
    kept = tuple(label for label in labels if label in recalibrated)
    places = [labels.index(label) for label in kept]
    tables = []
    for metrics, one, other in zip((_OF_PROBABILITIES, _OF_DECISIONS), before, after, strict=True):
        assessed = [
            assess(_predictions(unit, each, places, kept), num_resamples=num_resamples)
            for each in (one, other)
        ]
        tables.append(_table(*assessed, metrics=metrics))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "unit", unit.name)
    return Judged(
        unit=unit,
        chosen=recalibrate(unit.chosen, *arrays, recalibrated=recalibrated),
        labels=kept,
        targets=unit.targets[:, places],
        before=said[:, places],
        after=found.probabilities[:, places],
        table=table,
        flagged_before=before[1][:, labels.index(ANY)],
        flagged_after=after[1][:, labels.index(ANY)],
    )


def _predictions(unit: Unit, values: np.ndarray, places: list[int], labels: tuple[str, ...]) -> Predictions:
    """Probabilities; or decisions as 0 and 1, since each fold has thresholds of its own."""
    return Predictions(
        labels=labels,
        targets=unit.targets[:, places],
        probabilities=values[:, places].astype(np.float64),
        thresholds=np.full(len(labels), 0.5),
        patients=unit.patients,
        unit=unit.name,
        scores=unit.scores[:, places],
    )


def _table(before: Assessment, after: Assessment, *, metrics: Sequence[str]) -> pd.DataFrame:
    differences = paired(after, before).set_index(["metric", "label"])
    rows = []
    for metric in metrics:
        for label in before.predictions.labels:
            row: dict[str, object] = {"metric": metric, "label": label}
            for when, one in (("before", before), ("after", after)):
                interval = one.interval(f"{metric}/{label}")
                row[when] = one.values.get(f"{metric}/{label}", np.nan)
                row[f"{when}_low"], row[f"{when}_high"] = interval.low, interval.high
            known = (metric, label) in differences.index
            for name, column in (("", "difference"), ("_low", "low"), ("_high", "high")):
                row[f"difference{name}"] = differences.loc[(metric, label), column] if known else np.nan
            rows.append(row)
    return pd.DataFrame(rows)
