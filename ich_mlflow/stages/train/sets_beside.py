"""What a model scores on the validation splits of the sets that were trained on beside home, set by set."""

import pandas as pd

from ich_mlflow.dataset.mixture import HomeSet, names_of
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.operating_point import default_thresholds
from ich_mlflow.evaluation.scores import SliceMetrics, evaluate_slices
from ich_mlflow.labels import ClassScheme, with_any
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.tracking.run import Run

_AUC = "auc/"


def log_beside(
    run: Run, stored: StoredSet, scheme: ClassScheme, serving_uri: str, at_home: SliceMetrics
) -> None:
    """Score each set beside home on its validation split, log its AUCs as `val/<set>/auc/…`, print all side by side.

    Nothing was chosen by them. Nothing is done where no set stands beside, or none has a validation split.
    """
    if not isinstance(stored, HomeSet):
        return
    names = names_of(stored)
    table = {f"{names[0]} (home)": _aucs(at_home)}
    classifier = load_classifier(serving_uri)
    for name, one in zip(names[1:], stored.beside, strict=True):
        rows = one.rows(VALIDATION)
        if not len(rows):
            continue
        print(f"scoring the {len(rows):,} validation slices of {one.path}")
        said = with_any(score_rows(classifier, one, rows).slices, scheme.labels)
        targets, findings = scheme.finding_targets(one.subtypes[rows]), scheme.findings
        table[name] = _aucs(evaluate_slices(targets, said, default_thresholds(findings), findings))
        run.metrics({f"val/{name}/{label}": value for label, value in table[name].items()})
    if len(table) > 1:
        shown = pd.DataFrame(table).rename(index=lambda label: label.removeprefix(_AUC)).round(3)
        print(f"AUC of validation slices, set by set:\n{shown.to_string(na_rep='-')}")


def _aucs(metrics: SliceMetrics) -> dict[str, float]:
    return {
        name.removeprefix("val/"): value
        for name, value in metrics.as_metrics("val").items()
        if name.startswith(f"val/{_AUC}") and not name.endswith("/micro")
    }
