"""The figures of a comparison that a run is found and sorted by: few, the most telling first. The table has all."""

import re
from collections.abc import Mapping

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.metrics import MACRO
from ich_mlflow.labels import ANY

MAX_METRICS = 20
#: Groups that are logged whatever their number: any bleed, and by how much models differ in it.
_ALWAYS = 2


def metrics_of(assessments: Mapping[str, Mapping[str, Assessment]], *, baseline: str) -> dict[str, float]:
    """Metrics such as `any_auc/ich-5class v3` and `any_auc_difference/ich-5class v3`, model minus baseline.

    assessments: by unit and model; the first unit decides, and where that is slices exams have the prefix `exam_`, as
    they have alone. As many groups as stay within MAX_METRICS; what is not estimable is left out.
    """
    first, *others = assessments
    groups = [
        _group(assessments[first], first, "auc", ANY),
        _differences(assessments[first], first, baseline),
        _group(assessments[first], first, "auc", MACRO),
        *(_group(assessments[unit], unit, "auc", ANY) for unit in others),
        _group(assessments[first], first, "sensitivity", ANY),
        _group(assessments[first], first, "specificity", ANY),
    ]
    found: dict[str, float] = {}
    for place, group in enumerate(groups):
        if place >= _ALWAYS and len(found) + len(group) > MAX_METRICS:
            break
        found |= group
    return found


def _group(models: Mapping[str, Assessment], unit: str, metric: str, label: str) -> dict[str, float]:
    name = f"{metric}/{label}"
    return {
        _key(unit, f"{label}_{metric}", model): one.values[name]
        for model, one in models.items()
        if name in one.values
    }


def _differences(models: Mapping[str, Assessment], unit: str, baseline: str) -> dict[str, float]:
    name = f"auc/{ANY}"
    theirs = models[baseline].values.get(name)
    return {
        _key(unit, f"{ANY}_auc_difference", model): one.values[name] - theirs
        for model, one in models.items()
        if model != baseline and theirs is not None and name in one.values
    }


def _key(unit: str, name: str, model: str) -> str:
    """The name in MLflow, which takes letters, digits and _-. / of a space; 250 characters at most."""
    prefix = "exam_" if unit == EXAMS else ""
    return f"{prefix}{name}/{re.sub(r'[^A-Za-z0-9_. -]', '_', model)}"[:250]
