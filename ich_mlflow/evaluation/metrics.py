"""Slice metrics of a multi-label model. The unit is the slice; intervals and patients come elsewhere."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.labels import ANY, SCHEMES

#: Probabilities are kept this far from 0 and 1 in a log loss, as the RSNA 2019 challenge does: one sure
#: mistake costs 34.5 and not infinity.
LOG_LOSS_EPSILON = 1e-15

PER_LABEL_METRICS = ("auc", "average_precision", "f1", "sensitivity", "specificity", "ppv")
MACRO_METRICS = ("auc", "average_precision", "f1")


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """What one label scored. A metric that the data can't tell is NaN, never 0 or 1.

    auc, average_precision: from the probabilities, in [0, 1]; NaN without a positive or without a negative.
    f1, ppv: at the threshold, in [0, 1]; NaN without a positive or without a negative; ppv also where nothing
        was decided positive.
    sensitivity, specificity: at the threshold, in [0, 1]; NaN without positives, without negatives.
    num_positive_patients: None where the patients were not given.
    """

    label: str
    threshold: float
    auc: float
    average_precision: float
    f1: float
    sensitivity: float
    specificity: float
    ppv: float
    num_positive_slices: int
    num_positive_patients: int | None
    is_estimable: bool


@dataclass(frozen=True, kw_only=True)
class SliceMetrics:
    """What a model scored on N slices.

    exact_match: share of the slices on which every label was decided right.
    mean_accuracy: share of the N x L decisions that were right. High for any rare label: read it last.
    log_loss: binary cross-entropy in nats, mean over N x L, natural logarithm.
    """

    per_label: tuple[LabelMetrics, ...]
    num_slices: int
    exact_match: float
    mean_accuracy: float
    log_loss: float

    @property
    def num_estimable(self) -> int:
        """Number of labels that have both positives and negatives: the labels a macro mean is taken over."""
        return sum(scored.is_estimable for scored in self.per_label)

    @property
    def macro_auc(self) -> float:
        """Mean AUC over the estimable labels, `any` among them where the scheme has it; NaN if none is."""
        return self.macro("auc")

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the estimable labels; NaN if none is."""
        return self.macro("f1")

    def macro(self, metric: str) -> float:
        """Mean of one of PER_LABEL_METRICS over the labels where it is a number; NaN where there is none."""
        if metric not in PER_LABEL_METRICS:
            raise ValueError(f"metric is {metric!r}, expected one of {', '.join(PER_LABEL_METRICS)}")
        values = [getattr(scored, metric) for scored in self.per_label]
        known = [value for value in values if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    def as_metrics(self, prefix: str) -> dict[str, float]:
        """Flat MLflow metrics such as `test/auc/epidural` for the prefix `test`; NaNs are left out.

        num_estimable tells over how many labels the macro means are taken.
        """
        flat: dict[str, float] = {}
        for scored in self.per_label:
            for metric in PER_LABEL_METRICS:
                flat[f"{metric}/{scored.label}"] = getattr(scored, metric)
            flat[f"num_positive_slices/{scored.label}"] = scored.num_positive_slices
            if scored.num_positive_patients is not None:
                flat[f"num_positive_patients/{scored.label}"] = scored.num_positive_patients
        for metric in MACRO_METRICS:
            flat[f"{metric}/macro"] = self.macro(metric)
        flat |= {
            "accuracy/exact_match": self.exact_match,
            "accuracy/mean": self.mean_accuracy,
            "log_loss": self.log_loss,
            "num_slices": self.num_slices,
            "num_estimable": self.num_estimable,
        }
        return {f"{prefix}/{name}": float(value) for name, value in flat.items() if not np.isnan(value)}

    def table(self) -> pd.DataFrame:
        """One row a label and a last row `macro`; positives beside, since a rare label's AUC is a wide guess.

        `estimable` is yes or no, and in the macro row how many labels of how many.
        """
        rows = [
            {
                "label": scored.label,
                "positive_slices": scored.num_positive_slices,
                "positive_patients": scored.num_positive_patients,
                "estimable": "yes" if scored.is_estimable else "no",
                **{metric: getattr(scored, metric) for metric in PER_LABEL_METRICS},
                "threshold": scored.threshold,
            }
            for scored in self.per_label
        ]
        macro = {
            "label": "macro",
            "estimable": f"{self.num_estimable} of {len(self.per_label)}",
            **{metric: self.macro(metric) for metric in PER_LABEL_METRICS},
        }
        counts = {"positive_slices": "Int64", "positive_patients": "Int64"}
        return pd.DataFrame([*rows, macro]).astype(counts)


def evaluate_slices(
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    labels: tuple[str, ...],
    patient_ids: np.ndarray | None = None,
) -> SliceMetrics:
    """Score probabilities [N, L] in [0, 1] against targets [N, L] of 0 and 1.

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
    decisions = probabilities >= thresholds
    right = decisions == targets
    return SliceMetrics(
        per_label=tuple(
            _score_label(
                label, float(thresholds[i]), targets[:, i], probabilities[:, i], decisions[:, i], patient_ids
            )
            for i, label in enumerate(labels)
        ),
        num_slices=len(targets),
        exact_match=float(right.all(axis=1).mean()),
        mean_accuracy=float(right.mean()),
        log_loss=float(_cross_entropy(targets, probabilities).mean()),
    )


def rsna_log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The RSNA 2019 challenge's loss: cross-entropy with `any` counted twice, divided by 7, mean over slices.

    Both arrays are [N, 6] in the order of the 6-class scheme (the subtypes, then any).
    Source: the challenge's evaluation page on Kaggle.
    """
    labels = SCHEMES[6].labels
    targets, probabilities = checked_arrays(targets, probabilities, labels)
    weights = np.array([2.0 if label == ANY else 1.0 for label in labels])
    return float((_cross_entropy(targets, probabilities) @ weights / weights.sum()).mean())


def _score_label(
    label: str,
    threshold: float,
    targets: np.ndarray,
    probabilities: np.ndarray,
    decisions: np.ndarray,
    patient_ids: np.ndarray | None,
) -> LabelMetrics:
    """Score one label: bool targets [N], float64 probabilities [N], bool decisions [N]."""
    num_positive, num_negative = int(targets.sum()), int((~targets).sum())
    true_positive, false_positive = int((targets & decisions).sum()), int((~targets & decisions).sum())
    decided_positive = true_positive + false_positive
    nan = float("nan")
    # Checked here: scikit-learn warns and gives 0, 1 or NaN, which differs from metric to metric.
    estimable = num_positive > 0 and num_negative > 0
    return LabelMetrics(
        label=label,
        threshold=threshold,
        auc=float(roc_auc_score(targets, probabilities)) if estimable else nan,
        average_precision=float(average_precision_score(targets, probabilities)) if estimable else nan,
        f1=2 * true_positive / (num_positive + decided_positive) if estimable else nan,
        sensitivity=true_positive / num_positive if num_positive else nan,
        specificity=1 - false_positive / num_negative if num_negative else nan,
        ppv=true_positive / decided_positive if estimable and decided_positive else nan,
        num_positive_slices=num_positive,
        num_positive_patients=None if patient_ids is None else len(np.unique(patient_ids[targets])),
        is_estimable=estimable,
    )


def _cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Binary cross-entropy in nats [N, L]."""
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    return -np.where(targets, np.log(clipped), np.log1p(-clipped))
