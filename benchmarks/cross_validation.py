"""Models 1 to 3 on CT-ICH, every patient predicted once by a network that has not seen it.

    mlflow run . -e preprocess -P source=ctich -P data=../shared/ct-ich -P out=data/ctich
    python benchmarks/cross_validation.py --data data/ctich --image_size 96 --epochs 8

All patients of the stored set are dealt into folds, its own split is not used. For each fold in turn, that fold is
the test split, another one validates (early stopping, calibration, operating points) and the rest trains; the
predictions of the test folds are pooled. Finished trainings are not run again, and one that was killed goes on.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np

from ich_mlflow.dataset.split import TEST, TRAIN, VALIDATION, fold_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.options import TrainOptions

EXPERIMENT = "benchmark-cross-validation"
MODELS = ("model-1", "model-2", "model-3")
FOLDS = Path("data/cross-validation")


def fold_sets(stored: StoredSet, *, num_folds: int, seed: int) -> list[StoredSet]:
    """The stored set once a fold: that fold is test, another validates, the rest trains.

    The fold that validates is the next one that leaves a patient of every subtype to train on, if there is one.
    """
    patients = stored.table["patient_id"].to_numpy()
    everyone = np.full(len(patients), TRAIN)
    folds = fold_patients(patients, stored.subtypes, everyone, num_folds=num_folds, seed=seed)
    sets = []
    for test in range(num_folds):
        others = [(test + step) % num_folds for step in range(1, num_folds)]
        left = [stored.subtypes[(folds != test) & (folds != other)].any(axis=0).sum() for other in others]
        validation = others[int(np.argmax(left))]
        split = np.where(folds == test, TEST, np.where(folds == validation, VALIDATION, TRAIN))
        sets.append(replace(stored, table=stored.table.assign(split=split, fold=folds)))
    return sets


def train_fold(arguments: argparse.Namespace, model: str, fold: int) -> None:
    """Train one model on one fold, in this process; its predictions go into a file."""
    # Imported here: the parent process only starts others.
    from ich_mlflow.labels import class_scheme
    from ich_mlflow.serving.package import load_classifier
    from ich_mlflow.workflows.evaluate import score_rows
    from ich_mlflow.workflows.train import train

    stored = fold_sets(StoredSet.open(Path(arguments.data)), num_folds=arguments.folds, seed=arguments.seed)[
        fold
    ]
    trained = train(
        TrainOptions(
            data=arguments.data, recipe=model, image_size=str(arguments.image_size), epochs=str(arguments.epochs),
            patience=str(arguments.epochs), learning_rate="1e-3", batch_size="16", batch_norm_momentum="0.9",
            monitor="val_auc", weights=arguments.weights, missing_labels="allow", resume="true",
            seed=arguments.seed * 100 + fold, checkpoints=f"checkpoints/cv-{model}-{fold}",
        ),
        stored=stored,
    )  # fmt: skip
    classifier = load_classifier(trained.serving_uri)
    found = {"labels": np.array(class_scheme(trained.num_classes).labels), "run_id": np.array(trained.run_id)}
    for split in (TRAIN, VALIDATION, TEST):
        rows = stored.rows(split)
        found[f"{split}_rows"] = rows
        if split != TRAIN:
            found[f"{split}_probabilities"] = score_rows(classifier, stored, rows)
    path = fold_file(arguments, model, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)


def fold_file(arguments: argparse.Namespace, model: str, fold: int) -> Path:
    setting = f"{Path(arguments.data).name}-{arguments.image_size}px-{arguments.epochs}ep-{arguments.seed}"
    return FOLDS / setting / f"{model}-{fold}-of-{arguments.folds}.npz"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", default="random")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "FOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    mlflow.set_experiment(EXPERIMENT)
    if arguments.one:
        train_fold(arguments, arguments.one[0], int(arguments.one[1]))
        return
    for fold in range(arguments.folds):
        for model in MODELS:
            if not fold_file(arguments, model, fold).exists():
                subprocess.run(
                    [sys.executable, *sys.argv, "--one", model, str(fold)], env=dict(os.environ), check=True
                )


if __name__ == "__main__":
    main()
