"""What an evaluation found: passed on to its figures and its report."""

from dataclasses import dataclass

import pandas as pd

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.stages.common.results import EXAM_PREFIX, PREFIX
from ich_mlflow.stages.common.scoring import Scored


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """The pointing game on phantoms: table with label, slices, hits, rate, chance; tolerance in pixels of 256."""

    table: pd.DataFrame
    map_size: int
    tolerance: int


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Everything about one model on one test split. slices is None where labels are of whole studies.

    differences: model minus baseline by unit (slices, exams), empty without a baseline.
    """

    run_id: str
    model_uri: str
    trained_run: str
    baseline_uri: str | None
    rule: str
    num_resamples: int
    unseen_checked: bool
    scored: Scored
    slices: Assessment | None
    exams: Assessment
    subgroups: pd.DataFrame
    differences: dict[str, pd.DataFrame]
    pointing: Pointing | None

    def as_metrics(self) -> dict[str, float]:
        """The metrics of slices as `test/…` and of exams as `test/exam/…`, as the evaluate run has them."""
        slices = {} if self.slices is None else self.slices.as_metrics(PREFIX)
        return {**slices, **self.exams.as_metrics(EXAM_PREFIX)}
