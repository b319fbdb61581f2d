"""What augmentation costs: slices a second of one core, as the recipe reference has it and with other scanners.

    python -m benchmarks.augmentation

Of CPU time, so that what else runs on the machine matters less; medians over batches of 16 slices.
"""

import time
from typing import Any

import cv2
import numpy as np

from ich_mlflow.models.slice_cnn.augmentation import AUGMENTATIONS, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.hyperparameters import RECIPES, Hyperparameters

BATCH, ROUNDS = 16, 20


def slices_per_second(strengths: dict[str, Any]) -> float:
    """Slices a second of one core with those strengths beside the defaults."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, size=(BATCH, 256, 256, 1)).astype(np.int16)
    draws, setting, seconds = rng.random((BATCH, num_draws())), Hyperparameters(**strengths), []
    for _ in range(ROUNDS):
        start = time.process_time()
        augment_slices(hu, draws, setting)
        seconds.append(time.process_time() - start)
    return BATCH / float(np.median(seconds))


def main() -> None:
    cv2.setNumThreads(1)
    scanners = {
        name: getattr(RECIPES["small-cohort"], name) for name, one in AUGMENTATIONS.items() if one.alter
    }
    settings = {
        "warp alone": {},
        **{name: {name: value} for name, value in scanners.items()},
        "all": scanners,
    }
    print("| | slices/s |\n|---|---|")
    for name, strengths in settings.items():
        print(f"| {name} | {slices_per_second(strengths):,.0f} |")


if __name__ == "__main__":
    main()
