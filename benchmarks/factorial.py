"""Which parts of a training make it hold on heads that it has not seen: a fractional factorial on CT-ICH.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P out=data/ctich -P folds=5
    mlflow run . -e preprocess -P source=drawn -P data=data/ctich -P out=data/drawn -P copies=3
    mlflow run . -e preprocess -P source=phantom -P exams=160 -P phantom_edition=2 -P out=data/phantoms2
    python -m benchmarks.factorial --data data/ctich --drawn data/drawn --phantoms data/phantoms2

Two trainings of the same setting differ by .025 to .045 by chance, so that one arm against another needs many seeds to
say anything. Here eight settings switch seven parts on and off so that each part is on in four and off in the other
four, and off and on are even in every other part: the difference of the two means is that part's effect, told by eight
trainings and not by two. In the first eight a part's effect is mixed up with that of pairs of other parts (resolution
III), above all the lesion head's with drawn bleeds and phantoms being on together. The second eight, --half 1, turn all
parts around, which keeps parts apart from pairs; but for the lesion head, which needs masks and can't be on where
nothing brings them. Effects are therefore fitted, all parts at once, by least squares.

All patients are dealt into five folds, as by benchmarks/ladder.py; the last epoch is kept, so that a fold chooses
nothing. An epoch shows as many slices in every setting. What the networks say is kept in --out, one file a setting and
fold; finished trainings are not run again. --report prints the tables of what is there, from files alone.
"""

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from benchmarks.generalisation import false_alarms
from benchmarks.ladder import OTHER_SCANNERS, SCHEME, SETTING, Ladder, Said, Step, cells, fold_set
from ich_mlflow.dataset.mixture import HomeSet
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.models.slice_cnn.hyperparameters import RECIPES
from ich_mlflow.stages.train.options import TrainOptions

EXPERIMENT = "benchmark-factorial"
NUM_FOLDS = 5
#: Of the patients, for the intervals.
RESAMPLES = 1000
#: Two trainings of one setting differ by .025 to .045 in the AUC of slices: the middle, over the root of two.
TRAINING_NOISE = 0.035 / np.sqrt(2)
#: A figure of how often each patient is drawn.
Figure = Callable[[Mapping[str, int]], float]
#: Of all settings: small and few, for two cores.
COMMON: dict[str, Any] = {**SETTING, "image_size": "96", "epochs": "6", "mirror": True}
#: The parts that are switched, as told on top of what is off: windows, rotations, other scanners, framing, lesion head.
OFF: dict[str, str] = {"windows": "brain", "rotation_degrees": "10", "framing": "image"}
ON: dict[str, dict[str, str]] = {
    "windows": {"windows": "brain,subdural,bone"},
    "rotations": {"rotation_degrees": "25"},
    "scanners": {name: str(getattr(RECIPES["small-cohort"], name)) for name in OTHER_SCANNERS},
    "head": {"framing": "head"},
    "lesion": {"lesion_weight": "1"},
}
#: Sets beside the real patients, with their share of an epoch.
SHARES = {"drawn": 0.3, "phantoms": 0.25}
PARTS = ("drawn", "phantoms", "windows", "lesion", "rotations", "scanners", "head")


@dataclass(frozen=True)
class Setting:
    """One training of the design: its name, and which of PARTS are on."""

    name: str
    on: Mapping[str, bool]


def design(half: int = 0) -> list[Setting]:
    """Eight settings: a 2^(7-4) design of resolution III. Half 1 turns every part but `lesion` around.

    `lesion` is off where neither drawn bleeds nor phantoms bring masks: in half 0 it is on where exactly one of them
    does, in half 1 where both do. The generators are lesion = -drawn*phantoms, rotations = drawn*windows,
    scanners = phantoms*windows, head = drawn*phantoms*windows.
    """
    found = []
    for number, (a, b, c) in enumerate(itertools.product((-1, 1), repeat=3)):
        signs: tuple[int, ...] = (a, b, c, -a * b, a * c, b * c, a * b * c)
        if half:
            signs = tuple(-sign for sign in signs)
            # Turned around, the head would be on where nothing has a mask; there it can do nothing.
            has_masks = signs[0] > 0 or signs[1] > 0
            signs = (*signs[:3], signs[3] if has_masks else -1, *signs[4:])
        found.append(
            Setting(f"{half}{number}", {part: sign > 0 for part, sign in zip(PARTS, signs, strict=True)})
        )
    return found


