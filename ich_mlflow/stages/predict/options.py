"""What predict takes."""

from dataclasses import dataclass

from ich_mlflow.evaluation.operating_point import RULES
from ich_mlflow.parameters import AUTO, Between, OneOf, check_fields, parameter
from ich_mlflow.stages.common.names import MODEL_NAMES
from ich_mlflow.stages.common.options import ANY_PATH, AUTO_OR_RULE, ENGINES, MODEL_TEXT

#: Headings of --help.
_SCORED = "What is scored, and how it is decided"
_WRITTEN = "What is written"
_RUNS = "Where it runs"


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Score your own DICOM files: a study, a folder of all sorts of files, or a zip. Research only.

    Finds the non-contrast head CT among the series, scores slices and exams, and writes a worklist, tables, a page with
    heat maps, and DICOM (reports, captures, segmentations) into a folder. Nothing leaves that folder; the MLflow
    run holds counts and times alone. The same command goes on with a prediction that was stopped or killed.
    """

    input: str = parameter(
        AUTO,
        "a DICOM file, a folder or a zip; auto: four phantom studies with other series among them, made once",
        reads=ANY_PATH,
    )
    follow_links: bool = parameter(
        False,
        "true follows links that lead out of the input folder; false leaves their files out",
        group=_SCORED,
    )
    model: str = parameter(
        AUTO,
        f"{MODEL_TEXT}; auto: the first champion that there is of {', '.join(MODEL_NAMES)}",
    )
    out: str = parameter(
        AUTO, "folder of the results; auto: one under predictions/, named after input and options"
    )
    series: str = parameter(
        "one",
        "series to score of each study: one (the best non-contrast head CT), or all (every non-contrast head CT, "
        "other reconstructions included)",
        OneOf("one", "all"),
        group=_SCORED,
    )
    operating_point: str = parameter(
        AUTO,
        f"rule for the thresholds that decisions go by: {', '.join(RULES)}; auto: the model's own",
        AUTO_OR_RULE,
        group=_SCORED,
    )
    abstain: bool = parameter(
        True,
        "true: studies are called uncertain where the model version can tell, and a note says where it can't; "
        "false: no study is uncertain",
        group=_SCORED,
    )
    pictures: int = parameter(
        4,
        "slices to show of each flagged study, as they are and with a heat map, 0 to 24; 0: none",
        Between(0, 24),
        group=_WRITTEN,
    )
    dicom: bool = parameter(True, "false writes no DICOM files", group=_WRITTEN)
    monitor: str = parameter(
        AUTO,
        "folder for the logs that the stage monitor reads, which hold what was seen of each study without "
        "identity; auto: none",
        group=_WRITTEN,
    )
    engine: str = parameter(
        "local",
        "local: processes of this machine; spark: executors of a cluster",
        OneOf(*ENGINES),
        group=_RUNS,
    )
    spark_master: str = parameter(
        "local[*]", "with engine=spark: the master's URL, as spark://host:7077", group=_RUNS
    )
    workers: int = parameter(
        0, "number of processes of the local engine; 0: one for each core", Between(0), group=_RUNS
    )

    def __post_init__(self) -> None:
        check_fields(self)
