"""What makes a network hold on heads that it has not seen: arms of training on CT-ICH, each against another, paired.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P out=data/ctich -P folds=5
    python -m benchmarks.generalisation --data data/ctich --arms plain,windows,size,input

All patients are dealt into five folds, as by benchmarks/ladder.py. For each arm, fold and seed a network is trained on
the other four and keeps its last epoch, so that the fold chooses nothing. Finished trainings are not run again, and one
that was killed goes on. Arms that show further stored sets need them: --beside phantoms=data/phantoms,drawn=data/drawn.
--setting image_size=112,epochs=8 makes every arm cheaper; keep its outputs in a folder of their own, by --out.

The table, averaged with the mirror image: slice any and macro, exam any, specificity of exams at the threshold that has
90 % sensitivity on the other folds, false alarms on slices of normal patients at 80 % sensitivity of slices.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from benchmarks.ladder import (
    OTHER_SCANNERS,
    SCHEME,
    SETTING,
    Ladder,
    Said,
    Step,
    cells,
    differences,
    fold_set,
)
from ich_mlflow.dataset.mixture import HomeSet
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.stages.train.options import TrainOptions

EXPERIMENT = "benchmark-generalisation"
WINDOWS, SIZE, ROTATION = "brain,subdural,bone", "160", "25"
#: Without the square around the head, which the ladder has.
INPUT: dict[str, Any] = {**SETTING, "framing": "image"}
PLAIN: dict[str, Any] = {
    **INPUT, "image_size": "128", "windows": "brain", "rotation_degrees": "10", "epochs": "8",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How networks are trained: setting; of each further set, by its name in --beside, its share of an epoch.

    against: the arm that it is compared with; '' of none.
    """

    setting: dict[str, Any]
    against: str = ""
    beside: dict[str, float] = field(default_factory=dict)


#: Plain fine-tuning, each part of the input alone, all of it; further sets; drawn bleeds and shams.
ARMS: dict[str, Arm] = {
    "plain": Arm(setting=PLAIN),
    "windows": Arm(setting={**PLAIN, "windows": WINDOWS}, against="plain"),
    "size": Arm(setting={**PLAIN, "image_size": SIZE}, against="plain"),
    "rotations": Arm(setting={**PLAIN, "rotation_degrees": ROTATION}, against="plain"),
    "input": Arm(setting=INPUT, against="plain"),
    "scanners": Arm(
        setting={name: value for name, value in INPUT.items() if name not in OTHER_SCANNERS},
        against="input",
    ),
    "head": Arm(setting=SETTING, against="input"),
    "phantoms": Arm(setting=INPUT, against="input", beside={"phantoms": 0.25}),
    "drawn": Arm(setting=INPUT, against="input", beside={"drawn": 0.33}),
    "drawn-without-sham": Arm(setting=INPUT, against="input", beside={"drawn-without-sham": 0.33}),
    "sham": Arm(setting=INPUT, against="input", beside={"sham": 0.33}),
    "lesion": Arm(setting={**INPUT, "lesion_weight": "1"}, against="drawn", beside={"drawn": 0.33}),
    "drawn-and-phantoms": Arm(setting=INPUT, against="input", beside={"drawn": 0.3, "phantoms": 0.2}),
}


def train_fold(arguments: argparse.Namespace, name: str, fold: int, seed: int) -> None:
    """Train one network, in this process; what it says of its fold goes into a file."""
    # Imported here: the parent process only starts others.
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.stages.train.train import train

    arm, stored = ARMS[name], fold_set(StoredSet.open(Path(arguments.data)), fold)
    paths = told(arguments.beside)
    shares = (1 - sum(arm.beside.values()), *arm.beside.values())
    beside = [StoredSet.open(Path(paths[each])) for each in arm.beside]
    said: dict[str, Any] = {"data": arguments.data}
    if beside:
        said = {
            "data": ",".join([arguments.data, *(str(one.path) for one in beside)]),
            "shares": ",".join(map(str, shares)),
        }
        stored = HomeSet(**vars(stored), beside=tuple(beside), shares=shares)
    folder = arguments.out / f"checkpoints-{name}-{seed}-{fold}"
    setting = {**arm.setting, **told(arguments.setting)}
    trained = train(
        TrainOptions(**said, seed=100 * seed + fold, checkpoints=str(folder), **setting), stored=stored
    )
    (member,) = load_classifier(trained.serving_uri).members
    rows = stored.rows(VALIDATION)
    hu = stored.hu(rows)
    outputs = np.stack([member.outputs(one) for one in (hu, hu[:, :, ::-1])])  # type: ignore[attr-defined]
    np.savez(_file(arguments, name, fold, seed), rows=rows, said=outputs, run_id=np.array(trained.run_id))


