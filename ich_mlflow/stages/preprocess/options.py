"""What preprocess takes."""

from dataclasses import dataclass

from ich_mlflow.labels import SUBTYPES
from ich_mlflow.parameters import (
    AUTO,
    Between,
    Matching,
    OneOf,
    OnlyWith,
    expect,
    parameter,
    parameters_of,
    text_of,
)
from ich_mlflow.sources.registry import DRAWN, PHANTOM, SOURCES, UNLABELLED
from ich_mlflow.stages.common.options import ANY_PATH, StoredSetParameters

#: Subtypes that are drawn where nothing else is said. One stays among them only as long as it gains.
DRAWN_BY_DEFAULT = SUBTYPES
_ONE = "|".join(SUBTYPES)
_SOME_SUBTYPES = Matching(f"({_ONE})(,({_ONE}))*", f"some of {', '.join(SUBTYPES)}, with commas between")
_WITH_DRAWN = OnlyWith("source", OneOf(DRAWN), DRAWN)
#: Of a set that is all trained on nothing is held out.
_OF_THE_SPLIT = ("validation_fraction", "test_fraction", "folds", "external")


@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(StoredSetParameters):
    """Turn labelled slices of any source into the stored data set: int16 HU at 256x256, split by patient."""

    source: str = parameter(
        PHANTOM, f"where slices and labels come from: {', '.join(SOURCES)}", OneOf(*SOURCES)
    )
    data: str = parameter(
        AUTO,
        "folder of the source's files, or a URL (s3://, gs://, abfs://, hdfs://); auto: for phantom a cohort made "
        "once under data/, else an error; with source=table the table or its folder, with source=drawn a stored set of "
        "real heads",
        reads=ANY_PATH,
    )
    synthesis: str = parameter(
        ",".join(DRAWN_BY_DEFAULT),
        "with source=drawn, the subtypes that are drawn",
        _SOME_SUBTYPES,
        only_with=_WITH_DRAWN,
    )
    copies: int = parameter(
        2,
        "with source=drawn, number of variants made of each bleed-free series",
        Between(1, 1000),
        only_with=_WITH_DRAWN,
    )
    sham_share: float = parameter(
        0.5,
        "with source=drawn, share of the variants that get sham edits instead of blood",
        Between(0, 1),
        only_with=_WITH_DRAWN,
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
        for name in _OF_THE_SPLIT if self.source == DRAWN else ():
            value, default = getattr(self, name), parameters_of(self)[name].default
            expect(
                name,
                value,
                value == default,
                f"{text_of(default)} with source={DRAWN}: all of it is trained on",
            )

    @property
    def drawn_subtypes(self) -> tuple[str, ...]:
        """The subtypes of `synthesis`, each once, in SUBTYPES' order."""
        return tuple(name for name in SUBTYPES if name in self.synthesis.split(","))
