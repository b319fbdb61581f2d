"""What the gates are told of predictions: AUC and Brier skill beside another's, calibration, what can't be told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.assess import Assessment, Predictions, difference
from ich_mlflow.evaluation.metrics import MACRO
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.stages.promote.facts import CalibrationLine, Compared, Figure, OverNullModel

_AUC, _SKILL = "auc", "brier_skill"
_MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate minus another on the same slices, or exams: the paired table, and the mean AUC.

    mean: over the labels of which an interval can be told; None where no label is estimable for both.
    """

    unit: str
    table: pd.DataFrame
    mean: Compared | None

    def auc(self, label: str) -> Compared | None:
        """Of a label; None where it is not estimable for both."""
        return _compared(self.table, _AUC, label)

    @property
    def subtypes(self) -> dict[str, Compared]:
        """AUC of each subtype that is estimable for both."""
        labels = self.table.loc[self.table["metric"] == _AUC, "label"]
        found = {label: self.auc(label) for label in labels if label in _subtypes(labels)}
        return {label: one for label, one in found.items() if one is not None}

    @property
    def skill(self) -> dict[str, Compared]:
        """Brier skill of any and the mean, by name."""
        found = {_of(label, self.unit): _compared(self.table, _SKILL, label) for label in (ANY, MACRO)}
        return {name: one for name, one in found.items() if one is not None}


def compare(mine: Predictions, others: Predictions, *, num_resamples: int) -> Difference:
    """What the candidate says beside what another says of the same rows."""
    table = difference(mine, others, num_resamples=num_resamples)
    return Difference(
        unit=mine.unit, table=table, mean=_mean_auc(table, mine, others, num_resamples=num_resamples)
    )


def over_null_models(
    predictions: Predictions, null_models: Mapping[str, Predictions], *, num_resamples: int
) -> list[OverNullModel]:
    """AUC of any and the mean beside those of each null model."""
    found = []
    for name, null in null_models.items():
        compared = compare(predictions, null, num_resamples=num_resamples)
        for label, one in ((ANY, compared.auc(ANY)), (MACRO, compared.mean)):
            found.append(OverNullModel(of=_of(label, predictions.unit), null_model=name, compared=one))
    return found


def aucs_without_intervals(mine: Predictions, others: Predictions) -> dict[str, Compared]:
    """AUC of any and the mean over the subtypes, of candidate and another on the same rows, where both have one."""
    shared = tuple(label for label in mine.labels if label in others.labels)
    metrics = [one.only(shared).metrics() for one in (mine, others)]
    of_any = [next(label for label in one.per_label if label.label == ANY)[_AUC] for one in metrics]
    found = {ANY: of_any, _MEAN: [one.macro(_AUC) for one in metrics]}
    return {
        name: Compared(candidate=candidate, other=other)
        for name, (candidate, other) in found.items()
        if not np.isnan([candidate, other]).any()
    }


def calibration_lines(assessments: Iterable[Assessment]) -> list[CalibrationLine]:
    """Intercept and slope of each finding that is estimable."""
    return [
        CalibrationLine(
            of=_of(label, assessment.predictions.unit),
            intercept=_figure(assessment, f"calibration_intercept/{label}"),
            slope=_figure(assessment, f"calibration_slope/{label}"),
        )
        for assessment in assessments
        for label in assessment.predictions.labels
        if f"{_AUC}/{label}" in assessment.values
    ]


def not_estimable(assessments: Iterable[Assessment]) -> list[str]:
    """Findings without a positive or without a negative."""
    return [
        _of(label, assessment.predictions.unit)
        for assessment in assessments
        for label in assessment.predictions.labels
        if f"{_AUC}/{label}" not in assessment.values
    ]


def _mean_auc(
    table: pd.DataFrame, mine: Predictions, others: Predictions, *, num_resamples: int
) -> Compared | None:
    """Over the labels of which an interval can be told: one with two patients would leave the mean of all without."""
    whole = _compared(table, _AUC, MACRO)
    if whole is None or whole.is_told:
        return whole
    rows = table[(table["metric"] == _AUC) & table["label"].isin(_subtypes(mine.labels))]
    told = tuple(rows.loc[rows["low"].notna(), "label"])
    left_out = tuple(rows.loc[rows["low"].isna(), "label"])
    if not told or not left_out:
        return whole
    again = difference(mine.only(told), others.only(told), num_resamples=num_resamples)
    found = _compared(again, _AUC, MACRO)
    return None if found is None else replace(found, without=left_out)


def _compared(table: pd.DataFrame, metric: str, label: str) -> Compared | None:
    rows = table[(table["metric"] == metric) & (table["label"] == label)].to_dict("records")
    if not rows:
        return None
    (row,) = rows
    return Compared(candidate=row["model"], other=row["baseline"], low=row["low"], high=row["high"])


def _figure(assessment: Assessment, name: str) -> Figure:
    interval = assessment.interval(name)
    value = assessment.values.get(name, float("nan"))
    return Figure(value=value, low=interval.low, high=interval.high)


def _of(label: str, unit: str) -> str:
    """`any of slices`, `mean of exams`."""
    return f"{_MEAN if label == MACRO else label} of {unit}"


def _subtypes(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(label for label in labels if label in SUBTYPES)
