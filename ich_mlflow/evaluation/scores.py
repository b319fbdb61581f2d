"""What a multi-label model scored on slices, or on exams. Intervals and patients come elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.evaluation.counts import SLICES, LabelRows
from ich_mlflow.evaluation.metric import AllRows
from ich_mlflow.evaluation.metrics import JOINT_METRICS, MACRO, METRICS, MICRO
from ich_mlflow.labels import ANY


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """What one label scored: `scored["auc"]`. A metric that the data can't tell is NaN, never 0 or 1.

    values: a number for the name of each of METRICS.
    num_positive_patients: None where the patients were not given.
    """

    label: str
    threshold: float
    values: Mapping[str, float]
    num_positive_slices: int
    num_positive_patients: int | None
    is_estimable: bool

    def __getitem__(self, metric: str) -> float:
        return self.values[metric]


@dataclass(frozen=True, kw_only=True)
class SliceMetrics:
    """What a model scored on N slices, or N exams: then read "exam" for "slice".

    joint: a number for the full name of each of JOINT_METRICS, such as `accuracy/mean`; NaN where it can't be told.
    micro: the metrics of groups that have it, over all decisions of the estimable subtypes together; NaN where there
        is none.
    """

    per_label: tuple[LabelMetrics, ...]
    num_slices: int
    joint: Mapping[str, float]
    micro: Mapping[str, float]

    @property
    def num_estimable(self) -> int:
        """Number of subtypes that have both positives and negatives: those a macro mean is taken over."""
        return sum(scored.is_estimable for scored in self.of_subtypes)

    @property
    def of_subtypes(self) -> tuple[LabelMetrics, ...]:
        """Without any."""
        return tuple(scored for scored in self.per_label if scored.label != ANY)

    def macro(self, metric: str) -> float:
        """Mean of one of METRICS over the estimable subtypes where it is a number; NaN where there is none.

        any is none of them: it is not one more kind of bleed. Raises ValueError for an unknown name.
        """
        records = {one.name: one for one in METRICS}
        if metric not in records:
            raise ValueError(f"metric is {metric!r}, expected one of {', '.join(records)}")
        if not records[metric].has_macro:
            return float("nan")
        values = [scored[metric] for scored in self.of_subtypes if scored.is_estimable]
        known = [value for value in values if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    def as_metrics(self, prefix: str, *, unit: str = SLICES) -> dict[str, float]:
        """Flat MLflow metrics such as `test/auc/epidural` for the prefix `test`; NaNs are left out.

        num_estimable tells over how many subtypes the macro and micro means are taken. unit: slices or exams, for the
        names of counts.
        """
        flat: dict[str, float] = {}
        for scored in self.per_label:
            flat |= {f"{metric}/{scored.label}": value for metric, value in scored.values.items()}
            flat[f"num_positive_{unit}/{scored.label}"] = scored.num_positive_slices
            if scored.num_positive_patients is not None:
                flat[f"num_positive_patients/{scored.label}"] = scored.num_positive_patients
        flat |= {f"{metric.name}/{MACRO}": self.macro(metric.name) for metric in METRICS}
        flat |= {f"{metric}/{MICRO}": value for metric, value in self.micro.items()}
        flat |= {**self.joint, f"num_{unit}": self.num_slices, "num_estimable": self.num_estimable}
        return {f"{prefix}/{name}": float(value) for name, value in flat.items() if not np.isnan(value)}

    def table(self, *, unit: str = SLICES) -> pd.DataFrame:
        """One row a label, then `macro` and `micro`; positives beside, since a rare label's AUC is a wide guess.

        `estimable` is yes or no, and in the macro row how many labels of how many.
        """
        rows = [
            {
                "label": scored.label,
                f"positive_{unit}": scored.num_positive_slices,
                "positive_patients": scored.num_positive_patients,
                "estimable": "yes" if scored.is_estimable else "no",
                **scored.values,
                "threshold": scored.threshold,
            }
            for scored in self.per_label
        ]
        estimable = f"{self.num_estimable} of {len(self.of_subtypes)}"
        macro = {metric.name: self.macro(metric.name) for metric in METRICS}
        rows.append({"label": MACRO, "estimable": estimable, **macro})
        rows.append({"label": MICRO, "estimable": estimable, **self.micro})
        return pd.DataFrame(rows).astype({f"positive_{unit}": "Int64", "positive_patients": "Int64"})


def evaluate_slices(
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    labels: tuple[str, ...],
    patient_ids: np.ndarray | None = None,
    *,
    scores: np.ndarray | None = None,
) -> SliceMetrics:
    """Score probabilities [N, L] in [0, 1] against targets [N, L] of 0 and 1.

    scores [N, L]: what rankings go by, the network's own outputs; the probabilities where None.

    A decision is positive where probability >= threshold; thresholds are [L], finite, in the order of labels.
    patient_ids [N] are only counted. Raises ValueError for a wrong shape, no slices, a target other than
    0 and 1, a probability that is NaN or outside [0, 1].
    """
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if thresholds.shape != (len(labels),) or not np.isfinite(thresholds).all():
        raise ValueError(f"thresholds are {thresholds}, expected {len(labels)} finite numbers, one a label")
    if patient_ids is not None:
        patient_ids = np.asarray(patient_ids)
        if patient_ids.shape != (len(targets),):
            raise ValueError(f"patient_ids have shape {patient_ids.shape}, expected [{len(targets)}]")
    scores = probabilities if scores is None else checked_arrays(targets, scores, labels)[1]
    rows = AllRows.at(thresholds, targets=targets, scores=scores, probabilities=probabilities, labels=labels)
    return SliceMetrics(
        per_label=tuple(
            _score_label(label, float(thresholds[i]), rows.column(i), patient_ids)
            for i, label in enumerate(labels)
        ),
        num_slices=len(targets),
        joint={metric.full_name: float(metric.scalar(rows)) for metric in JOINT_METRICS},
        micro=_micro(rows),
    )


def _score_label(
    label: str, threshold: float, rows: LabelRows, patient_ids: np.ndarray | None
) -> LabelMetrics:
    return LabelMetrics(
        label=label,
        threshold=threshold,
        values={metric.name: metric.value(rows) for metric in METRICS},
        num_positive_slices=int(rows.num_positive),
        num_positive_patients=None if patient_ids is None else len(np.unique(patient_ids[rows.targets])),
        is_estimable=rows.has_both_classes,
    )


def _micro(rows: AllRows) -> dict[str, float]:
    """The metrics of groups that have a micro value, of all estimable subtypes as one; NaN where there is none."""
    rows = rows.of_subtypes
    estimable = np.asarray(rows.targets.any(axis=0) & ~rows.targets.all(axis=0))
    metrics = [metric for metric in METRICS if metric.group.has_micro]
    if not estimable.any():
        return {metric.name: float("nan") for metric in metrics}
    together = rows.together(estimable)
    return {metric.name: metric.value(together) for metric in metrics}
