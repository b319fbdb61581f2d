"""Models 1 to 3 on CT-ICH, every patient predicted once by a network that has not seen it.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P out=data/ctich
    python benchmarks/cross_validation.py --data data/ctich --image_size 96 --epochs 8

All patients of the stored set are dealt into folds, its own split is not used. For each fold in turn, that fold is
the test split, another one validates (best epoch, calibration, operating points) and the rest trains; the predictions
of the test folds are pooled, each calibrated and decided by what its own fold's validation chose. Beside each model
stands the null model of slice position, fitted fold by fold in the same way. Finished trainings are not run again,
and one that was killed goes on. Ends with the tables of docs/results.md.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from ich_mlflow.dataset.split import TEST, TRAIN, VALIDATION, fold_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.assess import Predictions, assess, difference
from ich_mlflow.evaluation.choose import choose
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.null_models import fit_null_model
from ich_mlflow.evaluation.operating_point import default_thresholds
from ich_mlflow.evaluation.scores import SliceMetrics, evaluate_slices
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import scheme_of_labels, with_any
from ich_mlflow.stages.common.specification import columns
from ich_mlflow.stages.train.options import TrainOptions

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
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.stages.common.scoring import score_rows
    from ich_mlflow.stages.train.train import train

    stored = fold_sets(StoredSet.open(Path(arguments.data)), num_folds=arguments.folds, seed=arguments.seed)[
        fold
    ]
    trained = train(
        TrainOptions(
            data=arguments.data, recipe=model, image_size=str(arguments.image_size), epochs=str(arguments.epochs),
            patience=str(arguments.epochs), learning_rate="1e-3", batch_size="16", batch_norm_momentum="0.9",
            monitor="val_auc", weights=arguments.weights, missing_labels="allow", resume=True,
            seed=arguments.seed * 100 + fold, checkpoints=f"checkpoints/cv-{model}-{fold}",
        ),
        stored=stored,
    )  # fmt: skip
    classifier = load_classifier(trained.serving_uri)
    found: dict[str, Any] = {
        "labels": np.array(class_scheme(trained.num_classes).labels),
        "run_id": np.array(trained.run_id),
    }
    for split in (TRAIN, VALIDATION, TEST):
        rows = stored.rows(split)
        found[f"{split}_rows"] = rows
        if split != TRAIN:
            found[f"{split}_probabilities"] = score_rows(classifier, stored, rows).slices
    path = fold_file(arguments, model, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)


def fold_file(arguments: argparse.Namespace, model: str, fold: int) -> Path:
    setting = f"{Path(arguments.data).name}-{arguments.image_size}px-{arguments.epochs}ep-{arguments.seed}"
    return FOLDS / setting / f"{model}-{fold}-of-{arguments.folds}.npz"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One model's predictions of every patient: probabilities, decisions as 0 and 1, exams, and the null model's."""

    slices: Predictions
    decisions: Predictions
    exams: Predictions
    null_model: Predictions
    folds: list[SliceMetrics]


