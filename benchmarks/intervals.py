"""Resampling patients by weights against building each resample: the same metrics, seconds and ratio.

    python benchmarks/intervals.py

100,000 slices of 2,500 patients and 5 labels, on one core. Every metric of evaluate_slices is resampled either way.
2,000 resamples are taken by weights; ten are built, scored, and counted up to 2,000.
"""

import argparse
import time

import numpy as np

from ich_mlflow.evaluation.intervals import resample_patients
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.labels import SUBTYPES


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--built", type=int, default=10)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    num_patients = arguments.slices // 40
    patients = np.repeat(np.arange(num_patients), 40)
    targets = rng.random((len(patients), len(SUBTYPES))) < 0.05
    probabilities = np.clip(0.2 * targets + 0.8 * rng.random(targets.shape) ** 3, 0, 1)
    thresholds = np.full(len(SUBTYPES), 0.5)
    start = time.perf_counter()
    resample_patients(
        targets, probabilities, thresholds, patients, SUBTYPES, num_resamples=arguments.resamples
    )
    weighted = time.perf_counter() - start
    rows_of = np.split(np.arange(len(patients)), num_patients)
    start = time.perf_counter()
    for _ in range(arguments.built):
        rows = np.concatenate([rows_of[patient] for patient in rng.integers(0, num_patients, num_patients)])
        evaluate_slices(targets[rows], probabilities[rows], thresholds, SUBTYPES)
    built = (time.perf_counter() - start) * arguments.resamples / arguments.built
    print(f"by weights: {weighted:.1f} s for {arguments.resamples:,} resamples of {len(patients):,} slices")
    print(f"built one by one: {built:.0f} s (from {arguments.built}), {built / weighted:.1f} times as long")


if __name__ == "__main__":
    main()
