"""Trials to a stated value: TPE with pruning against random search without, on phantoms, several seeds.

    mlflow run . -e preprocess -P exams=40 -P bleeds=0.3 -P out=data/tune-phantom
    python benchmarks/tune.py --data data/tune-phantom --value 0.9

Both search the same space (tune's own, but for the backbone, which is EfficientNet-Lite0 with its phantom weights) on
the same stored set, one process, without the recipe's own setting as first trial, and are compared by the mean
validation AUC. For each seed it prints after how many trials, epochs and seconds the stated value was reached first;
a search that did not reach it counts as all its trials and more. The ratio is of the medians over seeds: random by TPE,
above 1 where TPE with pruning is ahead. A benchmark that was stopped goes on.
"""

import argparse
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import pandas as pd

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.stages.tune.plan import Plan
from ich_mlflow.stages.tune.trial import Trials, WorkerOptions
from ich_mlflow.tuning.search import Search
from ich_mlflow.tuning.storage import open_storage

EXPERIMENT = "benchmark-tune"
METHODS = {"tpe and median pruning": ("tpe", "median"), "random, no pruning": ("random", "none")}


@dataclass(frozen=True)
class Reached:
    """When the value was reached first; None where it was not."""

    trials: int | None
    epochs: int | None
    seconds: float | None


def search_of(arguments: argparse.Namespace, method: str, seed: int) -> pd.DataFrame:
    """The trials of one search, run now as far as they have not been."""
    sampler, pruner = METHODS[method]
    options = TuneOptions(
        data=arguments.data, trials=arguments.trials, sampler=sampler, pruner=pruner, seed=seed,
        image_size=str(arguments.image_size), epochs=str(arguments.epochs), patience=str(arguments.epochs),
        backbone="efficientnet-lite0", weights="phantom", recipe="demo", missing_labels="allow",
        search=f"{sampler}-{seed}-{arguments.image_size}-{arguments.epochs}", checkpoints=arguments.folder,
    )  # fmt: skip
    plan = Plan(options)
    search = Search(open_storage(plan.storage), plan.search_options, worker="0")
    search.give_back_all()
    if not search.is_over:
        with mlflow.start_run(run_name=f"{method}, seed {seed}") as parent:
            stored = StoredSet.open(Path(arguments.data))
            told = WorkerOptions(
                number=0, name="0", num_workers=1, search=plan.search_options, storage=plan.storage,
                space=plan.allowed_by(stored), recipe=plan.recipe,
                options=plan.train_options, stored_path=stored.path, folder=plan.folder,
                parent=parent.info.run_id, experiment_id=parent.info.experiment_id,
                tracking_uri=mlflow.get_tracking_uri(),
            )  # fmt: skip
            search.work(Trials(told, stored))
    return search.table(list(plan.space.dimensions))


def reached(trials: pd.DataFrame, value: float) -> Reached:
    """Count trials, their epochs and seconds up to the first complete one with the value."""
    good = trials.index[(trials["state"] == "complete") & (trials["value"] >= value)]
    if not len(good):
        return Reached(None, None, None)
    before = trials.loc[: good[0]]
    seconds = float((before["ended"] - before["started"]).sum())
    return Reached(len(before), int(before["steps"].sum()), seconds)


def median(values: list[float | int | None]) -> float:
    """Of values of which None lies beyond all others."""
    return statistics.median(float("inf") if value is None else float(value) for value in values)


def shown(value: float | int | None, *, whole: float) -> str:
    return f"over {whole:.0f}" if value is None else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set with a validation split")
    parser.add_argument("--value", type=float, default=0.9, help="mean validation AUC to reach")
    parser.add_argument("--trials", type=int, default=12, help="most trials of a search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--folder", default="checkpoints/benchmark-tune", help="where the searches are kept")
    arguments = parser.parse_args()
    mlflow.set_experiment(EXPERIMENT)
    found: dict[str, list[tuple[Reached, pd.DataFrame]]] = {method: [] for method in METHODS}
    for seed in range(arguments.seeds):
        for method in METHODS:  # in turns, so that both meet the same machine
            trials = search_of(arguments, method, seed)
            found[method].append((reached(trials, arguments.value), trials))
    report(arguments, found)


def report(arguments: argparse.Namespace, found: dict[str, list[tuple[Reached, pd.DataFrame]]]) -> None:
    print(
        f"\nmean validation AUC {arguments.value} on phantoms, {arguments.trials} trials of {arguments.epochs} epochs"
    )
    print(
        f"{'':<26}{'seed':>6}{'trials':>10}{'epochs':>10}{'seconds':>10}{'pruned':>10}{'best':>8}{'all epochs':>12}"
    )
    for method, searches in found.items():
        for seed, (first, trials) in enumerate(searches):
            pruned = int((trials["state"] == "pruned").sum())
            best = trials.loc[trials["state"] == "complete", "value"].max()
            spent = (trials["ended"] - trials["started"]).sum()
            print(
                f"{method:<26}{seed:>6}{shown(first.trials, whole=len(trials)):>10}"
                f"{shown(first.epochs, whole=int(trials['steps'].sum())):>10}{shown(first.seconds, whole=spent):>10}"
                f"{pruned:>10}{best:>8.3f}{int(trials['steps'].sum()):>12}"
            )
    tpe, random = found.values()
    for what in ("trials", "epochs", "seconds"):
        ours, theirs = (median([getattr(first, what) for first, _ in searches]) for searches in (tpe, random))
        print(f"median {what}: {ours:.0f} against {theirs:.0f}, ratio {theirs / ours:.2f}")
    whole = [sum(int(trials["steps"].sum()) for _, trials in searches) for searches in (tpe, random)]
    print(f"epochs of all trials: {whole[0]} against {whole[1]}, ratio {whole[1] / whole[0]:.2f}")


if __name__ == "__main__":
    main()
