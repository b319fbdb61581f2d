"""False alarms of served models on patients without a bleed, by subtype: what changes of phantoms are judged by.

    mlflow run . -e preprocess -P source=ctich -P data=/data/ct-ich -P external=true -P out=data/ctich
    python benchmarks/phantom_false_alarms.py --data data/ctich --model runs:/<run id>/serving ich-5class-phantom/1

All slices of the stored set are scored, so the models must not have learned from its patients. The threshold is that at
which `sensitivity` of the slices with any bleed are flagged; a false alarm is counted for the subtype that the model
ranks highest on it, by how far it is above that subtype's median on slices of patients without a bleed.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY, SUBTYPES, with_any

SENSITIVITY = 0.8


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """slices, patients: without a bleed. alarms: by label, any first. auc: of any over all slices."""

    slices: int
    patients: int
    alarms: dict[str, int]
    auc: float


def false_alarms(
    outputs: np.ndarray,
    labels: tuple[str, ...],
    subtypes: np.ndarray,
    patients: np.ndarray,
    *,
    sensitivity: float,
) -> FalseAlarms:
    """Count them. outputs: probabilities [N, L] of `labels`. subtypes: 0 or 1 [N, 5].

    Raises DataError where the patients are not of both kinds.
    """
    bleeds = subtypes.any(axis=1)
    is_normal = ~np.isin(patients, patients[bleeds])
    if not bleeds.any() or not is_normal.any():
        raise DataError(
            f"{int(bleeds.sum())} slices bleed and {int(is_normal.sum())} are of patients without a bleed, expected "
            "some of both: take a set of both, with external=true"
        )
    of_any = with_any(outputs, labels)[:, -1]
    # The highest threshold that so many positive slices reach.
    threshold = np.sort(of_any[bleeds])[::-1][int(np.ceil(sensitivity * bleeds.sum())) - 1]
    flagged = is_normal & (of_any >= threshold)
    named = [name for name in SUBTYPES if name in labels]
    logits = _logit(outputs[:, [labels.index(name) for name in named]])
    above = logits - np.median(logits[is_normal], axis=0)
    leading = above.argmax(axis=1)
    alarms = {name: int((flagged & (leading == number)).sum()) for number, name in enumerate(named)}
    return FalseAlarms(
        slices=int(is_normal.sum()),
        patients=len(np.unique(patients[is_normal])),
        alarms={ANY: int(flagged.sum()), **alarms},
        auc=_auc(of_any, bleeds),
    )


def _logit(probabilities: np.ndarray) -> np.ndarray:
    kept = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(kept / (1 - kept))


def _auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Share of the pairs of a positive and a negative slice that are in order; a tie is half of one."""
    negatives = np.sort(scores[~positive])
    below = np.searchsorted(negatives, scores[positive], side="left")
    not_above = np.searchsorted(negatives, scores[positive], side="right")
    return float((below + not_above).mean() / 2 / len(negatives))


def main() -> None:
    from ich_mlflow.stages.common.scoring import load_model, score_rows

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="a stored set, of CT-ICH or another hospital's"
    )
    parser.add_argument("--model", nargs="+", required=True, help="served models, as evaluate takes them")
    parser.add_argument("--sensitivity", type=float, default=SENSITIVITY, help="of slices with any bleed")
    arguments = parser.parse_args()
    stored = StoredSet.open(arguments.data)
    rows = np.arange(len(stored.table))
    patients = stored.table["patient_id"].to_numpy()
    print(f"| model | AUC of any | {' | '.join((ANY, *SUBTYPES))} |\n|---|---|{'---|' * (len(SUBTYPES) + 1)}")
    for name in arguments.model:
        classifier = load_model(name).classifier
        outputs = score_rows(classifier, stored, rows).slices
        found = false_alarms(
            outputs,
            classifier.specification.labels,
            stored.subtypes,
            patients,
            sensitivity=arguments.sensitivity,
        )
        counts = " | ".join(str(found.alarms.get(label, "-")) for label in (ANY, *SUBTYPES))
        print(f"| {name} | {found.auc:.3f} | {counts} |", flush=True)
    print(
        f"\nfalse alarms on {found.slices} slices of {found.patients} patients without a bleed, at "
        f"{100 * arguments.sensitivity:g} % sensitivity of slices"
    )


if __name__ == "__main__":
    main()
