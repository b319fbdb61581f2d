"""What MLflow is given of a model's figures: few enough to be read in its UI. The tables of a run have all of them."""

from collections.abc import Mapping

import numpy as np

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.metrics import COMPARED, JOINT_METRICS, MACRO, METRICS
from ich_mlflow.evaluation.scores import SliceMetrics
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY

AUC = "auc"
#: A list of runs has no room for more; the tables have all.
DIGITS = 4
#: What decides, by the name that sorts before all others: of slices, and with `any_exam` for `any` of exams.
_OF_ANY = (AUC, "sensitivity", "specificity")
_OF_ALL = {"auc_macro": f"{AUC}/{MACRO}", "f1_macro": f"f1/{MACRO}", "accuracy": "accuracy/mean"}


def logged(metrics: SliceMetrics, prefix: str, *, unit: str) -> dict[str, float]:
    """The figures of slices or exams as `<prefix>/auc/epidural`: those that runs are sorted by.

    Of slices: of each subtype the AUC, of any and of the macro mean every metric, and what is of all labels together.
    Of exams: of any the metrics that runs are compared by, and the mean AUC. What is not estimable is left out.
    """
    kept = _of_slices(metrics) if unit == SLICES else _of_exams()
    flat = metrics.as_metrics(prefix, unit=unit)
    return {name: value for name, value in flat.items() if name.removeprefix(f"{prefix}/") in kept}


def headline(slices: Assessment | None, exams: Assessment) -> dict[str, float]:
    """The figures that decide, under short names, to four digits.

    Of any bleed: `any_auc` with its 95 % interval as `any_auc_low` and `any_auc_high`, `any_sensitivity`,
    `any_specificity`; of exams `any_exam_auc` and so on. Then `auc_macro`, `f1_macro` and `accuracy`, of slices, or of
    exams where only they are labelled. What is not estimable is left out.
    """
    found: dict[str, float] = {}
    for assessment, prefix in ((slices, ANY), (exams, f"{ANY}_exam")):
        if assessment is not None:
            found |= _named(assessment, {f"{prefix}_{one}": f"{one}/{ANY}" for one in _OF_ANY})
    return _rounded(found | _named(exams if slices is None else slices, _OF_ALL))


def aucs_said(slices: Assessment | None, exams: Assessment) -> dict[str, str]:
    """The AUCs of headline with their intervals, in words: `any_auc` -> `0.93 (0.88 to 0.96)`."""
    said = {}
    for assessment, short, label in (
        (slices, "any_auc", ANY),
        (exams, "any_exam_auc", ANY),
        (slices, "auc_macro", MACRO),
    ):
        name = f"{AUC}/{label}"
        if assessment is not None and name in assessment.values:
            interval = assessment.interval(name)
            said[short] = with_interval(assessment.values[name], interval.low, interval.high)
    return said


def of_validation(slices: SliceMetrics | None, exams: SliceMetrics) -> dict[str, float]:
    """The AUCs of headline on the validation split, as `any_auc_val`: it chose, so they are not those of a test."""
    found: dict[str, float] = {}
    for metrics, prefix in ((slices, ANY), (exams, f"{ANY}_exam")):
        if metrics is not None:
            flat = metrics.as_metrics("", unit=SLICES)
            found |= {f"{prefix}_auc_val": flat[f"/{AUC}/{ANY}"]} if f"/{AUC}/{ANY}" in flat else {}
    macro = (exams if slices is None else slices).macro(AUC)
    return _rounded(found | ({} if np.isnan(macro) else {"auc_macro_val": macro}))


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), DIGITS) for name, value in figures.items()}


def _named(assessment: Assessment, names: Mapping[str, str]) -> dict[str, float]:
    """Figures by their short names; an AUC has the ends of its interval beside it."""
    found: dict[str, float] = {}
    for short, name in names.items():
        if name not in assessment.values:
            continue
        found[short] = assessment.values[name]
        if name.startswith(f"{AUC}/") and assessment.has_interval(name):
            interval = assessment.interval(name)
            found |= {f"{short}_low": interval.low, f"{short}_high": interval.high}
    return found


def _of_slices(metrics: SliceMetrics) -> set[str]:
    of_each = {f"{one.name}/{label}" for one in METRICS for label in (ANY, MACRO)}
    aucs = {f"{AUC}/{scored.label}" for scored in metrics.per_label}
    joint = {f"{one.name}/{one.kind}" for one in JOINT_METRICS}
    return of_each | aucs | joint | {f"num_{SLICES}", "num_estimable"}


def _of_exams() -> set[str]:
    return {*(f"{name}/{ANY}" for name in COMPARED), f"{AUC}/{MACRO}", f"num_{EXAMS}"}
