"""What demonstrate takes."""

from dataclasses import dataclass

from ich_mlflow.labels import SCHEMES
from ich_mlflow.parameters import OneOf, check_fields, parameter


@dataclass(frozen=True, kw_only=True)
class DemonstrateOptions:
    """Register a small model that was trained on phantoms, to try serving and predicting at once. Not for patients.

    Its weights come with the package: nothing is trained, and no data is needed.
    """

    num_classes: int = parameter(5, f"the class scheme: {OneOf(*SCHEMES)}", OneOf(*SCHEMES))

    def __post_init__(self) -> None:
        check_fields(self)
