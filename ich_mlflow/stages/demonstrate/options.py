"""What demonstrate takes."""

from dataclasses import dataclass

from ich_mlflow.labels import SCHEMES
from ich_mlflow.parameters import AUTO, OneOf, check_fields, expect, parameter
from ich_mlflow.stages.demonstrate.models import DEMONSTRATIONS, demonstration_of


@dataclass(frozen=True, kw_only=True)
class DemonstrateOptions:
    """Register a small model that comes with the package, to try serving and predicting at once. Not for patients.

    Nothing is trained, and no data is needed.
    """

    num_classes: int = parameter(5, f"the class scheme: {OneOf(*SCHEMES)}", OneOf(*SCHEMES))
    learned_from: str = parameter(
        AUTO,
        "what the model has learned from: "
        + "; ".join(f"{name} ({one.learned_from})" for name, one in DEMONSTRATIONS.items())
        + "; auto: the first that comes with those classes",
        OneOf(AUTO, *DEMONSTRATIONS),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        comes = self.num_classes in DEMONSTRATIONS[self.name].num_classes
        expect("learned_from", self.learned_from, comes, f"phantom with num_classes={self.num_classes}")

    @property
    def name(self) -> str:
        """Of the demonstration."""
        return demonstration_of(self.num_classes) if self.learned_from == AUTO else self.learned_from
