"""What tune takes."""

from dataclasses import dataclass

from ich_mlflow.dataset.set_paths import paths_of
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.models.slice_cnn.augmentation import SCALED
from ich_mlflow.parameters import (
    AUTO,
    Between,
    Either,
    Matching,
    OneOf,
    from_text,
    is_dimension,
    parameter,
    parse_dimension,
)
from ich_mlflow.stages.common.options import (
    ANY_PATH,
    CohortParameters,
    TrainingParameters,
    check_fold,
    check_hyperparameters,
    expect_stored_set,
    expect_unsaid,
)


@dataclass(frozen=True, kw_only=True)
class TuneOptions(CohortParameters, TrainingParameters):
    """Search for a better setting: trials on training and validation split, the best one as a recipe for train.

    A hyperparameter that is said is fixed; `a|b` or `low..high` instead of a value lets it vary. What is not said
    varies if docs/reference/parameters.md has a range for it, and is the recipe's otherwise. The same command goes on
    with a search that was stopped or killed.
    """

    data: str = parameter(
        AUTO,
        "a stored set made by preprocess, or several as a,b,c: all are trained on, the first is validated on; "
        "auto: a set of a phantom cohort made here",
        reads=ANY_PATH,
        reads_several=True,
    )
    trials: int = parameter(
        20,
        "number of settings to try; a higher number than before goes on with a finished search",
        Between(1, 100_000),
    )
    workers: int = parameter(
        1,
        "number of processes that try settings at the same time; they share cores and GPUs",
        Between(1, 256),
    )
    search: str = parameter(
        AUTO,
        "name of the search; auto: one made of the options that count",
        Matching(r"[A-Za-z0-9][\w.-]{0,80}", "letters, digits, dots, hyphens and underscores, 81 at most"),
    )
    storage: str = parameter(
        AUTO,
        "where trials are kept: a file, or for several machines postgresql://user@host:port/name (its password in "
        "~/.pgpass); auto: a file beside the checkpoints",
    )
    sampler: str = parameter("tpe", "how settings are drawn: tpe or random", OneOf("tpe", "random"))
    pruner: str = parameter(
        "median",
        "how a bad trial is stopped early: median, hyperband or none",
        OneOf("median", "hyperband", "none"),
    )
    augmentation: str = parameter(
        AUTO,
        f"with family=slice_cnn, range of a factor by which the recipe's {', '.join(SCALED)} are multiplied, as "
        "0..2",
        default_said="0..2, unless one of them is said",
    )
    trial_epochs: str = parameter(
        AUTO,
        "largest number of epochs of a trial; auto: that of training (epochs=)",
        Either((OneOf(AUTO), Matching(r"[1-9]\d{0,2}|1000", "1 to 1000"))),
    )
    train_best: bool = parameter(False, "true trains the best setting in full at the end, as train does")
    monitor: str = parameter(
        AUTO,
        f"metric that compares trials and that early stopping goes by: {OneOf(*MONITORS)}",
        default_said="val_auc",
    )
    resume: bool = parameter(True, "true goes on with the search of these options; false begins another")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data != AUTO:
            expect_unsaid(self, ("exams", "bleeds"))
        check_fold(self)
        check_hyperparameters(self, several=True)
        if self.augmentation != AUTO:
            factor = AUGMENTATION_FACTOR
            parse_dimension(factor, self.augmentation) if is_dimension(self.augmentation) else from_text(
                factor, self.augmentation
            )

    def expect_ready(self) -> None:
        """Raise where `data` is no stored set."""
        for path in paths_of(self.data):
            expect_stored_set(path)


@dataclass(frozen=True)
class _Factor:
    augmentation: float = parameter(1.0, "factor of the strengths of augmentation")


#: The one dimension of a search that is no hyperparameter, as a field.
AUGMENTATION_FACTOR = _Factor.__dataclass_fields__["augmentation"]
