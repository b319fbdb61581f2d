"""What promote takes."""

from dataclasses import dataclass

from ich_mlflow.labels import SCHEMES
from ich_mlflow.parameters import AUTO, Between, Matching, OneOf, check_fields, expect, parameter
from ich_mlflow.stages.common.names import MODEL_NAMES, num_classes_of
from ich_mlflow.stages.common.options import ANY_PATH, RESAMPLES, expect_stored_set

_MARGIN = Between(0, 1)
_LIMIT = Between(0, 1e9, without=(0, 1e9))
#: Headings of --help.
_GATES = "What the gates demand"
_RECORD = "The record of promotions"


@dataclass(frozen=True, kw_only=True)
class PromoteOptions:
    """Make a training run's model the champion of its registered name, if it passes every gate; or say why not.

    Both are scored on the same test split now. Refused, the exit code is 3, and the model is registered with the alias
    candidate. Every promotion, refusal and rollback is recorded: -P history=true lists them.
    """

    num_classes: str = parameter(
        AUTO,
        f"the class scheme: {OneOf(*SCHEMES)}; auto: the run's, else 5; with history=true all of them",
        OneOf(AUTO, *map(str, SCHEMES)),
    )
    model: str = parameter(
        AUTO,
        f"the registered name: {', '.join(MODEL_NAMES)}; auto: the run's own, else ich-5class; with history=true all",
        OneOf(AUTO, *MODEL_NAMES),
    )
    run: str = parameter(
        AUTO,
        "id of the training run; auto: the finished run with the best value of metric= that learned from the "
        "champion's source, or, where there is no champion, from what the registered name stands for",
    )
    metric: str = parameter(
        "val/auc/macro",
        "metric of the training runs by which run=auto chooses; the highest is best, but the lowest for losses, "
        "Brier scores and calibration errors",
        Matching(r"[\w/.-]+", "a metric's name"),
    )
    data: str = parameter(
        AUTO,
        "the stored set on whose test split candidate and champion are scored; auto: the one that the candidate "
        "was trained on",
        reads=ANY_PATH,
    )
    require: str = parameter(
        "better",
        "what the 95 % interval of the difference in mean AUC must show: better (all of it above 0), or "
        "not_worse (all of it above -margin)",
        OneOf("better", "not_worse"),
        group=_GATES,
    )
    margin: float = parameter(
        0.01,
        "with require=not_worse, by how much the mean AUC may be lower, 0 to 1",
        _MARGIN,
        group=_GATES,
    )
    label_margin: float = parameter(
        0.05,
        "by how much the AUC may be lower for a label, for any, for exams, or on the champion's own test set, 0 "
        "to 1",
        _MARGIN,
        group=_GATES,
    )
    calibration_margin: float = parameter(
        0.02, "by how much the Brier skill may be lower, 0 to 1", _MARGIN, group=_GATES
    )
    intercept_margin: float = parameter(
        0.5,
        "how far from 0 a calibration intercept may lie, in log odds, 0 to 10; 0.5: odds are off by a factor of 1.65",
        Between(0, 10),
        group=_GATES,
    )
    max_latency_ms: float = parameter(
        200.0,
        "longest time that one DICOM file may take on this machine, in milliseconds",
        _LIMIT,
        group=_GATES,
    )
    max_size_mb: float = parameter(200.0, "largest size of the model version, in MB", _LIMIT, group=_GATES)
    same_data: bool = parameter(
        True,
        "true demands that the candidate was trained on this set; that neither candidate nor champion, nor a "
        "model that their weights come from, can have learned from its test patients; and that the candidate has "
        "not learned from those of the champion's own set",
        group=_GATES,
    )
    smoke: bool = parameter(
        True,
        "true starts the scoring server on the new version and sends it a DICOM file",
        group=_GATES,
    )
    resamples: int = parameter(
        2000,
        "number of resamples of the patients from which intervals are computed, 100 to 100000",
        RESAMPLES,
        group=_GATES,
    )
    replace: bool = parameter(
        False,
        "true promotes even if gates that compare with the champion fail, for example after a change of "
        "source",
        group=_GATES,
    )
    reason: str = parameter(
        AUTO,
        "reason for the decision, in your own words, for the audit trail; auto: none",
        Matching(r"(?s).{0,2000}", "2000 characters at most"),
        group=_RECORD,
    )
    rollback: bool = parameter(
        False, "true makes the champion before this one the champion again", group=_RECORD
    )
    history: bool = parameter(
        False,
        "true lists every promotion, refusal and rollback, and does nothing else",
        group=_RECORD,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        alone = not (self.rollback and (self.history or self.run != AUTO))
        expect("rollback", self.rollback, alone, "false with run= or history=true")
        if self.model != AUTO and self.num_classes != AUTO:
            named = str(num_classes_of(self.model))
            expected = f"{named} with model={self.model}, or left out"
            expect("num_classes", self.num_classes, self.num_classes == named, expected)

    def expect_ready(self) -> None:
        """Raise where `data` is no stored set."""
        expect_stored_set(self.data)
