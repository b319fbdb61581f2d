"""What each start of the weights is worth on real head CT: patient-grouped cross-validation, side by side in one run.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P out=data/ctich
    python benchmarks/starts.py --data data/ctich

Every start trains the same network on the same folds by the same recipe, with six classes (the subtypes and any); for
each fold in turn that fold is the test split, another one validates and the rest trains. Beside them stand the null
model of slice position; a linear probe, logistic regression on features of EfficientNet-Lite0 with its ImageNet weights
at rest; and the demonstration model, which has learned from phantoms alone. The test folds are pooled as the networks
gave them, without calibration, which the few patients of a fold can't carry; beside that, the mean of the AUCs within
the folds, which no difference of scale between two networks can touch. Differences are paired by patient. Finished
trainings are not run again, and one that was killed goes on. Ends with the tables of docs/weights.md.

The start "phantom" is Lite0 that has not seen ImageNet, which the package does not have. It is made before, in about
half an hour, by

    mlflow run . -e pretrain -P backbone=efficientnet-lite0 -P weights=random -P learning_rate=5e-4 -P epochs=8 \
        -P out=data/pretrained-random
"""

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from cross_validation import Pooled, fold_file, fold_sets, pool, said, train_folds

from ich_mlflow.dataset.split import TEST, TRAIN, VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.assess import assess, difference
from ich_mlflow.evaluation.text import shown, with_interval
from ich_mlflow.labels import ANY, class_scheme
from ich_mlflow.models.weights import read_weights, shipped_path
from ich_mlflow.stages.demonstrate.models import BACKBONE
from ich_mlflow.stages.train.options import TrainOptions

EXPERIMENT = "benchmark-starts"
PROBE = "linear probe"
AS_IS = "demonstration model, no CT seen"
AS_IS_WEIGHTS = (BACKBONE, "phantom")
#: Name -> backbone, weights
STARTS = {
    "random": ("efficientnet-lite0", "random"),
    "ImageNet": ("efficientnet-lite0", "imagenet"),
    "phantom": ("efficientnet-lite0", "data/pretrained-random/efficientnet-lite0-phantom.npz"),
    "ImageNet, then phantom": ("efficientnet-lite0", "phantom"),
    "EfficientNet-B0, phantom": ("efficientnet-b0", "phantom"),
}
WINDOWS = "brain,subdural,bone"
WARMUP_EPOCHS, LEARNING_RATE = 5, 3e-4
PROBE_SIZE = 224
PROBE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SCHEME = class_scheme(6)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A start's pooled predictions, and how long its trainings took, minutes."""

    name: str
    pooled: Pooled
    minutes: float


def train_fold(arguments: argparse.Namespace, start: str, fold: int) -> None:
    """Train from one start on one fold, in this process; its predictions go into a file."""
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.stages.common.scoring import score_rows
    from ich_mlflow.stages.train.train import train

    stored = sets_of(arguments)[fold]
    backbone, weights = STARTS[start]
    began = time.perf_counter()
    trained = train(
        TrainOptions(
            data=arguments.data, num_classes="6", backbone=backbone, weights=weights, windows=WINDOWS,
            image_size=str(arguments.image_size), epochs=str(arguments.epochs), patience=str(arguments.epochs),
            frozen_epochs=str(arguments.frozen_epochs), learning_rate=str(arguments.learning_rate), schedule="cosine",
            batch_size="16", batch_norm_momentum="0.95", rotation_degrees="15", monitor="val_auc",
            missing_labels="allow", resume=True, seed=arguments.seed * 100 + fold,
            checkpoints=f"checkpoints/{kept_as(arguments, start)}-{fold}",
        ),
        stored=stored,
    )  # fmt: skip
    classifier = load_classifier(trained.serving_uri)
    rows = {split: stored.rows(split) for split in (TRAIN, VALIDATION, TEST)}
    _save(
        fold_file(arguments, kept_as(arguments, start), fold),
        rows,
        {split: score_rows(classifier, stored, rows[split]).slices for split in (VALIDATION, TEST)},
        seconds=time.perf_counter() - began,
    )


