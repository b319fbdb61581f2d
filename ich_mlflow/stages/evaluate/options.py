"""What evaluate takes."""

from dataclasses import dataclass

from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.parameters import AUTO, Between, OneOf, check_fields, expect, parameter
from ich_mlflow.sources.registry import LABELLED, SOURCES
from ich_mlflow.sources.table_columns import parse_columns
from ich_mlflow.stages.common.names import MODEL_NAMES
from ich_mlflow.stages.common.options import (
    ANY_PATH,
    AUTO_OR_RULE,
    MODEL_TEXT,
    RESAMPLES,
    columns_parameter,
    expect_stored_set,
)

#: Headings of --help.
_FILES = "Where data holds the files of a source"
_REPORTED = "What is reported"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Score a model on patients it has not seen: metrics with intervals, figures, a report and a model card.

    The test split of the stored set that it was trained on, or of another one, or all patients of a source.
    """

    model: str = parameter(
        AUTO,
        f"{MODEL_TEXT}; auto: the first champion that there is of {', '.join(MODEL_NAMES)}",
    )
    baseline: str = parameter(
        AUTO,
        "another model to compare with, named as in model=; differences are reported with intervals; auto: "
        "none",
    )
    data: str = parameter(
        AUTO,
        "a stored set (its test split is read), or with source= the folder of the source's files (with "
        "source=table also the table itself); auto: the set that the model was trained on",
        reads=ANY_PATH,
    )
    source: str = parameter(
        AUTO,
        f"what data= holds: {', '.join(SOURCES)} (all its patients are evaluated on); auto: a stored set",
        OneOf(AUTO, *SOURCES),
        group=_FILES,
    )
    columns: str = columns_parameter(group=_FILES)
    out: str = parameter(
        AUTO,
        "with source=: folder of the stored set that is made; auto: a folder under data/",
        group=_FILES,
    )
    workers: int = parameter(
        0,
        "with source=: number of processes that read its files; 0: one for each core",
        Between(0),
        group=_FILES,
    )
    quarantine_limit: float = parameter(
        0.01,
        "with source=: share of the slices that may be unusable",
        Between(0, 1),
        group=_FILES,
    )
    operating_point: str = parameter(
        AUTO,
        f"rule for the thresholds that decisions go by: {', '.join(RULES)}; auto: the model's own",
        AUTO_OR_RULE,
    )
    resamples: int = parameter(
        2000,
        "number of resamples of the patients from which intervals are computed, 100 to 100000",
        RESAMPLES,
        group=_REPORTED,
    )
    heat_maps: int = parameter(
        12,
        "number of slices on which to show where the network looked, 0 to 16; 0: none",
        Between(0, 16),
        group=_REPORTED,
    )
    submission: bool = parameter(
        False,
        "true scores RSNA 2019's stage 2 test files in data= (source=rsna) and writes the CSV that Kaggle takes",
        group=_REPORTED,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        parse_columns(self.columns)
        labelled = self.source in (AUTO, *LABELLED)
        expect("source", self.source, labelled, "rsna with submission=true: it has no labels")
        with_data = self.source == AUTO or self.data != AUTO
        expect("data", self.data, with_data, f"the folder of the files with source={self.source}")
        makes_set = self.source != AUTO or self.out == AUTO
        expected = "auto without source=: figures and report go to the run, not to a folder"
        expect("out", self.out, makes_set, expected)
        scored = not self.submission or self.source == "rsna"
        expect("submission", self.submission, scored, "false without source=rsna")
        alone = not self.submission or self.baseline == AUTO
        expect("baseline", self.baseline, alone, "auto with submission=true")

    def expect_ready(self) -> None:
        """Raise where `data` is no stored set."""
        if self.source == AUTO:
            expect_stored_set(self.data)
