"""What validation chose and a model version carries: calibrations and operating points. Needs no scikit-learn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ich_mlflow.evaluation.calibration import Calibration, calibrate
from ich_mlflow.evaluation.operating_point import (
    OperatingPoint,
    points_from_dict,
    points_to_dict,
    thresholds_by,
)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What was chosen for slices, or for exams, on the validation split.

    calibrations      one a label
    operating_points  for each of RULES one a label; thresholds are of calibrated probabilities
    """

    calibrations: tuple[Calibration, ...]
    operating_points: Mapping[str, tuple[OperatingPoint, ...]]

    def calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float64 [N, L] of the network's [N, L]."""
        return calibrate(probabilities, self.calibrations)

    def thresholds(self, rule: str) -> np.ndarray:
        """Thresholds float64 [L] by one of RULES. Raises ValueError for another."""
        return thresholds_by(self.operating_points, rule)

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