def options_of(setting: Setting, arguments: argparse.Namespace, fold: int) -> tuple[TrainOptions, StoredSet]:
    """The options of one training, and its stored set with the fold as validation."""
    stored = fold_set(StoredSet.open(Path(arguments.data)), fold)
    told = {**COMMON, **OFF}
    for part, values in ON.items():
        if setting.on[part]:
            told |= values
    said: dict[str, Any] = {"data": arguments.data}
    names = [name for name in SHARES if setting.on[name]]
    if names:
        shares = (1 - sum(SHARES[name] for name in names), *(SHARES[name] for name in names))
        beside = tuple(StoredSet.open(Path(getattr(arguments, name))) for name in names)
        stored = HomeSet(**vars(stored), beside=beside, shares=shares)
        said = {
            "data": ",".join([arguments.data, *(str(one.path) for one in beside)]),
            "shares": ",".join(map(str, shares)),
        }
    folder = arguments.out / f"checkpoints-{setting.name}-{fold}"
    seed = 100 * int(setting.name) + fold
    return TrainOptions(**said, seed=seed, checkpoints=str(folder), **told), stored


def train_fold(setting: Setting, arguments: argparse.Namespace, fold: int) -> None:
    """Train one network, in this process; what it says of its fold, averaged with the mirror image, goes into a file.

    Nothing is packed for serving: that takes as long as two epochs.
    """
    # Imported here: the parent process only starts others.
    from ich_mlflow.models.registry import family_of
    from ich_mlflow.stages.common.initial_weights import models_pinned
    from ich_mlflow.stages.common.recipes import chosen_hyperparameters
    from ich_mlflow.stages.common.training_job import Job
    from ich_mlflow.stages.common.unfinished import begin, to_resume
    from ich_mlflow.tracking.run import start_run

    options, stored = options_of(setting, arguments, fold)
    recipe, hyperparameters = chosen_hyperparameters(options)
    options = models_pinned(options, family_of(hyperparameters))
    with ExitStack() as locks:
        before = to_resume(options, locks)
        with start_run("train", resume=before.run_id if before else None) as run:
            unfinished = before or begin(options, run.run_id, locks)
            fitted = Job(run, options, recipe, hyperparameters, unfinished).fit(stored)
        np.savez_compressed(
            outputs_file(arguments, setting, fold),
            rows=stored.rows(VALIDATION).astype(np.int32),
            said=fitted.outputs.slices.astype(np.float32),
        )
        unfinished.remove()


def outputs_file(arguments: argparse.Namespace, setting: Setting, fold: int) -> Path:
    path: Path = arguments.out / f"{setting.name}-{fold}.npz"
    return path


def trainings(arguments: argparse.Namespace) -> Iterator[tuple[Setting, int]]:
    """The settings and folds that are not there yet."""
    for setting in design(arguments.half):
        for fold in range(NUM_FOLDS):
            if not outputs_file(arguments, setting, fold).exists():
                yield setting, fold


def train_all(arguments: argparse.Namespace) -> None:
    """Train in so many processes at a time, each held to one core: two by two are faster than one on two."""
    cores = sorted(os.sched_getaffinity(0))
    free = list(cores[: arguments.workers])

    def one(job: tuple[Setting, int]) -> None:
        setting, fold = job
        core = free.pop()
        command = [
            sys.executable,
            "-m",
            "benchmarks.factorial",
            *sys.argv[1:],
            "--one",
            setting.name,
            str(fold),
        ]
        log = arguments.out / f"{setting.name}-{fold}.log"
        try:
            with log.open("w") as file:
                subprocess.run(
                    command, check=True, stdout=file, stderr=subprocess.STDOUT,
                    preexec_fn=lambda: os.sched_setaffinity(0, {core}),
                )  # fmt: skip
            print(f"setting {setting.name}, fold {fold}: done", flush=True)
        finally:
            free.append(core)

    with ThreadPoolExecutor(len(free)) as pool:
        list(pool.map(one, trainings(arguments)))


def said_by(arguments: argparse.Namespace, num_slices: int, setting: Setting) -> np.ndarray | None:
    """What the setting's five networks say of all slices [N, 5]; None where one is missing."""
    outputs = np.zeros((num_slices, len(SCHEME.labels)), np.float32)
    for fold in range(NUM_FOLDS):
        path = outputs_file(arguments, setting, fold)
        if not path.exists():
            return None
        with np.load(path) as file:
            outputs[file["rows"]] = file["said"]
    return outputs


def figures_of(step: Step) -> dict[str, Figure]:
    """The figures of one setting, each as a function of how often each patient is drawn."""
    slices, exams = step.slices, step.exams
    normal = ~exams.targets[:, -1]
    return {
        "slice any": partial(_auc, slices.targets[:, -1], slices.ranked_by[:, -1], slices.patients),
        "exam any": partial(_auc, exams.targets[:, -1], exams.ranked_by[:, -1], exams.patients),
        "specificity of exams": lambda draws: float(
            np.average(~step.flagged[normal], weights=_weights(draws, exams.patients[normal]))
        ),
    }


def _weights(draws: Mapping[str, int], patients: np.ndarray) -> np.ndarray:
    return np.array([draws.get(one, 0) for one in patients])