def kept_as(arguments: argparse.Namespace, name: str) -> str:
    """The name that predictions are kept under: other weights' or another recipe's must not be taken for these."""
    backbone, weights = STARTS.get(
        name, ("efficientnet-lite0", "imagenet") if name == PROBE else AS_IS_WEIGHTS
    )
    recipe = f"-{arguments.frozen_epochs}wu-{arguments.learning_rate:g}" if name in STARTS else ""
    if weights == "random":
        return name + recipe
    path = Path(weights) if weights.endswith(".npz") else shipped_path(f"{backbone}-{weights}")
    return f"{name}{recipe}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def probe(arguments: argparse.Namespace) -> None:
    """Logistic regression on frozen features: mean and maximum over the map. The validation fold chooses its C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    began = time.perf_counter()
    kept, sets = kept_as(arguments, PROBE), sets_of(arguments)
    features = _frozen_features(sets[0])
    targets = SCHEME.targets(sets[0].subtypes)
    for fold, stored in enumerate(sets):
        rows = {split: stored.rows(split) for split in (TRAIN, VALIDATION, TEST)}
        given = {split: np.zeros((len(rows[split]), len(SCHEME.labels))) for split in (VALIDATION, TEST)}
        for number in range(len(SCHEME.labels)):
            best = -1.0
            truth = targets[rows[VALIDATION], number]
            for strength in PROBE_STRENGTHS:
                model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
                model.fit(features[rows[TRAIN]], targets[rows[TRAIN], number])
                guess = model.predict_proba(features[rows[VALIDATION]])[:, 1]
                auc = roc_auc_score(truth, guess) if 0 < truth.sum() < len(truth) else 0.0
                if auc > best:
                    best = auc
                    given[VALIDATION][:, number] = guess
                    given[TEST][:, number] = model.predict_proba(features[rows[TEST]])[:, 1]
        _save(
            fold_file(arguments, kept, fold),
            rows,
            given,
            seconds=(time.perf_counter() - began) / len(sets),
        )


def as_it_is(arguments: argparse.Namespace) -> None:
    """What the demonstration model says of every slice, at its own image size."""
    from ich_mlflow.stages.demonstrate.demonstrate import demonstration_model

    began = time.perf_counter()
    kept, sets = kept_as(arguments, AS_IS), sets_of(arguments)
    model = demonstration_model(read_weights(shipped_path(f"{BACKBONE}-phantom")), SCHEME.labels)
    chunks = np.array_split(np.arange(len(sets[0].table)), len(sets[0].table) // 32)
    everything = np.concatenate(
        [np.asarray(model(sets[0].hu(rows)[..., None].astype(np.float32), training=False)) for rows in chunks]
    )
    for fold, stored in enumerate(sets):
        rows = {split: stored.rows(split) for split in (TRAIN, VALIDATION, TEST)}
        given = {split: everything[rows[split]] for split in (VALIDATION, TEST)}
        _save(
            fold_file(arguments, kept, fold),
            rows,
            given,
            seconds=(time.perf_counter() - began) / len(sets),
        )


def _frozen_features(stored: StoredSet) -> np.ndarray:
    from ich_mlflow.ct.resample import resize_weights
    from ich_mlflow.ct.window import apply_windows, parse_windows
    from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone

    backbone = build_backbone(name="efficientnet-lite0", image_size=PROBE_SIZE, weights="imagenet")
    weights = resize_weights(256, PROBE_SIZE)
    found = []
    for rows in np.array_split(np.arange(len(stored.table)), len(stored.table) // 32):
        hu = weights @ stored.hu(rows).astype(np.float32) @ weights.T
        maps = np.asarray(backbone(apply_windows(hu, parse_windows(WINDOWS)), training=False))
        found.append(np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1))
    return np.concatenate(found)


def sets_of(arguments: argparse.Namespace) -> list[StoredSet]:
    return fold_sets(StoredSet.open(Path(arguments.data)), num_folds=arguments.folds, seed=arguments.seed)


def _save(path: Path, rows: dict[str, np.ndarray], given: dict[str, np.ndarray], *, seconds: float) -> None:
    found: dict[str, Any] = {"labels": np.array(SCHEME.labels), "seconds": np.array(seconds)}
    found |= {f"{split}_rows": value for split, value in rows.items()}
    found |= {f"{split}_probabilities": value for split, value in given.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)


def report(arguments: argparse.Namespace, names: list[str]) -> None:
    """Print the tables of docs/weights.md."""
    sets = sets_of(arguments)
    found = []
    for name in names:
        kept = kept_as(arguments, name)
        files = [fold_file(arguments, kept, fold) for fold in range(arguments.folds)]
        seconds = sum(float(np.load(file)["seconds"]) for file in files)
        found.append(
            Found(name=name, pooled=pool(arguments, sets, kept, calibrate=False), minutes=seconds / 60)
        )
    print(f"| start | {' | '.join(SCHEME.labels)} | macro | any, macro within folds | exams: any | minutes |")
    print(f"|---|{'---|' * (len(SCHEME.labels) + 4)}")
    for one in found:
        table, exams = (
            assess(part).table().set_index(["metric", "label"])
            for part in (one.pooled.slices, one.pooled.exams)
        )
        cells = [said(table, "auc", label) for label in (*SCHEME.labels, "macro")]
        cells += [within(one.pooled), said(exams, "auc", ANY)]
        print(f"| {one.name} | {' | '.join(cells)} | {one.minutes:.0f} |")
    null = assess(found[0].pooled.null_model).table().set_index(["metric", "label"])
    cells = [said(null, "auc", label) for label in (*SCHEME.labels, "macro")]
    print(f"| position of the slice alone | {' | '.join(cells)} | | | |")
    print("\n| difference of AUC | label | difference (95 % interval, paired) |\n|---|---|---|")
    by_name = {one.name: one.pooled for one in found}
    pairs = [(f"{name} - position", by_name[name].slices, by_name[name].null_model) for name in by_name]
    for other in (PROBE, "random", "ImageNet"):
        pairs += [
            (f"{name} - {other}", by_name[name].slices, by_name[other].slices)
            for name in by_name
            if other in by_name
            and name != other
            and (name, other) not in {(PROBE, "random"), (PROBE, "ImageNet")}
        ]
    for name, first, second in pairs:
        table = difference(first, second)
        table = table[(table["metric"] == "auc") & table["label"].isin(["any", "macro"])]
        for row in table.itertuples():
            print(f"| {name} | {row.label} | {with_interval(row.difference, row.low, row.high)} |")


def within(pooled: Pooled) -> str:
    """The mean over the folds of the AUC of any and of the macro AUC, where they are estimable."""
    of_any = [scored["auc"] for fold in pooled.folds for scored in fold.per_label if scored.label == ANY]
    macros = [fold.macro("auc") for fold in pooled.folds]
    return f"{shown(float(np.nanmean(of_any)))}, {shown(float(np.nanmean(macros)))}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set")
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--frozen_epochs", type=int, default=WARMUP_EPOCHS)
    parser.add_argument("--learning_rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--image_size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", nargs=2, metavar=("START", "FOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    mlflow.set_experiment(EXPERIMENT)
    if arguments.one:
        train_fold(arguments, arguments.one[0], int(arguments.one[1]))
        return
    for name, predict in ((PROBE, probe), (AS_IS, as_it_is)):
        kept = kept_as(arguments, name)
        if not all(fold_file(arguments, kept, fold).exists() for fold in range(arguments.folds)):
            predict(arguments)
    train_folds(arguments, arguments.starts, lambda start: kept_as(arguments, start))
    report(arguments, [PROBE, AS_IS, *arguments.starts])


if __name__ == "__main__":
    main()
