"""What train logs of its validation split and evaluate of the test split: the same figures, one code."""

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.metrics import SliceMetrics, evaluate_slices
from ich_mlflow.figures.confusion import confusion_figure, cooccurrence_figure
from ich_mlflow.labels import ClassScheme
from ich_mlflow.tracking.run import Run
from ich_mlflow.workflows.preprocess import data_note


def log_results(
    run: Run,
    *,
    prefix: str,
    stored: StoredSet,
    rows: np.ndarray,
    scheme: ClassScheme,
    probabilities: np.ndarray,
    thresholds: np.ndarray,
) -> SliceMetrics:
    """Log metrics under `<prefix>/…`, a table and confusion figures of these rows; return the metrics.

    probabilities [N, L] of the rows; thresholds [L], chosen on validation.
    """
    targets = scheme.targets(stored.subtypes[rows])
    results = evaluate_slices(
        targets,
        probabilities,
        thresholds,
        scheme.labels,
        stored.table["patient_id"].to_numpy()[rows],
    )
    run.metrics(results.as_metrics(prefix))
    run.table(results.table(), f"{prefix}_metrics.json")
    decisions = probabilities >= thresholds
    note = f"{prefix} split, {data_note(stored)}"
    run.figure(
        confusion_figure(targets, decisions, scheme.labels, note=note), f"figures/{prefix}_confusion.png"
    )
    run.figure(
        cooccurrence_figure(targets, decisions, scheme.labels, note=note),
        f"figures/{prefix}_cooccurrence.png",
    )
    return results