def pool(
    arguments: argparse.Namespace, sets: list[StoredSet], model: str, *, calibrate: bool = True
) -> Pooled:
    """Put the predictions of the test folds together, calibrated fold by fold or as the networks gave them.

    Rankings go by them too: what different networks say themselves doesn't compare.
    """
    parts: dict[str, list[np.ndarray]] = {}
    folds = []
    for fold, stored in enumerate(sets):
        with np.load(fold_file(arguments, model, fold)) as found:
            scheme = scheme_of_labels([str(label) for label in found["labels"]])
            rows, validation = found["test_rows"], found["validation_rows"]
            said, chosen_on = (
                with_any(found[f"{split}_probabilities"], scheme.labels) for split in (TEST, VALIDATION)
            )
        targets, labels = scheme.finding_targets(stored.subtypes), scheme.findings
        where = columns(stored, np.arange(len(stored.table)))
        chosen = choose(targets[validation], chosen_on, where.patients[validation], labels)
        calibrated = chosen.calibrated(said)
        probabilities = calibrated if calibrate else said
        train, position = stored.rows(TRAIN), where.position
        null = fit_null_model(
            targets[train],
            position[train],
            targets[validation],
            position[validation],
            where.patients[validation],
            labels,
        )
        folds.append(evaluate_slices(targets[rows], probabilities, default_thresholds(labels), labels))
        for name, value in {
            "rows": rows,
            "targets": targets[rows],
            "probabilities": probabilities,
            "decisions": (calibrated >= chosen.thresholds("max_f1")).astype(float),
            "null_model": null.probabilities(position[rows]),
        }.items():
            parts.setdefault(name, []).append(value)
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    order = np.argsort(whole.pop("rows"))
    whole = {name: value[order] for name, value in whole.items()}
    where = columns(sets[0], np.arange(len(sets[0].table)))

    def of(said: np.ndarray) -> Predictions:
        return Predictions(
            labels=labels,
            targets=whole["targets"],
            probabilities=said,
            thresholds=np.full(len(labels), 0.5),
            patients=where.patients,
        )

    exams = to_exams(whole["targets"], whole["probabilities"], where.studies, where.patients, where.series)
    slices = of(whole["probabilities"])
    return Pooled(
        slices=slices,
        decisions=of(whole["decisions"]),
        exams=replace(
            slices,
            targets=exams.targets,
            probabilities=exams.scores,
            patients=exams.patients,
            unit=EXAMS,
        ),
        null_model=of(whole["null_model"]),
        folds=folds,
    )


def report(arguments: argparse.Namespace) -> None:
    """Print the tables of docs/results.md."""
    sets = fold_sets(StoredSet.open(Path(arguments.data)), num_folds=arguments.folds, seed=arguments.seed)
    pooled = {model: pool(arguments, sets, model) for model in MODELS}
    print(
        "| | label | positive slices (patients) | AUC | AUC of position | AUC of exams | F1 | sensitivity "
        "| specificity |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for model, one in pooled.items():
        ranked, decided, exams, null = (
            assess(part).table().set_index(["metric", "label"])
            for part in (one.slices, one.decisions, one.exams, one.null_model)
        )
        counts = {scored.label: scored for scored in one.slices.metrics().per_label}
        for label in (*one.slices.labels, "macro"):
            scored = counts.get(label)
            count = f"{scored.num_positive_slices} ({scored.num_positive_patients})" if scored else ""
            cells = [
                said(ranked, "auc", label),
                said(null, "auc", label),
                said(exams, "auc", label),
                *(said(decided, metric, label) for metric in ("f1", "sensitivity", "specificity")),
            ]
            print(f"| {model} | {label} | {count} | {' | '.join(cells)} |")
        folds = ", ".join(shown(fold.macro("auc")) for fold in one.folds)
        print(f"| {model} | mean AUC within each fold | | {folds} | | | | | |")
    print("\n| difference of AUC | label | difference (95 % interval, paired) |\n|---|---|---|")
    for name, first, second in (
        *((f"{model} - position", pooled[model].slices, pooled[model].null_model) for model in MODELS),
        *((f"{model} - model-1", pooled[model].slices, pooled["model-1"].slices) for model in MODELS[1:]),
    ):
        found = difference(first, second)
        found = found[(found["metric"] == "auc") & (found["label"] != "micro")]
        for row in found.itertuples():
            print(f"| {name} | {row.label} | {with_interval(row.difference, row.low, row.high)} |")


def train_folds(arguments: argparse.Namespace, names: Iterable[str], kept_as: Callable[[str], str]) -> None:
    """Run this script once for each fold and name that has no predictions yet, each in a process of its own."""
    names = tuple(names)
    for fold in range(arguments.folds):
        for name in names:
            if not fold_file(arguments, kept_as(name), fold).exists():
                command = [sys.executable, *sys.argv, "--one", name, str(fold)]
                subprocess.run(command, env=dict(os.environ), check=True)


def said(table: pd.DataFrame, metric: str, label: str) -> str:
    """A cell with its interval."""
    row: Any = table.loc[(metric, label)]
    return with_interval(row["value"], row["low"], row["high"])


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
    train_folds(arguments, MODELS, str)
    report(arguments)


if __name__ == "__main__":
    main()
