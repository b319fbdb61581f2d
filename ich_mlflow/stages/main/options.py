"""What main takes."""

from dataclasses import dataclass

from ich_mlflow.parameters import parameter
from ich_mlflow.stages.common.options import (
    TrainingParameters,
    TrainingSetParameters,
    check_fold,
    check_hyperparameters,
)


@dataclass(frozen=True, kw_only=True)
class MainOptions(TrainingSetParameters, TrainingParameters):
    """Run preprocess, train, evaluate and promote as child runs of one parent."""

    resume: bool = parameter(False, "true goes on with the unfinished training that has these options")

    def __post_init__(self) -> None:
        TrainingSetParameters.__post_init__(self)
        TrainingParameters.__post_init__(self)
        check_fold(self)
        check_hyperparameters(self)
