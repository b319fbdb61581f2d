"""What compare takes."""

from dataclasses import dataclass

from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.parameters import AUTO, check_fields, expect, parameter
from ich_mlflow.stages.common.options import ANY_PATH, AUTO_OR_RULE, RESAMPLES, SLICE_MODEL, expect_stored_set

#: More would be a search, which goes by validation; and a page that nobody reads.
MAX_MODELS = 10
_SEVERAL = f"2 to {MAX_MODELS} models, separated by commas"


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Compare several models on one test split: a table, a picture and a page, with paired intervals.

    All are scored on the same patients, which none of them may have learned from.
    """

    models: str = parameter(
        AUTO,
        f"{_SEVERAL}: ich-5class@champion, ich-5class/3, models:/<name>/<version>, runs:/<run id>/serving or a train "
        "run's id",
    )
    baseline: str = parameter(
        AUTO,
        "the model that the others are compared with, one of models= or one more; auto: the first",
    )
    data: str = parameter(
        AUTO,
        "a stored set (its test split is read); auto: the set that the first of the models was trained on",
        reads=ANY_PATH,
    )
    operating_point: str = parameter(
        AUTO,
        f"rule for the thresholds that decisions go by: {', '.join(RULES)}; auto: each model's own",
        AUTO_OR_RULE,
    )
    resamples: int = parameter(
        2000,
        "number of resamples of the patients from which intervals are computed, 100 to 100000",
        RESAMPLES,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.models == AUTO:  # not said: expect_ready refuses it
            return
        for name in self.names:
            expect("models", name, SLICE_MODEL.allows(name), f"{_SEVERAL}, each {SLICE_MODEL}")
        if self.baseline != AUTO:
            expect("baseline", self.baseline, SLICE_MODEL.allows(self.baseline), str(SLICE_MODEL))
        once = len(set(self.names)) == len(self.names)
        expect("models", self.models, once, f"{_SEVERAL}, each of them once")
        count = len({*self.names, *({self.baseline} - {AUTO})})
        expect("models", self.models, 2 <= count <= MAX_MODELS, _SEVERAL)

    @property
    def names(self) -> tuple[str, ...]:
        """What was named, in its order."""
        return tuple(name.strip() for name in self.models.split(","))

    def expect_ready(self) -> None:
        """Raise where no models were named, or `data` is no stored set."""
        expect("models", self.models, self.models != AUTO, _SEVERAL)
        expect_stored_set(self.data)
