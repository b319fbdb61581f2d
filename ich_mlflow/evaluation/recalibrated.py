"""The loss of a network as it is served: with each label's probabilities calibrated first."""

import numpy as np

from ich_mlflow.evaluation.calibration import SHRUNK, calibrate
from ich_mlflow.evaluation.calibration_fit import fit_calibrations
from ich_mlflow.evaluation.log_loss import cross_entropy


def recalibrated_loss(targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> float:
    """Cross-entropy in nats, mean over slices and labels, after each label's logits are scaled and shifted for it.

    targets, probabilities: [N, L]. Scale and shift are fitted on the same slices, which must not be paid for: with the
    prior of `shrunk` a label of few positives gets little more than its prevalence. So a network whose classes were
    balanced or weighted is judged by what it tells apart and not by its prior, and one that says a constant gets the
    entropy of the prevalence, whichever constant it is. Raises ValueError for arrays that evaluate_slices would refuse.
    Source: Berta et al., 2025, arXiv:2501.19195 (stopping by what recalibration can't mend).
    """
    calibrations = fit_calibrations(targets, probabilities, labels, method=SHRUNK)
    return float(
        cross_entropy(np.asarray(targets).astype(bool), calibrate(probabilities, calibrations)).mean()
    )
