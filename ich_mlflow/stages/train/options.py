"""What train takes."""

from dataclasses import dataclass

from ich_mlflow.parameters import parameter
from ich_mlflow.stages.common.options import (
    TrainingParameters,
    TrainingSetParameters,
    check_fold,
    check_hyperparameters,
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingSetParameters, TrainingParameters):
    """Train a classifier and log it with its metrics, figures and serving model.

    Without data it trains the recipe `demo` on a phantom cohort in minutes on two cores.
    """

    resume: bool = parameter(
        False, "true goes on with the unfinished training that has these options, in its own MLflow run"
    )

    def __post_init__(self) -> None:
        TrainingSetParameters.__post_init__(self)
        TrainingParameters.__post_init__(self)
        check_fold(self)
        check_hyperparameters(self)
