"""The ladder from slices to exams on CT-ICH: each step against the one before, paired, on patients not trained on.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P out=data/ctich
    python benchmarks/ladder.py --data data/ctich

All patients of the stored set are dealt into five folds, its own split is not used. For each fold and seed a network is
trained on the other four and keeps its last epoch, so that the fold chooses nothing about what is said of it. An
hour a seed on two cores. Finished trainings are not run again, and one that was killed goes on.

The steps: the single network; averaged with the mirror image and smoothed along the series, aggregated as exams; the
mean of two seeds or more; exam_sequence on what the networks say. Smoothing, aggregation, the threshold of 90 %
sensitivity and the network over series are chosen and learned on the other folds. Ends with docs/results.md's table.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from ich_mlflow.dataset.split import TRAIN, VALIDATION, fold_patients
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.aggregate import MAX, OF_MODEL, to_exams
from ich_mlflow.evaluation.assess import Predictions, assess, difference
from ich_mlflow.evaluation.choose import choose_aggregation, choose_smoothing
from ich_mlflow.evaluation.counts import EXAMS
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import ANY, class_scheme, with_any
from ich_mlflow.models.logits import logit, mean_of_logits
from ich_mlflow.models.series import smoothed_each
from ich_mlflow.stages.common.specification import Columns, columns
from ich_mlflow.stages.train.options import TrainOptions

EXPERIMENT = "benchmark-ladder"
#: What the recipe has of other scanners; the published networks were trained without.
OTHER_SCANNERS = ("hu_gain", "hu_offset", "kernel_change", "blur_pixels", "noise_hu")
#: Small enough for two cores, three windows, wide rotations, the square around the head.
SETTING: dict[str, Any] = dict(
    recipe="small-cohort", weights="phantom", missing_labels="allow", series_smoothing="none", resume=True,
    **dict.fromkeys(OTHER_SCANNERS, "0"),
)  # fmt: skip


def fold_set(stored: StoredSet, fold: int, *, num_folds: int = 5) -> StoredSet:
    """The stored set with that fold of all its patients as validation, and the rest as training."""
    everyone = np.full(len(stored.table), TRAIN)
    folds = fold_patients(
        stored.table["patient_id"].to_numpy(), stored.subtypes, everyone, num_folds=num_folds, seed=0
    )
    return replace(
        stored,
        table=stored.table.assign(split=np.where(folds == fold, VALIDATION, TRAIN), fold=folds),
    )


def train_fold(arguments: argparse.Namespace, fold: int, seed: int) -> None:
    """Train one network, in this process; what it says of its fold goes into a file, with its run."""
    # Imported here: the parent process only starts others.
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.stages.train.train import train

    stored = fold_set(StoredSet.open(Path(arguments.data)), fold)
    trained = train(
        TrainOptions(
            data=arguments.data, seed=100 * seed + fold, checkpoints=str(arguments.out / f"checkpoints-{seed}-{fold}"),
            **SETTING,
        ),
        stored=stored,
    )  # fmt: skip
    classifier = load_classifier(trained.serving_uri)
    rows = stored.rows(VALIDATION)
    hu = stored.hu(rows)
    said = np.stack([classifier.members[0].outputs(one) for one in (hu, hu[:, :, ::-1])])
    np.savez(fold_file(arguments, fold, seed), rows=rows, said=said, run_id=np.array(trained.run_id))


def fold_file(arguments: argparse.Namespace, fold: int, seed: int) -> Path:
    path: Path = arguments.out / f"{seed}-{fold}.npz"
    return path


SCHEME = class_scheme(5)
LABELS = SCHEME.findings


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step of the ladder says of every slice, by a network that has not learned from it, and of every exam."""

    name: str
    slices: Predictions
    exams: Predictions
    flagged: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the networks of one seed say: of slices as they stand and of their mirror images, float32 [N, 5] each."""

    straight: np.ndarray
    mirrored: np.ndarray


def said_by(arguments: argparse.Namespace, num_slices: int, seed: int) -> Said:
    both = np.zeros((2, num_slices, len(SCHEME.labels)), np.float32)
    for fold in range(5):
        with np.load(fold_file(arguments, fold, seed)) as file:
            both[:, file["rows"]] = file["said"]
    return Said(straight=both[0], mirrored=both[1])


class Ladder:
    """The steps, on the labels and folds of a stored set."""

    def __init__(self, stored: StoredSet) -> None:
        self.stored = fold_set(stored, 0)
        self.fold = self.stored.table["fold"].to_numpy()
        self.targets = SCHEME.finding_targets(self.stored.subtypes)
        self.where: Columns = columns(self.stored, np.arange(len(self.fold)))

    def single(self, said: Said) -> Step:
        return self._step("single slice CNN, highest slice", said.straight, MAX)

    def series_aware(self, name: str, said: Sequence[Said], *, smoothed: bool = True) -> Step:
        """Averaged over seeds and mirror images; smoothing, if wanted, and aggregation by the other folds."""
        if not smoothed:
            return self._step(name, _mean(said), None)
        return self._step(name, self.smoothed(said), None)

    def smoothed(self, said: Sequence[Said]) -> np.ndarray:
        """What is said [N, 5], smoothed as ranks any bleed best on the other folds."""
        mean = _mean(said)
        found = np.empty_like(mean)
        where = self.where
        for fold in range(5):
            here, others = self.fold == fold, self.fold != fold
            smoothing = choose_smoothing(
                self.targets[others], mean[others], where.position_mm[others], where.studies[others],
                where.patients[others], where.series[others], SCHEME.labels,
            )  # fmt: skip
            found[here] = smoothed_each(mean[here], where.position_mm[here], where.series[here], smoothing)
        return found

    def sequence(self, said: Said, *, kind: str) -> Step:
        """exam_sequence, learned on the other folds from what their networks say of their own patients."""
        served = self.smoothed([said])
        inputs = np.concatenate(
            [logit(one.astype(np.float64)) for one in (served, said.straight, said.mirrored)], axis=1
        ).astype(np.float32)
        series = [rows for _, rows in self.stored.table.groupby("series_uid", sort=False).indices.items()]
        slices, of_series = (np.empty((len(inputs), 5), np.float32) for _ in range(2))
        for fold in range(5):
            here = [rows for rows in series if self.fold[rows[0]] == fold]
            others = [rows for rows in series if self.fold[rows[0]] != fold]
            for rows, (of_slices, exam) in zip(here, self._learned(inputs, others, here, kind), strict=True):
                slices[rows], of_series[rows] = of_slices, exam
        return self._step(f"exam_sequence ({kind})", slices, OF_MODEL, of_series)

    def _learned(
        self, inputs: np.ndarray, train: list[np.ndarray], test: list[np.ndarray], kind: str
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """What a network over series that was trained on some says of others: every epoch, none chosen."""
        import keras

        from ich_mlflow.models.exam_sequence.batches import SeriesBatches
        from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters
        from ich_mlflow.models.exam_sequence.network import build_sequence, set_standardisation
        from ich_mlflow.training.loop import fit

        keras.utils.set_random_seed(0)
        hyperparameters = Hyperparameters(kind=kind, kept_epoch="last")
        network = build_sequence(
            num_labels=5, num_inputs=inputs.shape[1], kind=kind, width=hyperparameters.width
        )
        learned = inputs[np.concatenate(train)]
        set_standardisation(network, learned.mean(axis=0), learned.std(axis=0))
        labels = SCHEME.targets(self.stored.subtypes).astype(np.float32)

        def batches(series: list[np.ndarray], *, shuffled: bool) -> SeriesBatches:
            exams = np.stack([labels[rows].max(axis=0) for rows in series])
            known = [labels[rows] for rows in series]
            order = partial(_shuffled, len(series)) if shuffled else None
            return SeriesBatches([inputs[rows] for rows in series], known, exams, order=order)

        validation = batches(test, shuffled=False)
        found = fit(
            network, train=batches(train, shuffled=True), validation=validation, hyperparameters=hyperparameters,
            score=lambda said: {"val_loss": 0.0}, on_epoch=lambda epoch, figures: None,
        )  # fmt: skip
        slices, exams = validation.split(found.val_probabilities)
        ends = np.cumsum([len(rows) for rows in test])[:-1]
        return list(zip(np.split(slices, ends), exams, strict=True))

    def _step(
        self, name: str, outputs: np.ndarray, aggregation: str | None, of_series: np.ndarray | None = None
    ) -> Step:
        """aggregation None: by the other folds."""
        scores = with_any(outputs, SCHEME.labels)
        said = None if of_series is None else with_any(of_series, SCHEME.labels)
        where, kept = self.where, []
        for fold in range(5):
            here, others = self.fold == fold, self.fold != fold
            parts = (self.targets, scores, where.studies, where.patients, where.series)
            chosen = aggregation or choose_aggregation(*(one[others] for one in parts), LABELS)[0]
            there, elsewhere = (
                to_exams(
                    *(one[part] for one in parts), aggregation=chosen,
                    of_series=None if said is None else said[part],
                )
                for part in (here, others)
            )  # fmt: skip
            any_elsewhere = elsewhere.scores[elsewhere.targets[:, -1], -1]
            threshold = np.sort(any_elsewhere)[int(np.floor(0.1 * len(any_elsewhere)))]
            kept.append((there, there.scores[:, -1] >= threshold))
        exams = {
            field: np.concatenate([getattr(one, field) for one, _ in kept])
            for field in ("study_uids", "patients", "targets", "scores")
        }
        order = np.argsort(exams["study_uids"], kind="stable")
        return Step(
            name=name,
            slices=self._predictions(self.targets, scores, where.patients),
            exams=replace(
                self._predictions(exams["targets"][order], exams["scores"][order], exams["patients"][order]),
                unit=EXAMS,
            ),
            flagged=np.concatenate([flagged for _, flagged in kept])[order],
        )

    def _predictions(self, targets: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Predictions:
        return Predictions(
            labels=LABELS,
            targets=targets,
            probabilities=np.asarray(scores, np.float64),
            thresholds=np.full(len(LABELS), 0.5),
            patients=patients,
        )


def _mean(said: Sequence[Said]) -> np.ndarray:
    return mean_of_logits(*(one for each in said for one in (each.straight, each.mirrored)))


def _shuffled(num_series: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((0, epoch)).permutation(num_series)


def report(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    ladder = Ladder(StoredSet.open(Path(arguments.data)))
    said = [said_by(arguments, len(ladder.fold), seed) for seed in range(arguments.seeds)]
    steps = [ladder.single(said[0]), ladder.series_aware("+ mirror image, smoothing, aggregation", said[:1])]
    if len(said) > 1:
        steps.append(ladder.series_aware(f"+ mean of {len(said)} networks", said))
    steps += [ladder.sequence(said[0], kind=kind) for kind in arguments.kinds.split(",")]
    print("| step | slice any | slice macro | exam any | sensitivity of exams | specificity of exams |")
    print("|---|---|---|---|---|---|")
    for step in steps:
        print(f"| {step.name} | {' | '.join(cells(step))} |")
    print("\n| difference | slice any | slice macro | exam any |\n|---|---|---|---|")
    for before, after in ((steps[0], steps[1]), *((steps[1], one) for one in steps[2:])):
        print(f"| {after.name} - {before.name} | {' | '.join(differences(before, after))} |")


def cells(step: Step) -> list[str]:
    """Slice any, slice macro, exam any, sensitivity and specificity of exams, with intervals."""
    slices, exams = assess(step.slices), assess(step.exams)
    has = step.exams.targets[:, -1]
    cells = [
        with_interval(one.values[name], one.interval(name).low, one.interval(name).high)
        for one, name in ((slices, f"auc/{ANY}"), (slices, "auc/macro"), (exams, f"auc/{ANY}"))
    ]
    for right, of in ((step.flagged[has], has.sum()), (~step.flagged[~has], (~has).sum())):
        interval = clopper_pearson(float(right.mean()), int(of))
        cells.append(with_interval(right.mean(), interval.low, interval.high))
    return cells


def differences(before: Step, after: Step) -> list[str]:
    """Paired differences of slice any, slice macro, exam any, with intervals."""
    cells = []
    for first, second, label in (
        (after.slices, before.slices, ANY), (after.slices, before.slices, "macro"), (after.exams, before.exams, ANY),
    ):  # fmt: skip
        table = difference(first, second)
        (row,) = table[(table["metric"] == "auc") & (table["label"] == label)].itertuples()
        cells.append(with_interval(row.difference, row.low, row.high))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set of CT-ICH")
    parser.add_argument("--out", type=Path, default=Path("data/ladder"), help="folder of what networks say")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--one", nargs=2, type=int, metavar=("FOLD", "SEED"), help="only this network, in this process"
    )
    parser.add_argument("--kinds", default="conv", help="of exam_sequence, separated by commas")
    parser.add_argument("--report", action="store_true", help="the tables alone, of what is there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    mlflow.set_experiment(EXPERIMENT)
    if arguments.one:
        train_fold(arguments, *arguments.one)
        return
    for seed in range(0 if arguments.report else arguments.seeds):
        for fold in range(5):
            if not fold_file(arguments, fold, seed).exists():
                command = [sys.executable, *sys.argv, "--one", str(fold), str(seed)]
                subprocess.run(command, env=dict(os.environ), check=True)
    report(arguments)


if __name__ == "__main__":
    main()
