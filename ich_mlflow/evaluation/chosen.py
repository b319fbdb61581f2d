"""What validation chose and a model version carries: calibrations and operating points. Needs no scikit-learn."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.calibration import NONE, SHRUNK, Calibration, calibrate
from ich_mlflow.evaluation.operating_point import (
    FEW_PATIENTS,
    OperatingPoint,
    points_from_dict,
    points_to_dict,
    thresholds_by,
)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What was chosen for slices, or for exams, on the validation split.

    calibrations      one a finding
    operating_points  for each of RULES one a finding; thresholds are of calibrated probabilities
    """

    calibrations: tuple[Calibration, ...]
    operating_points: Mapping[str, tuple[OperatingPoint, ...]]

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [N, F] of what the network says, [N, F]."""
        return calibrate(scores, self.calibrations)

    def thresholds(self, rule: str) -> np.ndarray:
        """Thresholds float64 [F] by one of RULES. Raises ValueError for another."""
        return thresholds_by(self.operating_points, rule)

    def caveats(self, rule: str, *, unit: str) -> tuple[str, ...]:
        """What to know beside every number and decision by that rule, in lines; none where validation was enough.

        unit: slices or exams, for the words.
        """
        said = []
        for method, meaning in (
            (SHRUNK, "shrunk towards the prevalence of validation, which had too few positives or negatives"),
            (NONE, "not calibrated: they are the network's own"),
        ):
            labels = [one.label for one in self.calibrations if one.method == method]
            if labels:
                said.append(f"probabilities of {unit} ({', '.join(labels)}) are {meaning}")
        few = [_few(point) for point in self.operating_points[rule] if point.is_from_few]
        if few:
            said.append(
                f"decisions on {unit} go by thresholds from fewer than {FEW_PATIENTS} patients with or without "
                "the label: " + "; ".join(few)
            )
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "calibrations": [asdict(one) for one in self.calibrations],
            "operating_points": points_to_dict(self.operating_points),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Chosen":
        """The reverse of to_dict. Raises ValueError for a missing key or rule."""
        if set(values) != {"calibrations", "operating_points"}:
            raise ValueError(f"there are {', '.join(values)}, expected calibrations and operating_points")
        calibrations = tuple(
            Calibration(**{**one, "x": tuple(one["x"]), "y": tuple(one["y"])})
            for one in values["calibrations"]
        )
        points = points_from_dict(values["operating_points"])
        return cls(calibrations=calibrations, operating_points=points)


def _few(point: OperatingPoint) -> str:
    """`any 6 with, 8 without, sensitivity 0.83 (0.36 to 1.00)`."""
    counts = f"{point.label} {point.positive_patients} with, {point.negative_patients} without"
    if math.isnan(point.sensitivity):
        return f"{counts}, so the threshold is one half of what the network says"
    return (
        f"{counts}, sensitivity {point.sensitivity:.2f} ({point.sensitivity_low:.2f} to "
        f"{point.sensitivity_high:.2f})"
    )
