"""What recalibrate takes."""

from dataclasses import dataclass

from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.parameters import AUTO, Between, Matching, check_fields, expect, parameter
from ich_mlflow.stages.common.options import ANY_PATH, AUTO_OR_RULE, RESAMPLES, expect_stored_set

_VERSION = Matching(
    r"auto|(models:/)?[\w-]+(@[\w.-]+|/\d+)",
    "a registered version: ich-5class@champion, ich-5class/3 or models:/<name>/<version>",
)


@dataclass(frozen=True, kw_only=True)
class RecalibrateOptions:
    """Choose a version's calibration and operating points anew on local exams: a new version, the networks unchanged.

    What local labels are too few to tell stays near what the version has. Before and after are compared on patients
    who had no part in it.
    """

    model: str = parameter(AUTO, f"{_VERSION}; auto: the champion", _VERSION)
    data: str = parameter(
        AUTO,
        "a stored set of local exams, with labels of exams or of slices, that the model has not learned from",
        reads=ANY_PATH,
    )
    test_split: bool = parameter(
        True, "true: all patients of the set are used; false: its test split is left for promote and evaluate"
    )
    min_patients: int = parameter(
        10,
        "least number of positive and of negative patients, 5 to 10000: with fewer for any bleed, recalibration "
        "is refused; another label with fewer stays as it is",
        Between(5, 10_000),
    )
    operating_point: str = parameter(
        AUTO,
        f"rule for the thresholds that the new version decides by: {', '.join(RULES)}; auto: that of the "
        "present version",
        AUTO_OR_RULE,
    )
    resamples: int = parameter(
        2000,
        "number of resamples of the patients from which intervals are computed, 100 to 100000",
        RESAMPLES,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def expect_ready(self) -> None:
        """Raise where no local exams were named, or `data` is no stored set."""
        expect("data", self.data, self.data != AUTO, "a stored set of local exams, which preprocess makes")
        expect_stored_set(self.data)
