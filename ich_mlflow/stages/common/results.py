"""What train logs of its validation split and evaluate of the test split: the same figures, one code."""

from dataclasses import replace
from typing import Any

import pandas as pd

from ich_mlflow.dataset.split import TEST
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.counts import SLICES
from ich_mlflow.evaluation.logged import logged
from ich_mlflow.evaluation.scores import SliceMetrics
from ich_mlflow.figures.confusion import confusion_figure, cooccurrence_figure
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.stages.common.stored_sets import split_dataset
from ich_mlflow.tracking.run import Run

#: Of the metrics, tables and figures of an evaluate run.
PREFIX, EXAM_PREFIX = "test", "test/exam"
CARD_FILE, REPORT_FILE = "model_card.md", "report.html"


def log_test_set(run: Run, stored: StoredSet) -> Any:
    """Log what is scored; return the data set, as MLflow knows it."""
    run.params(
        {"path": stored.path.resolve(), "digest": stored.digest, "source": stored.manifest["source"]},
        prefix="data",
    )
    data = split_dataset(stored, TEST)
    run.input(data, context="test")
    return data


def log_metrics(run: Run, predictions: Predictions, *, prefix: str) -> SliceMetrics:
    """Log what runs are sorted by under `<prefix>/…`, and all of it as a table; return it."""
    metrics = predictions.metrics()
    run.metrics(logged(metrics, prefix, unit=predictions.unit))
    run.table(metrics.table(unit=predictions.unit), f"tables/{prefix.replace('/', '_')}_metrics.json")
    return metrics


def log_confusion(run: Run, predictions: Predictions, *, prefix: str, note: str) -> None:
    """Log what was decided against what was true, finding by finding and between subtypes."""
    subtypes = predictions.only(tuple(label for label in predictions.labels if label != ANY))
    drawn = (
        ("confusion", confusion_figure, "Confusion by label", predictions),
        ("cooccurrence", cooccurrence_figure, "What was decided where", subtypes),
    )
    for name, figure, title, shown in drawn:
        run.figure(
            figure(
                shown.targets,
                shown.decisions,
                shown.labels,
                f"{title} ({predictions.unit})",
                note=note,
                unit=predictions.unit,
            ),
            f"figures/{prefix.replace('/', '_')}_{name}.png",
        )


def operating_point_table(scored: Scored, unit: str) -> pd.DataFrame:
    """Each rule and label: threshold, sensitivity and specificity on validation, and on the test split."""
    chosen = scored.specification.slices if unit == SLICES else scored.specification.exams
    predictions = scored.slices if unit == SLICES else scored.exams
    assert predictions is not None
    rows = []
    for rule, points in chosen.operating_points.items():
        at = replace(predictions, thresholds=chosen.thresholds(rule)).metrics()
        for point, scored_label in zip(points, at.per_label, strict=True):
            rows.append(
                {
                    "rule": rule,
                    "label": point.label,
                    "threshold": point.threshold,
                    "validation_positive_patients": point.positive_patients,
                    "validation_negative_patients": point.negative_patients,
                    "validation_sensitivity": point.sensitivity,
                    "validation_sensitivity_low": point.sensitivity_low,
                    "validation_sensitivity_high": point.sensitivity_high,
                    "validation_specificity": point.specificity,
                    "test_sensitivity": scored_label["sensitivity"],
                    "test_specificity": scored_label["specificity"],
                    "test_ppv": scored_label["ppv"],
                    "test_npv": scored_label["npv"],
                }
            )
    return pd.DataFrame(rows)


def log_predictions(run: Run, scored: Scored) -> None:
    """Log a table of every slice: truth, probability and score of each finding, and which exam it belongs to."""
    table = scored.stored.table.iloc[scored.rows][["sop_uid", "series_uid", "study_uid", "patient_id"]]
    scores = scored.specification.scores(scored.outputs)
    for i, label in enumerate(scored.specification.findings):
        said = {f"probability_{label}": scored.probabilities[:, i], f"score_{label}": scores[:, i]}
        table = table.assign(**said)
    truth = scored.stored.table.iloc[scored.rows][list(SUBTYPES)].add_prefix("true_")
    run.frame(pd.concat([table, truth], axis=1), "predictions.csv")
