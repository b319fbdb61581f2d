"""One set of predictions, assessed: metrics with intervals, null models, and the paired difference of two models."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.counts import SLICES
from ich_mlflow.evaluation.interval import UNKNOWN, Interval
from ich_mlflow.evaluation.intervals import NUM_RESAMPLES, Resampled, resample_patients
from ich_mlflow.evaluation.metrics import rows_of
from ich_mlflow.evaluation.scores import SliceMetrics, evaluate_slices

#: What a null model is called in logged names and columns, which are public and older than the word.
NULL_MODEL = "floor"


def null_model_column(name: str) -> str:
    """The column of tables that has the figures of the null model of that name."""
    return f"{NULL_MODEL}_{name}"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a predictor said of N slices, or N exams, whose truth is known.

    targets bool [N, L], probabilities float64 [N, L], thresholds float64 [L], patients [N]; unit: slices or exams.
    scores [N, L]: what the network says itself, which rankings go by; the probabilities where None.
    """

    labels: tuple[str, ...]
    targets: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray
    patients: np.ndarray
    unit: str = SLICES
    scores: np.ndarray | None = None

    @property
    def ranked_by(self) -> np.ndarray:
        """The scores, float64 [N, L]."""
        return self.probabilities if self.scores is None else self.scores

    def only(self, labels: tuple[str, ...]) -> "Predictions":
        """The same of some of the labels, in that order. Raises ValueError for a label that it has not."""
        places = [self.labels.index(label) for label in labels]
        return replace(
            self,
            labels=labels,
            targets=self.targets[:, places],
            probabilities=self.probabilities[:, places],
            thresholds=self.thresholds[places],
            scores=None if self.scores is None else self.scores[:, places],
        )

    def where(self, rows: np.ndarray) -> "Predictions":
        """The same of some rows: bool [N] or numbers."""
        return replace(
            self,
            targets=self.targets[rows],
            probabilities=self.probabilities[rows],
            patients=self.patients[rows],
            scores=None if self.scores is None else self.scores[rows],
        )

    @property
    def decisions(self) -> np.ndarray:
        """What is decided at the thresholds, bool [N, L]."""
        return self.probabilities >= self.thresholds

    def metrics(self) -> SliceMetrics:
        """Every metric at the thresholds."""
        return evaluate_slices(
            self.targets, self.probabilities, self.thresholds, self.labels, self.patients, scores=self.scores
        )

    def resampled(self, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Resampled:
        """Every metric over resamples of the patients."""
        return resample_patients(
            self.targets,
            self.probabilities,
            self.thresholds,
            self.patients,
            self.labels,
            num_resamples=num_resamples,
            seed=seed,
            scores=self.scores,
        )


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Predictions with what they scored, intervals, and what null models scored: name -> metrics."""

    predictions: Predictions
    metrics: SliceMetrics
    resampled: Resampled
    null_models: Mapping[str, SliceMetrics]

    def interval(self, name: str) -> Interval:
        """The 95 % interval of a metric such as `auc/epidural`; NaN where it is not estimable or has none.

        A label with fewer than MIN_PATIENTS patients with a positive, or with a negative, has none, nor has a mean that
        it is part of (of a sensitivity only those with a positive count). With fewer in all nothing has one.
        """
        known = name in self.resampled.samples and name in self.values
        return self.resampled.interval(name) if known else UNKNOWN

    def has_interval(self, name: str) -> bool:
        """Whether the metric is estimable, is resampled, and has patients enough."""
        return not np.isnan(self.interval(name).low)

    @cached_property
    def values(self) -> dict[str, float]:
        """Metrics such as `auc/epidural`; those that are not estimable are left out."""
        return named(self.metrics, unit=self.predictions.unit)

    def table(self) -> pd.DataFrame:
        """One row a metric and label: metric, label, value, low, high, `floor_<name>` of each null model.

        NaN where unknown.
        """
        values = self.values
        null_models = {name: named(metrics) for name, metrics in self.null_models.items()}
        rows = []
        for metric, label in rows_of(self.predictions.labels):
            name = f"{metric}/{label}"
            interval = self.interval(name)
            rows.append(
                {
                    "metric": metric,
                    "label": label,
                    "value": values.get(name, np.nan),
                    "low": interval.low,
                    "high": interval.high,
                    **{
                        null_model_column(null): found.get(name, np.nan)
                        for null, found in null_models.items()
                    },
                }
            )
        return pd.DataFrame(rows)

    @property
    def table_columns(self) -> tuple[str, ...]:
        """The columns of table()."""
        return ("metric", "label", "value", "low", "high", *map(null_model_column, self.null_models))


def assess(
    predictions: Predictions,
    *,
    null_models: Mapping[str, Predictions] | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Assessment:
    """Score predictions with intervals. null_models: name -> what each says of the same rows, without looking."""
    return Assessment(
        predictions=predictions,
        metrics=predictions.metrics(),
        resampled=predictions.resampled(num_resamples=num_resamples, seed=seed),
        null_models={name: null.metrics() for name, null in (null_models or {}).items()},
    )


def difference(
    model: Predictions, baseline: Predictions, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Model minus baseline on the same rows, with paired intervals, over the labels that both have.

    Both are resampled by the same draws of patients. Columns: metric, label, model, baseline, difference, low, high.
    Raises ValueError where the rows or targets are not the same, or no label is shared.
    """
    shared = tuple(label for label in model.labels if label in baseline.labels)
    if not shared:
        raise ValueError("the two models have no label in common")
    assessed = [assess(one.only(shared), num_resamples=num_resamples, seed=seed) for one in (model, baseline)]
    return paired(*assessed)


def paired(model: Assessment, baseline: Assessment) -> pd.DataFrame:
    """Model minus baseline, as difference, of two that are assessed already: nothing is resampled again.

    Both are of the same labels, and resampled with the same seed. Raises ValueError where the labels, rows or targets
    are not the same.
    """
    mine, theirs = model.predictions, baseline.predictions
    same = mine.labels == theirs.labels and mine.targets.shape == theirs.targets.shape
    if not same or (mine.patients != theirs.patients).any() or (mine.targets != theirs.targets).any():
        raise ValueError("the two models were not scored on the same rows")
    rows = []
    for metric, label in rows_of(mine.labels):
        name = f"{metric}/{label}"
        if name not in model.values or name not in baseline.values:
            continue
        known = name in model.resampled.samples
        interval = model.resampled.difference(baseline.resampled, name) if known else UNKNOWN
        rows.append(
            {
                "metric": metric,
                "label": label,
                "model": model.values[name],
                "baseline": baseline.values[name],
                "difference": model.values[name] - baseline.values[name],
                "low": interval.low,
                "high": interval.high,
            }
        )
    columns = ["metric", "label", "model", "baseline", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def named(metrics: SliceMetrics, *, unit: str = SLICES) -> dict[str, float]:
    """Metrics by name without a prefix, such as `auc/epidural`; those that are not estimable are left out."""
    return {name.removeprefix("/"): value for name, value in metrics.as_metrics("", unit=unit).items()}
