"""Metrics of a multi-label model on slices, or on exams. Intervals and patients come elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from ich_mlflow.evaluation.calibration import expected_calibration_error
from ich_mlflow.evaluation.checks import checked_arrays
from ich_mlflow.labels import ANY, SCHEMES, SUBTYPES

#: Probabilities are kept this far from 0 and 1 in a log loss, as the RSNA 2019 challenge does: one sure
#: mistake costs 34.5 and not infinity.
LOG_LOSS_EPSILON = 1e-15

PER_LABEL_METRICS = (
    "auc", "average_precision", "f1", "sensitivity", "specificity", "ppv", "npv", "brier", "ece",
)  # fmt: skip
#: Those that can be taken over all decisions of the estimable labels together.
MICRO_METRICS = PER_LABEL_METRICS[:-2]
SLICES, EXAMS = "slices", "exams"


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """What one label scored. A metric that the data can't tell is NaN, never 0 or 1.

    auc, average_precision: from the probabilities, in [0, 1]; NaN without a positive or without a negative.
    f1, ppv, npv: at the threshold, in [0, 1]; NaN without a positive or without a negative; ppv also where nothing
        was decided positive, npv where everything was.
    sensitivity, specificity: at the threshold, in [0, 1]; NaN without positives, without negatives.
    brier: mean squared error of the probabilities, in [0, 1] (Brier, 1950); ece: expected calibration error; both
        NaN without a positive or without a negative, where they would flatter.
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
    npv: float
    brier: float
    ece: float
    num_positive_slices: int
    num_positive_patients: int | None
    is_estimable: bool


@dataclass(frozen=True, kw_only=True)
class SliceMetrics:
    """What a model scored on N slices, or N exams: then read "exam" for "slice".

    exact_match: share of the slices on which every label was decided right.
    mean_accuracy: share of the N x L decisions that were right. High for any rare label: read it last.
    log_loss: binary cross-entropy in nats, mean over N x L, natural logarithm.
    rsna_log_loss: the RSNA 2019 challenge's; NaN for 4 labels. With 5 labels the probability of `any` is their
        highest.
    micro: MICRO_METRICS over all decisions of the estimable labels together; NaN where there is none.
    """

    per_label: tuple[LabelMetrics, ...]
    num_slices: int
    exact_match: float
    mean_accuracy: float
    log_loss: float
    rsna_log_loss: float
    micro: Mapping[str, float]

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
        """Mean of one of PER_LABEL_METRICS over the estimable labels where it is a number; NaN where there is none."""
        if metric not in PER_LABEL_METRICS:
            raise ValueError(f"metric is {metric!r}, expected one of {', '.join(PER_LABEL_METRICS)}")
        values = [getattr(scored, metric) for scored in self.per_label if scored.is_estimable]
        known = [value for value in values if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    def as_metrics(self, prefix: str, *, unit: str = SLICES) -> dict[str, float]:
        """Flat MLflow metrics such as `test/auc/epidural` for the prefix `test`; NaNs are left out.

        num_estimable tells over how many labels the macro and micro means are taken. unit: slices or exams, for the
        names of counts.
        """
        flat: dict[str, float] = {}
        for scored in self.per_label:
            for metric in PER_LABEL_METRICS:
                flat[f"{metric}/{scored.label}"] = getattr(scored, metric)
            flat[f"num_positive_{unit}/{scored.label}"] = scored.num_positive_slices
            if scored.num_positive_patients is not None:
                flat[f"num_positive_patients/{scored.label}"] = scored.num_positive_patients
        for metric in PER_LABEL_METRICS:
            flat[f"{metric}/macro"] = self.macro(metric)
        flat |= {f"{metric}/micro": value for metric, value in self.micro.items()}
        flat |= {
            "accuracy/exact_match": self.exact_match,
            "accuracy/mean": self.mean_accuracy,
            "log_loss/mean": self.log_loss,
            "log_loss/rsna": self.rsna_log_loss,
            f"num_{unit}": self.num_slices,
            "num_estimable": self.num_estimable,
        }
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
                **{metric: getattr(scored, metric) for metric in PER_LABEL_METRICS},
                "threshold": scored.threshold,
            }
            for scored in self.per_label
        ]
        estimable = f"{self.num_estimable} of {len(self.per_label)}"
        macro = {metric: self.macro(metric) for metric in PER_LABEL_METRICS}
        rows.append({"label": "macro", "estimable": estimable, **macro})
        rows.append({"label": "micro", "estimable": estimable, **self.micro})
        return pd.DataFrame(rows).astype({f"positive_{unit}": "Int64", "positive_patients": "Int64"})


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
    estimable = targets.any(axis=0) & ~targets.all(axis=0)
    return SliceMetrics(
        per_label=tuple(
            _score_label(
                label, float(thresholds[i]), targets[:, i], probabilities[:, i], decisions[:, i], patient_ids
            )
            for i, label in enumerate(labels)
        ),
        micro=_micro(targets[:, estimable], probabilities[:, estimable], decisions[:, estimable]),
        rsna_log_loss=_rsna_log_loss(targets, probabilities, labels),
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


def with_any(probabilities: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """Probabilities [N, 6] of the subtypes and `any`, from those of 5 or 6 labels [N, L].

    Five labels have no `any`: it gets their highest, which it can't be below. Raises ValueError for other labels.
    """
    if labels == SUBTYPES:
        return np.column_stack([probabilities, np.max(probabilities, axis=1)])
    if labels != SCHEMES[6].labels:
        raise ValueError(f"labels are {', '.join(labels)}, expected the five subtypes, with or without {ANY}")
    return np.asarray(probabilities)


def _rsna_log_loss(targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> float:
    if labels not in (SUBTYPES, SCHEMES[6].labels):
        return float("nan")
    return rsna_log_loss(with_any(targets, labels), with_any(probabilities, labels))


def _micro(targets: np.ndarray, probabilities: np.ndarray, decisions: np.ndarray) -> dict[str, float]:
    """MICRO_METRICS of all columns as one."""
    if not targets.size:
        return dict.fromkeys(MICRO_METRICS, float("nan"))
    all_labels = _score_label(
        "micro", float("nan"), targets.ravel(), probabilities.ravel(), decisions.ravel(), None
    )
    return {metric: getattr(all_labels, metric) for metric in MICRO_METRICS}


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
    decided_negative = len(targets) - decided_positive
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
        npv=(num_negative - false_positive) / decided_negative if estimable and decided_negative else nan,
        brier=float(np.mean((probabilities - targets) ** 2)) if estimable else nan,
        ece=expected_calibration_error(targets, probabilities) if estimable else nan,
        num_positive_slices=num_positive,
        num_positive_patients=None if patient_ids is None else len(np.unique(patient_ids[targets])),
        is_estimable=estimable,
    )


def _cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Binary cross-entropy in nats [N, L]."""
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    return -np.where(targets, np.log(clipped), np.log1p(-clipped))