def _auc(targets: np.ndarray, scores: np.ndarray, patients: np.ndarray, draws: Mapping[str, int]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(targets, scores, sample_weight=_weights(draws, patients)))


def report(arguments: argparse.Namespace) -> None:
    """Print the settings' figures, and of each part the mean difference that it makes."""
    ladder = Ladder(StoredSet.open(Path(arguments.data)))
    settings = [one for half in (0, 1) for one in design(half)]
    steps: list[tuple[Setting, Step]] = []
    outputs = []
    for setting in settings:
        said = said_by(arguments, len(ladder.fold), setting)
        if said is not None:
            outputs.append(said)
            both = Said(straight=said, mirrored=said)
            steps.append((setting, ladder.series_aware(setting.name, [both], smoothed=False)))
    head = "slice any | slice macro | exam any | sensitivity of exams | specificity of exams | false alarms"
    print(f"| setting | on | {head} |\n|---|---|---|---|---|---|---|---|")
    for setting, step in steps:
        on = ", ".join(part for part in PARTS if setting.on[part]) or "none"
        print(f"| {setting.name} | {on} | {' | '.join(cells(step))} | {false_alarms(step)} |")
    if len(outputs) > 1:
        together = [Said(straight=one, mirrored=one) for one in outputs]
        step = ladder.series_aware("mean", together, smoothed=False)
        print(f"| mean of {len(outputs)} | | {' | '.join(cells(step))} | {false_alarms(step)} |")
    _print_effects(steps)


def _print_effects(steps: Sequence[tuple[Setting, Step]]) -> None:
    if not steps:
        print("\nno setting is there yet: train first, without --report")
        return
    names = ("slice any", "exam any", "specificity of exams")
    print(f"\n| part | on | off | {' | '.join(names)} |\n|---|---|---|---|---|---|")
    figures = [(setting, figures_of(step)) for setting, step in steps]
    patients = np.unique(steps[0][1].exams.patients)
    rng = np.random.default_rng(0)
    resamples = [dict.fromkeys(patients, 1)]
    for _ in range(RESAMPLES):
        drawn, counts = np.unique(rng.choice(patients, len(patients)), return_counts=True)
        resamples.append(dict(zip(drawn, counts.tolist(), strict=True)))
    values = np.array(
        [[[of[name](draws) for name in names] for _, of in figures] for draws in resamples]
    )  # [1 + RESAMPLES, settings, figures]
    for (setting, _), row in zip(figures, values[0], strict=True):
        print(f"| setting {setting.name} | | | {' | '.join(f'{one:.4f}' for one in row)} |")
    signs = np.array([[1.0, *(float(setting.on[part]) for part in PARTS)] for setting, _ in figures])
    if np.linalg.matrix_rank(signs) < signs.shape[1]:
        print(f"\n{len(steps)} settings are there: the parts can't be told apart before eight are")
        return
    fitted = np.linalg.pinv(signs) @ values  # [1 + RESAMPLES, 1 + parts, figures]
    for number, part in enumerate(PARTS, start=1):
        on = signs[:, number] > 0
        effects = fitted[:, number]
        low, high = np.quantile(effects[1:], (0.025, 0.975), axis=0)
        said = [
            f"{mean:+.3f} ({one:+.3f} to {other:+.3f})"
            for mean, one, other in zip(effects[0], low, high, strict=True)
        ]
        print(f"| {part} | {on.sum()} | {(~on).sum()} | {' | '.join(said)} |")
    spread = values[0].std(axis=0, ddof=1)
    print(f"| deviation of the settings | | | {' | '.join(f'{one:.3f}' for one in spread)} |")
    print(
        f"\nIntervals of 95 % are over patients, with the trainings as they are. Beside that, a training's chance of "
        f"{TRAINING_NOISE:.3f} (slices) makes an effect of eight settings uncertain by "
        f"{1.96 * TRAINING_NOISE * np.sqrt(4 / len(steps)):.3f}. They are not corrected for how many there are."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="a stored set of CT-ICH")
    parser.add_argument("--drawn", default="", help="a stored set of bleeds drawn into it")
    parser.add_argument("--phantoms", default="", help="a stored set of phantoms")
    parser.add_argument("--out", type=Path, default=Path("data/factorial"), help="folder of the outputs")
    parser.add_argument("--half", type=int, default=0, choices=(0, 1), help="the first eight, or the second")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, one core each")
    parser.add_argument("--one", nargs=2, metavar=("SETTING", "FOLD"), help="only this network, here")
    parser.add_argument("--report", action="store_true", help="the tables alone, of what is there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.report:
        report(arguments)
        return
    mlflow.set_experiment(EXPERIMENT)
    if arguments.one:
        name, fold = arguments.one
        (setting,) = [one for one in design(int(name[0])) if one.name == name]
        train_fold(setting, arguments, int(fold))
        return
    train_all(arguments)
    report(arguments)


if __name__ == "__main__":
    main()
