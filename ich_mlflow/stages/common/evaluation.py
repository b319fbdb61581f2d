"""What an evaluation found: passed on to its figures and its report."""

from dataclasses import dataclass

import pandas as pd

from ich_mlflow.evaluation.assess import Assessment
from ich_mlflow.evaluation.counts import EXAMS, SLICES
from ich_mlflow.evaluation.logged import headline
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.stages.common.scoring import Scored
from ich_mlflow.tracking.looks import Look


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """The pointing game on masks: tolerance in pixels of 256; table with label, slices, hits, rate, its interval (low,
    high) over so many patients, chance."""

    table: pd.DataFrame
    map_size: int
    tolerance: int


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Everything about one model on one test split. slices is None where labels are of whole studies.

    ancestry: what the model has learned from. not_known: names of what it, or the baseline, comes from of which it is
    not known. look: which look at the test split it is. differences: model minus baseline by unit (slices, exams),
    empty without a baseline. two_parts: detection and subtype apart; None without an output of its own for any, or
    without slices. blood: Dice and millilitres of the lesion map (evaluation/blood.py); None without map or masks.
    """

    run_id: str
    model_uri: str
    trained_run: str
    baseline_uri: str | None
    rule: str
    num_resamples: int
    ancestry: Ancestry
    not_known: tuple[str, ...]
    look: Look
    scored: Scored
    slices: Assessment | None
    exams: Assessment
    subgroups: pd.DataFrame
    differences: dict[str, pd.DataFrame]
    pointing: Pointing | None
    two_parts: pd.DataFrame | None
    blood: pd.DataFrame | None = None

    @property
    def unseen_checked(self) -> bool:
        """Whether it is known that no test patient was learned from."""
        return not self.not_known

    def as_metrics(self) -> dict[str, float]:
        """The figures that decide, under the short names that the evaluate run has."""
        return headline(self.slices, self.exams)


def caveats_of(evaluated: Evaluated) -> list[str]:
    """What to know beside every number and decision of the model, of slices and of exams."""
    specification = evaluated.scored.specification
    slices = () if evaluated.slices is None else specification.slices.caveats(evaluated.rule, unit=SLICES)
    return [*slices, *specification.exams.caveats(evaluated.rule, unit=EXAMS)]
