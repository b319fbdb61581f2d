"""Score a logged or registered model on the test split: the one place where test data is read."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import ModelError
from ich_mlflow.evaluation.metrics import SliceMetrics
from ich_mlflow.labels import SCHEMES, scheme_of_labels
from ich_mlflow.options import AUTO, EvaluateOptions
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.package import load_classifier
from ich_mlflow.tracking.registry import CHAMPION, champion_version, run_of_model, run_parameters
from ich_mlflow.tracking.run import start_run
from ich_mlflow.workflows.preprocess import describe
from ich_mlflow.workflows.results import log_results

BATCH_SIZE = 32


def evaluate(options: EvaluateOptions, *, nested: bool = False) -> SliceMetrics:
    """Log metrics and figures of the test split on a run of their own, linked to the model by tags."""
    with start_run("evaluate", nested=nested) as run:
        run.params(asdict(options), prefix="evaluate")
        model_uri = _model_uri(options)
        trained_run = run_of_model(model_uri)
        classifier = load_classifier(model_uri)
        specification = classifier.specification
        data = run_parameters(trained_run)["data.path"] if options.data == AUTO else options.data
        stored = StoredSet.open(Path(data))
        rows = stored.rows("test")
        run.tags({"ich.model_uri": model_uri, "ich.trained_run": trained_run})
        run.dataset(
            stored.table.iloc[rows],
            source=stored.path,
            name=stored.manifest["source"],
            digest=stored.digest,
            context="test",
        )
        run.params({"path": stored.path.resolve(), "digest": stored.digest}, prefix="data")
        print(f"evaluating {model_uri} on the test split of {stored.path} ({describe(stored)})")
        results = log_results(
            run,
            prefix="test",
            stored=stored,
            rows=rows,
            scheme=scheme_of_labels(specification.labels),
            probabilities=score_rows(classifier, stored, rows),
            thresholds=specification.thresholds,
        )
        print(results.table().to_string(index=False))
        return results


def score_rows(classifier: Classifier, stored: StoredSet, rows: np.ndarray) -> np.ndarray:
    """Probabilities float32 [N, L] of those rows, by the network that the model version serves."""
    starts = range(0, len(rows), BATCH_SIZE)
    batches = [
        classifier.probabilities(
            stored.hu_with_context(rows[start : start + BATCH_SIZE], classifier.specification.context)
        )
        for start in tqdm(starts, desc="scoring", unit="batch", leave=False)
    ]
    return np.concatenate(batches)


def _model_uri(options: EvaluateOptions) -> str:
    if options.model != AUTO:
        return options.model
    for num_classes in (5, 4, 6):
        name = SCHEMES[num_classes].model_name
        if champion_version(name) is not None:
            return f"models:/{name}@{CHAMPION}"
    raise ModelError(
        "no model was named and the registry has no champion: pass -P model=runs:/<run id>/serving, or run "
        "mlflow run . -e promote"
    )