def told(pairs: str) -> dict[str, str]:
    """name=value, separated by commas, as a mapping."""
    return dict(one.split("=", 1) for one in pairs.split(",") if one)


def _file(arguments: argparse.Namespace, name: str, fold: int, seed: int) -> Path:
    path: Path = arguments.out / f"{name}-{seed}-{fold}.npz"
    return path


def said_by(arguments: argparse.Namespace, num_slices: int, name: str, seed: int) -> Said | None:
    """What the arm's five networks say of all slices; None where one is missing."""
    both = np.zeros((2, num_slices, len(SCHEME.labels)), np.float32)
    for fold in range(5):
        path = _file(arguments, name, fold, seed)
        if not path.exists():
            return None
        with np.load(path) as file:
            both[:, file["rows"]] = file["said"]
    return Said(straight=both[0], mirrored=both[1])


def false_alarms(step: Step) -> str:
    """As false_alarms_of, of what a step says."""
    return false_alarms_of(step.slices)


def false_alarms_of(said: Predictions) -> str:
    """Slices of patients without any bleed above the threshold that finds 80 % of the slices with one."""
    scores, targets, patients = said.ranked_by[:, -1], said.targets[:, -1].astype(bool), said.patients
    normal = ~np.isin(patients, np.unique(patients[targets]))
    threshold = np.sort(scores[targets])[int(0.2 * targets.sum())]
    return f"{int((scores[normal] >= threshold).sum())} of {int(normal.sum())}"


def report(arguments: argparse.Namespace) -> None:
    """Print the tables of what is there."""
    ladder = Ladder(StoredSet.open(Path(arguments.data)))
    steps: dict[tuple[str, int], Step] = {}
    head = "slice any | slice macro | exam any | sensitivity of exams | specificity of exams | false alarms"
    print(f"| arm | seed | {head} |\n|---|---|---|---|---|---|---|---|")
    for name in arguments.arms.split(","):
        for seed in range(arguments.seeds):
            said = said_by(arguments, len(ladder.fold), name, seed)
            if said is None:
                continue
            step = steps[name, seed] = ladder.series_aware(name, [said], smoothed=False)
            print(f"| {name} | {seed} | {' | '.join(cells(step))} | {false_alarms(step)} |")
    print("\n| difference | seed | slice any | slice macro | exam any |\n|---|---|---|---|---|")
    for (name, seed), step in steps.items():
        before = steps.get((ARMS[name].against, seed))
        if before is not None:
            print(f"| {name} - {before.name} | {seed} | {' | '.join(differences(before, step))} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set of CT-ICH")
    parser.add_argument("--beside", default="", help="further stored sets, as name=path, separated by commas")
    parser.add_argument("--arms", default=",".join(ARMS), help="separated by commas, in this order")
    parser.add_argument("--setting", default="", help="over that of every arm, as name=value by commas")
    parser.add_argument("--out", type=Path, default=Path("data/generalisation"), help="folder of the outputs")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--one", nargs=3, metavar=("ARM", "FOLD", "SEED"), help="only this network, here")
    parser.add_argument("--report", action="store_true", help="the tables alone, of what is there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    mlflow.set_experiment(EXPERIMENT)
    if arguments.one:
        name, fold, seed = arguments.one
        train_fold(arguments, name, int(fold), int(seed))
        return
    for seed in range(0 if arguments.report else arguments.seeds):
        for name in arguments.arms.split(","):
            for fold in range(5):
                if not _file(arguments, name, fold, seed).exists():
                    command = [sys.executable, "-m", "benchmarks.generalisation", *sys.argv[1:]]
                    subprocess.run(
                        [*command, "--one", name, str(fold), str(seed)], env=dict(os.environ), check=True
                    )
    report(arguments)


if __name__ == "__main__":
    main()
