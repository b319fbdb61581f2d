"""Natural against class-balanced sampling, patients cross-validated: the same network, seed, epochs and folds.

    mlflow run . -e preprocess -P exams=120 -P bleeds=0.1 -P folds=3 -P out=data/sampling-phantom
    python benchmarks/sampling.py --data data/sampling-phantom --image_size 64 --epochs 8

Trains the recipe `demo` (EfficientNet-B0 from random weights) once a fold and sampling, `epochs` epochs each, and
prints the figures of the folds' validation patients, meaned over the folds where a label is estimable. The epoch with
the best validation AUC counts, in both arms: the figures are optimistic by the same rule, the comparison is fair. The
test split is not read. Runs that are finished are not run again, and one that was killed goes on.
"""

import argparse
import os
import subprocess
import sys

import mlflow
import numpy as np
from mlflow.entities import Run

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.labels import SCHEMES

EXPERIMENT = "benchmark-sampling"
SAMPLINGS = ("natural", "class_balanced")
LABELS = SCHEMES[5].labels


def command(data: str, fold: int, sampling: str, *, epochs: int, image_size: int) -> list[str]:
    options = {
        "data": data, "fold": fold, "sampling": sampling, "epochs": epochs, "patience": epochs,
        "image_size": image_size, "recipe": "demo", "weights": "random", "missing_labels": "allow",
        "resume": "true",
    }  # fmt: skip
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "entrypoints.train", *flags]


def finished(digest: str, fold: int, sampling: str, *, epochs: int, image_size: int) -> Run | None:
    wanted = {
        "data.digest": digest, "data.fold": fold, "hp.sampling": sampling, "hp.epochs": epochs,
        "hp.image_size": image_size,
    }  # fmt: skip
    conditions = [f"params.`{name}` = '{value}'" for name, value in wanted.items()]
    found = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=" AND ".join(["attributes.status = 'FINISHED'", *conditions]),
        max_results=1,
        output_format="list",
    )
    return found[0] if found else None


def mean(runs: list[Run], metric: str) -> str:
    values = [run.data.metrics[metric] for run in runs if metric in run.data.metrics]
    return f"{np.mean(values):.3f}" if values else "not estimable"


def seen(runs: list[Run], label: str) -> str:
    return f"{100 * np.mean([run.data.metrics[f'epoch/seen/{label}'] for run in runs]):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set with folds")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--image_size", type=int, default=96)
    arguments = parser.parse_args()
    stored = StoredSet.open(arguments.data)
    setting = {"epochs": arguments.epochs, "image_size": arguments.image_size}
    mlflow.set_experiment(EXPERIMENT)
    runs: dict[str, list[Run]] = {sampling: [] for sampling in SAMPLINGS}
    for fold in range(int(stored.table["fold"].max()) + 1):
        for sampling in SAMPLINGS:
            if finished(stored.digest, fold, sampling, **setting) is None:
                environment = os.environ | {"MLFLOW_EXPERIMENT_NAME": EXPERIMENT}
                subprocess.run(
                    command(arguments.data, fold, sampling, **setting), env=environment, check=True
                )
            run = finished(stored.digest, fold, sampling, **setting)
            assert run is not None
            runs[sampling].append(run)
    print("| label | seen, % | | AUC | | F1 | |\n|---|---|---|---|---|---|---|")
    print("| | natural | balanced | natural | balanced | natural | balanced |")
    for label in (*LABELS, "macro"):
        shown = ["", ""] if label == "macro" else [seen(runs[sampling], label) for sampling in SAMPLINGS]
        figures = [
            mean(runs[sampling], f"val/{kind}/{label}") for kind in ("auc", "f1") for sampling in SAMPLINGS
        ]
        print("| " + " | ".join([label, *shown, *figures]) + " |")
    distinct = [
        f"{100 * np.mean([r.data.metrics['epoch/seen/distinct_slices'] for r in runs[s]]):.0f}"
        for s in SAMPLINGS
    ]
    print(f"slices of an epoch that are distinct: {distinct[0]} % natural, {distinct[1]} % balanced")


if __name__ == "__main__":
    main()
