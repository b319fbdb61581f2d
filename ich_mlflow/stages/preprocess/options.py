"""What preprocess takes."""

from dataclasses import dataclass

from ich_mlflow.parameters import AUTO, OneOf, expect, parameter
from ich_mlflow.sources.registry import PHANTOM, SOURCES, UNLABELLED
from ich_mlflow.stages.common.options import ANY_PATH, StoredSetParameters


@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(StoredSetParameters):
    """Turn labelled slices of any source into the stored data set: int16 HU at 256x256, split by patient."""

    source: str = parameter(
        PHANTOM, f"where slices and labels come from: {', '.join(SOURCES)}", OneOf(*SOURCES)
    )
    data: str = parameter(
        AUTO,
        "folder of the source's files, or a URL (s3://, gs://, abfs://, hdfs://); auto: for phantom a cohort made "
        "once under data/, else an error",
        reads=ANY_PATH,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        labelled = self.source not in UNLABELLED
        expect(
            "external",
            self.external,
            self.external or labelled,
            f"true with source={self.source} (no labels)",
        )
