"""What abstaining promises and costs: by simulation, and with the demonstration model on CT-ICH, cross-fitted.

    python -m benchmarks.abstention
    python -m benchmarks.abstention --data data/ctich --elsewhere phe-sich=/data/phe-sich

By simulation: cohorts of validation exams are drawn, whose networks are good or bad, a rule is chosen on each, and the
share of new exams with a bleed that it calls clear is averaged over the cohorts: at most alpha was promised.

On CT-ICH each of the five networks that ship is asked of the patients that it has not learned from. The patients are
dealt into ten parts, and each is called by the rule that the other nine choose, one hundred times over. Then the
distance: how many exams are called unlike by the limit of the rest, as they are and after their slices were changed, so
that nobody would read them; and of further folders of exams (--elsewhere, PHE-SICH) by the limit of all.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.ladder import SCHEME, fold_set
from benchmarks.robustness import CHANGES, Change, blurred, noisy, shifted
from benchmarks.second_hospital import pictures
from ich_mlflow.dataset.split import VALIDATION
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.abstention import Called, called, choose_abstention, distances_of_exams
from ich_mlflow.evaluation.aggregate import to_exams
from ich_mlflow.evaluation.operating_point import choose_by_each_rule
from ich_mlflow.evaluation.proportion import clopper_pearson
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import with_any
from ich_mlflow.models.feature_distance import FeatureGaussian
from ich_mlflow.models.logits import mean_of_logits
from ich_mlflow.models.series import smoothed_each
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.weights import features_path, read_weights, shipped_path, specification_name
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.specification import columns
from ich_mlflow.stages.demonstrate.demonstrate import demonstration_model
from ich_mlflow.stages.demonstrate.models import BACKBONE, CT_ICH

PARTS, REPEATS = 10, 100
RULE = "sensitivity_90"


def simulated(*, cohorts: int = 10_000) -> None:
    """Print the mean share of new bleeding exams that are called clear, over cohorts."""
    print(
        "| network | validation patients with a bleed | alpha | called clear | k / (n + 1) | cohorts above alpha |"
    )
    print("|---|---|---|---|---|---|")
    draws = np.random.default_rng(0)
    for name, bleeds, clear in (("good", 3.0, -3.0), ("poor", 0.4, -0.4), ("worthless", 0.0, 0.0)):
        for count, alpha in ((22, 0.05), (60, 0.05), (300, 0.05), (300, 0.01)):
            missed = np.empty(cohorts)
            for cohort in range(cohorts):
                # What is drawn are log odds; exams without a bleed have no part in the limit.
                scores = np.concatenate([draws.normal(bleeds, 1.5, count), draws.normal(clear, 1.5, count)])
                has = np.repeat([True, False], count)
                rule = choose_abstention(has, scores, np.arange(2 * count), alpha=alpha)
                assert rule.clear_below is not None
                missed[cohort] = _below(rule.clear_below, bleeds)
            said = f"{missed.mean():.4f} ± {2 * missed.std() / np.sqrt(cohorts):.4f}"
            exact = np.floor(alpha * (count + 1)) / (count + 1)
            print(f"| {name} | {count} | {alpha} | {said} | {exact:.4f} | {np.mean(missed > alpha):.0%} |")


def _below(limit: float, mean: float) -> float:
    from scipy.stats import norm

    return float(norm.cdf((limit - mean) / 1.5))


class Networks:
    """The networks that ship, each with the Gaussian of its features."""

    def __init__(self, stored: StoredSet) -> None:
        self.stored, self.parts = stored, []
        for fold in range(5):
            name = f"{BACKBONE}-{CT_ICH}-{fold}"
            weights = read_weights(shipped_path(name))
            model = demonstration_model(weights, SCHEME.labels)
            rows = fold_set(stored, int(weights.about["left_out_fold"])).rows(VALIDATION)
            gaussian = FeatureGaussian.read(features_path(name))
            assert gaussian is not None
            self.parts.append(
                (model, network_of(model, stored.hu(np.arange(1))[..., None]).pooled, gaussian, rows)
            )

    def outputs(self) -> np.ndarray:
        """Of all slices [N, 5], by the network that left each out, averaged with the mirror image."""
        found = np.empty((len(self.stored.table), len(SCHEME.labels)), np.float32)
        for model, _, _, rows in self.parts:
            hu = self.stored.hu(rows)[..., None].astype(np.float32)
            views = [model.predict(one, batch_size=16, verbose=0) for one in (hu, hu[:, :, ::-1])]
            found[rows] = mean_of_logits(*views)
        return found

    def distances(self, change: Change) -> np.ndarray:
        """Of all slices [N], changed, by the network that left each out."""
        found = np.empty(len(self.stored.table), np.float32)
        rng = np.random.default_rng(0)
        for _, pooled, gaussian, rows in self.parts:
            found[rows] = _distance(pooled, gaussian, change(self.stored.hu(rows), rng))
        return found

    def distances_elsewhere(self, hu: np.ndarray) -> np.ndarray:
        """Of slices [N, 256, 256] that none has learned from: the mean of all five, as they are served."""
        return np.mean([_distance(pooled, gaussian, hu) for _, pooled, gaussian, _ in self.parts], axis=0)


def _distance(pooled, gaussian: FeatureGaussian, hu: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.concatenate(
        [gaussian.distance(pooled(hu[start : start + 32, ..., None])) for start in range(0, len(hu), 32)]
    )


def upside_down(hu: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return hu[:, ::-1]


#: What nobody would read, and the milder changes of benchmarks/robustness.py.
ODD: dict[str, Change] = {
    "as they are": lambda hu, _: hu,
    **CHANGES,
    "upside down": upside_down,
    "blur of 4 pixels": blurred(4.0),
    "noise of 40 HU": noisy(40.0),
    "+60 HU": shifted(60),
    "values of another scale (halved)": lambda hu, _: (hu // 2).astype(np.int16),
}


def on_ctich(stored: StoredSet, elsewhere: dict[str, str]) -> None:
    """Print what exams of CT-ICH are called, cross-fitted, and how many are unlike."""
    path = shipped_path(BACKBONE).with_name(specification_name(BACKBONE, 5, CT_ICH))
    specification, networks = Specification.read(path), Networks(stored)
    where = columns(stored, np.arange(len(stored.table)))
    targets = SCHEME.finding_targets(stored.subtypes)
    outputs = smoothed_each(
        networks.outputs(), where.position_mm, where.series, specification.series_smoothing
    )
    exams = to_exams(
        targets,
        with_any(outputs, SCHEME.labels),
        where.studies,
        where.patients,
        where.series,
        aggregation=specification.aggregation,
    )
    bleeds, scores = exams.targets[:, -1], exams.scores[:, -1]
    print(f"\nOf {len(bleeds)} exams, {bleeds.sum()} with a bleed, mean of {REPEATS} deals:")
    print("\n| alpha | flagged | uncertain | clear | bleeds called clear | bleeds among the clear |")
    print("|---|---|---|---|---|---|")
    for alpha in (0.05, 0.1, 0.2):
        each = [_dealt(bleeds, scores, exams.patients, alpha, seed) for seed in range(REPEATS)]
        flagged, uncertain, clear = (
            np.mean([getattr(one, name).sum() for one in each]) for name in ("flagged", "uncertain", "clear")
        )
        missed = np.mean([one.missed[0] for one in each])
        among = np.mean([one.among_clear[0] / max(1, one.among_clear[1]) for one in each])
        print(
            f"| {alpha} | {flagged:.1f} | {uncertain:.1f} | {clear:.1f} | {missed:.2f} of {bleeds.sum()} "
            f"({missed / bleeds.sum():.3f}) | {among:.3f} |"
        )
    print("\n| slices | exams called unlike | mean distance |\n|---|---|---|")
    plain = distances_of_exams(networks.distances(ODD["as they are"]), where.studies, where.series)
    for name, change in ODD.items():
        found = distances_of_exams(networks.distances(change), where.studies, where.series)
        _row(name, _unlike(plain, found, bleeds, scores, exams.patients), found)
    rule = choose_abstention(bleeds, scores, exams.patients, alpha=0.05, distances=plain)
    assert rule.far_from is not None
    for name, folder in elsewhere.items():
        table = pd.read_csv(Path(folder) / "labels.csv").sort_values(["patient", "slice"])
        distances = networks.distances_elsewhere(pictures(Path(folder), table))
        patients = table["patient"].to_numpy()
        found = distances_of_exams(distances, patients, patients)
        _row(name, found > rule.far_from, found)


def _row(name: str, unlike: np.ndarray, found: np.ndarray) -> None:
    interval = clopper_pearson(float(unlike.mean()), len(unlike))
    said = with_interval(unlike.mean(), interval.low, interval.high)
    print(f"| {name} | {unlike.sum()} of {len(unlike)}, {said} | {found.mean():.2f} |", flush=True)


def _parts(bleeds: np.ndarray, seed: int) -> np.ndarray:
    """Exams with a bleed are dealt first, so that each part has as many: 19 others are needed for 5 %."""
    order = np.random.default_rng(seed).permutation(len(bleeds))
    order = order[np.argsort(~bleeds[order], kind="stable")]
    part = np.empty(len(bleeds), int)
    part[order] = np.arange(len(bleeds)) % PARTS
    return part


def _dealt(bleeds: np.ndarray, scores: np.ndarray, patients: np.ndarray, alpha: float, seed: int) -> Called:
    """Each exam called by what the others chose, threshold and rule both."""
    part = _parts(bleeds, seed)
    flagged, uncertain = np.zeros((2, len(bleeds)), bool)
    for number in range(PARTS):
        held, others = part == number, part != number
        (point,) = choose_by_each_rule(
            bleeds[others, None], scores[others, None], patients[others], ("any",)
        )[RULE]
        rule = choose_abstention(bleeds[others], scores[others], patients[others], alpha=alpha)
        one = called(
            rule,
            bleeds=bleeds[held],
            scores=scores[held],
            flagged=scores[held] >= point.threshold,
            patients=patients[held],
        )
        flagged[held], uncertain[held] = one.flagged, one.uncertain
    return Called(
        flagged=flagged, uncertain=uncertain, unlike=np.zeros_like(flagged), bleeds=bleeds, patients=patients
    )


def _unlike(
    plain: np.ndarray, found: np.ndarray, bleeds: np.ndarray, scores: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    """Of each exam whether it is farther than the limit that the other parts choose, as they are."""
    part, unlike = _parts(bleeds, 0), np.zeros(len(plain), bool)
    for number in range(PARTS):
        held, others = part == number, part != number
        rule = choose_abstention(
            bleeds[others], scores[others], patients[others], alpha=0.05, distances=plain[others]
        )
        assert rule.far_from is not None
        unlike[held] = found[held] > rule.far_from
    return unlike


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="a stored set of CT-ICH")
    parser.add_argument(
        "--elsewhere", default="", help="further folders as PHE-SICH's, as name=path, by commas"
    )
    arguments = parser.parse_args()
    if arguments.data is None:
        simulated()
        return
    stored = StoredSet.open(Path(arguments.data))
    on_ctich(stored, dict(one.split("=", 1) for one in arguments.elsewhere.split(",") if one))


if __name__ == "__main__":
    main()
