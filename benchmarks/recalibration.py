"""What recalibration on 40 patients of CT-ICH gives the other 10, and how far its prior should let it move.

    ich-mlflow preprocess --source ctich --data /data/ct-ich --out data/ctich
    ich-mlflow demonstrate --learned_from phantom
    python benchmarks/recalibration.py --data data/ctich

Two models: the demonstration model of phantoms, to which CT-ICH is another hospital in every way, and that of CT-ICH,
each of whose five networks is asked of the fold that it left out. The second one's own calibration and thresholds were
chosen on those very outputs, so that its figures before flatter. Then, by simulation: exams of one patient each, whose
true log odds are intercept + slope * what is said, slope lognormal around 1; the squared error of the probabilities
after recalibration, by prior.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.real_demonstration import of_shipped
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.evaluation.recalibration import fit_line
from ich_mlflow.models.logits import sigmoid
from ich_mlflow.models.series import smoothed_each
from ich_mlflow.models.weights import shipped_path, specification_name
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.stages.common.scoring import ReadRows, load_model, score_rows
from ich_mlflow.stages.demonstrate.models import BACKBONE, CT_ICH
from ich_mlflow.stages.recalibrate.judged import judged
from ich_mlflow.stages.recalibrate.local import LocalExams, local_exams, units_of
from ich_mlflow.stages.recalibrate.words import terminal_table

#: 40 patients recalibrate, 10 are scored.
NUM_FOLDS = 5
#: Standard deviations of intercept and slope; nearly 0 is no recalibration, 20 no prior.
PRIORS = ((1e-3, 1e-3), (1.0, 0.5), (2.0, 0.5), (4.0, 0.5), (2.0, 1.0), (20.0, 20.0))


def before_and_after(
    local: LocalExams, specification: Specification, read: ReadRows, *, num_resamples: int
) -> str:
    """The table of any bleed, by the rule that the version decides by."""
    labels = local.with_enough(10)
    found = {
        unit.name: judged(
            unit,
            local.labels,
            recalibrated=labels,
            rule=specification.decides_by,
            num_resamples=num_resamples,
        )
        for unit in units_of(local, specification, read, num_folds=NUM_FOLDS)
    }
    return terminal_table(found)


def out_of_fold(stored: StoredSet, local: LocalExams) -> tuple[Specification, ReadRows]:
    """What the demonstration model of CT-ICH chose, and what its networks say of patients that they have not seen."""
    path = shipped_path(BACKBONE).with_name(specification_name(BACKBONE, 5, CT_ICH))
    specification = Specification.read(path)
    where = local.where
    said = smoothed_each(of_shipped(stored), where.position_mm, where.series, specification.series_smoothing)
    return specification, ReadRows(said, None)


def simulated(*, num_trials: int) -> pd.DataFrame:
    """Squared error of probabilities times 10,000: a row an intercept and number of patients, a column a prior."""
    rows = []
    for intercept in (0.0, -1.0, -2.0, -4.0):
        for num_patients in (30, 50, 100, 300):
            errors = np.array([_errors(intercept, num_patients, seed) for seed in range(num_trials)])
            rows.append([intercept, num_patients, *(1e4 * np.nanmean(errors, axis=0)).round(0).astype(int)])
    columns = [f"{intercept:g}, {slope:g}" for intercept, slope in PRIORS]
    return pd.DataFrame(rows, columns=["intercept", "patients", *columns])


def _errors(intercept: float, num_patients: int, seed: int) -> np.ndarray:
    """Of each prior; NaN where there are fewer than 5 patients of a kind."""
    rng = np.random.default_rng([num_patients, seed])
    slope = np.exp(rng.normal(0, 0.4))
    said = rng.normal(-0.5, 2, num_patients)
    targets = rng.random(num_patients) < sigmoid(intercept + slope * said)
    others = rng.normal(-0.5, 2, 4000)
    if not 5 <= targets.sum() <= num_patients - 5:
        return np.full(len(PRIORS), np.nan)
    found = []
    for prior_intercept, prior_slope in PRIORS:
        line = fit_line(
            targets,
            sigmoid(said),
            num_patients=num_patients,
            prior_intercept=prior_intercept,
            prior_slope=prior_slope,
        )
        after, truth = (
            sigmoid(line.intercept + line.slope * others),
            sigmoid(intercept + slope * others),
        )
        found.append(np.mean((after - truth) ** 2))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a stored set of CT-ICH")
    parser.add_argument("--model", default="ich-5class-phantom-demo/1", help="that has not seen CT-ICH")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=200, help="of the simulation")
    arguments = parser.parse_args()
    stored = StoredSet.open(arguments.data)
    model = load_model(arguments.model)
    local = local_exams(stored, model.specification, test_split=True)
    read = score_rows(model.classifier, stored, local.rows)
    print(f"{model.short}, decided by {model.specification.decides_by}")
    print(before_and_after(local, model.specification, read, num_resamples=arguments.resamples))
    specification, read = out_of_fold(stored, local)
    local = local_exams(stored, specification, test_split=True)
    print(f"demonstration model of CT-ICH, out of fold, decided by {specification.decides_by}")
    print(before_and_after(local, specification, read, num_resamples=arguments.resamples))
    print("squared error of probabilities x 10,000 by prior (intercept, slope)")
    print(simulated(num_trials=arguments.trials).to_string(index=False))


if __name__ == "__main__":
    main()
