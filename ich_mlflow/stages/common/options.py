"""Groups of parameters that several stages take. A stage composes those that it needs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.evaluation.calibration import METHODS
from ich_mlflow.evaluation.operating_point import MAX_F1, RULES
from ich_mlflow.models.slice_cnn.hyperparameters import HYPERPARAMETERS, RECIPES, resolve
from ich_mlflow.parameters import (
    AUTO,
    Between,
    Either,
    Matching,
    OneOf,
    Parameter,
    check_fields,
    check_value,
    declared,
    expect,
    from_text,
    is_dimension,
    parameter,
    parameters_of,
    text_of,
)
from ich_mlflow.sources.registry import PHANTOM, TRAINABLE

#: Seeds of the cohorts that pretraining sees, so that no phantom of another command is one of them; the shipped
#: weights' own seed.
PRETRAINING_SEEDS = range(4_000_000_000, 2**32)
PRETRAINING_SEED = 4_000_000_007
ENGINES = ("local", "spark")
#: What names a stored set, a source's files, or anything else that is read.
ANY_PATH = r"(?s)(?!auto$).+"
MODEL_TEXT = "ich-5class@champion, models:/<name>/<version> or runs:/<run id>/serving"

WEIGHTS_FILE = Matching(r"(?s).+\.(keras|h5|npz)", "a .keras, .weights.h5 or .npz file")
SEED = Between(0, 2**32 - 1)
SHARE = Between(0, 1, without=(0, 1))
AUTO_OR_RULE = OneOf(AUTO, *RULES)
RESAMPLES = Between(100, 100_000)
_RUN_ID = r"[0-9a-f]{32}"
_RECIPE = Either(
    (
        OneOf(AUTO, *RECIPES),
        Matching(rf".+\.json|{_RUN_ID}", "a recipe's .json file, or the id of a tune or train run"),
    )
)


@dataclass(frozen=True, kw_only=True)
class CohortParameters:
    """The phantom cohort that is made where source is phantom and no data folder is named."""

    exams: int = parameter(
        60, "phantom exams to make where source=phantom and data=auto", Between(3, 100_000)
    )
    bleeds: float = parameter(
        0.3,
        "share of phantom exams that show each subtype; 0 for prevalences like those of RSNA 2019",
        Between(0, 1),
    )
    seed: int = parameter(0, "of the split, of the phantom cohort, and of what is trained", SEED)


@dataclass(frozen=True, kw_only=True)
class StoredSetParameters(CohortParameters):
    """How a source's files become a stored set."""

    quirks: bool = parameter(
        False,
        "true plants every quirk of RSNA's files and some unusable ones in the phantom cohort, to see what preprocess "
        "does",
    )
    out: str = parameter(
        AUTO, "folder of the stored set; auto: a folder under data/ named after source and options"
    )
    validation_fraction: float = parameter(0.15, "share of the patients that validate", SHARE)
    test_fraction: float = parameter(0.15, "share of the patients that test", SHARE)
    folds: int = parameter(
        0,
        "folds of the patients outside test, for cross-validation (train -P fold=); 0: none",
        Either((OneOf(0), Between(2, 100))),
    )
    external: bool = parameter(
        False, "true puts every patient into the test split: data to evaluate a model on, none to train on"
    )
    compress: bool = parameter(False, "true stores a third of the size, losslessly, and reads more slowly")
    quarantine_limit: float = parameter(
        0.01, "share of the slices that may be unusable before the run fails", Between(0, 1)
    )
    strict: bool = parameter(False, "true refuses the first file that can't be used")
    engine: str = parameter(
        "local", "local: processes of this machine; spark: executors of a cluster", OneOf(*ENGINES)
    )
    spark_master: str = parameter("local[*]", "with engine=spark: the master's URL, as spark://host:7077")
    workers: int = parameter(0, "processes of the local engine; 0: one a core", Between(0))

    def __post_init__(self) -> None:
        check_fields(self)
        held_out = self.validation_fraction + self.test_fraction
        expect("test_fraction", self.test_fraction, held_out < 1, "less than 1 with validation_fraction")
        expect("folds", self.folds, not self.external or self.folds == 0, "0 with external=true")

    def expect_ready(self) -> None:
        """Raise OptionError where the data can't be had as the options stand: seen before anything begins."""
        source, data = getattr(self, "source", AUTO), getattr(self, "data", AUTO)
        if data != AUTO:
            return
        if source not in (AUTO, PHANTOM):
            raise OptionError(
                f"source={source} needs the folder of its files: pass -P data=<folder> (only the phantom source makes "
                "its own)"
            )
        if self.seed in PRETRAINING_SEEDS:
            raise OptionError(
                f"seed is {self.seed}: seeds from {PRETRAINING_SEEDS.start} up are those of phantoms that pretraining "
                "sees; pass -P seed= with a lower one"
            )

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of the patients in train, validation and test; they sum to 1."""
        held_out = self.validation_fraction + self.test_fraction
        return (1 - held_out, self.validation_fraction, self.test_fraction)


@dataclass(frozen=True, kw_only=True)
class TrainingSetParameters(StoredSetParameters):
    """What is trained on: a stored set, or a source that becomes one first."""

    source: str = parameter(
        AUTO,
        f"{', '.join(TRAINABLE)}; auto: phantom where data is auto too, else data is a stored set",
        OneOf(AUTO, *TRAINABLE, of=" (those with a label a slice)"),
    )
    data: str = parameter(
        AUTO,
        "a stored set made by preprocess, or with source= the folder of the source's files",
        reads=ANY_PATH,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(
            "external",
            self.external,
            not self.external,
            "false: all of external data is in the test split, and nothing is left to train on (evaluate takes it)",
        )
        if self.source == AUTO and self.data != AUTO:
            expect_unsaid(self, parameters_of(StoredSetParameters).keys() - {"seed", "workers"})

    def expect_ready(self) -> None:
        """As StoredSetParameters, and for data that are no stored set."""
        super().expect_ready()
        if self.source == AUTO:
            expect_stored_set(self.data)


#: A hyperparameter as it is typed: its value, or for a search several; auto: the recipe's.
_Hyperparameters: Any = make_dataclass(
    "_Hyperparameters",
    [
        (
            name,
            str,
            field(
                default=AUTO,
                metadata={
                    "parameter": Parameter(
                        text=declared(one).text,
                        default_said=f"the recipe's, {text_of(one.default)} in reference",
                        formerly=declared(one).formerly,
                    )
                },
            ),
        )
        for name, one in HYPERPARAMETERS.items()
    ],
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(_Hyperparameters):
    """How is trained, and every hyperparameter as text."""

    fold: str = parameter(
        AUTO,
        "number of the fold that validates, of a set with folds; auto: the set's own split",
        Either((OneOf(AUTO), Matching(r"\d{1,3}", "a fold's number, 0 or more"))),
    )
    recipe: str = parameter(
        AUTO,
        f"{', '.join(RECIPES)} (reference: the three models' common setting, free to vary), a recipe's .json file, or "
        "the id of a tune or train run; auto: demo on the phantom cohort made here, else reference",
        _RECIPE,
        reads=r"(?s).+\.json",
    )
    weights: str = parameter(
        AUTO,
        "initial weights of the backbone: imagenet, phantom (come with the package), random, or a .keras, .weights.h5 "
        "or .npz file; auto: imagenet where it can be had, else phantom",
        Either((OneOf(AUTO, "imagenet", "phantom", "random"), WEIGHTS_FILE)),
        reads=r"(?s).+\.(keras|h5|npz)",
    )
    epidural_only: str = parameter(
        "drop",
        "with 4 classes, training slices whose only bleed is epidural: drop, or keep as negatives",
        OneOf("drop", "keep"),
    )
    missing_labels: str = parameter(
        "refuse",
        "where no patient of the validation split has a label: refuse, or allow (it is not estimable there)",
        OneOf("refuse", "allow"),
    )
    checkpoints: str = parameter(
        "checkpoints", "folder of the unfinished trainings' checkpoints, one an epoch"
    )
    precision: str = parameter(
        "float32",
        "what a GPU computes in: float32, mixed_float16 or mixed_bfloat16; weights stay float32",
        OneOf("float32", "mixed_float16", "mixed_bfloat16"),
    )
    jit: bool = parameter(False, "true compiles the training step by XLA")
    deterministic: bool = parameter(
        False, "true: the same seed on the same machine ends in the same bits; slower"
    )
    calibration: str = parameter(
        AUTO,
        f"of probabilities on the validation split: {OneOf(*METHODS)}; auto: as much as its slices allow",
        OneOf(AUTO, *METHODS),
    )
    operating_point: str = parameter(
        MAX_F1,
        f"what the model decides by, chosen on validation: {', '.join(RULES)} (it carries all of them)",
        OneOf(*RULES),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        both = self.jit and self.deterministic
        expect("jit", self.jit, not both, "false with deterministic=true: XLA promises no equal bits")


def expect_unsaid(options: Any, names: Iterable[str]) -> None:
    """Raise OptionError where one of those parameters, which make a stored set, was said beside one that is made."""
    for name, one in parameters_of(options).items():
        if name in names:
            unsaid = getattr(options, name) == one.default
            expect(
                name,
                getattr(options, name),
                unsaid,
                f"{text_of(one.default)} beside a stored set (data={options.data})",
            )


def expect_stored_set(data: str) -> None:
    """Raise an IchError where `data`, which may be auto or a URL, is a file, or a folder of other things."""
    from ich_mlflow.stages.common.stored_sets import no_stored_set

    if data == AUTO or "://" in data:
        return
    expect("data", data, not Path(data).is_file(), "the folder of a stored set, not a file")
    if Path(data).is_dir() and (why := no_stored_set(Path(data))):
        raise DataError(why)


def check_fold(options: Any) -> None:
    """Raise OptionError for a fold of a set that is made here without it. What a stored set has is seen when opened."""
    is_stored = options.data != AUTO and getattr(options, "source", AUTO) == AUTO
    folds = getattr(options, "folds", 0)
    if options.fold != AUTO and not is_stored:
        has = f"has {folds} folds, counted from 0" if folds else "has no folds"
        expect("fold", options.fold, int(options.fold) < folds, f"auto: the set that is made here {has}")


def hyperparameters_said(options: Any) -> dict[str, str]:
    """The hyperparameters that were said, as text by name."""
    said = {name: getattr(options, name) for name in HYPERPARAMETERS}
    return {name: text for name, text in said.items() if text != AUTO}


def check_hyperparameters(options: Any, *, several: bool = False) -> None:
    """Raise OptionError for a hyperparameter that is none, or that contradicts a recipe of the project's.

    Of a recipe of the user's own each value is checked alone: what it holds is read later. several: whether a range or
    alternatives may stand for a value, as in a search.
    """
    for name, text in hyperparameters_said(options).items():
        expect(
            name, text, several or not is_dimension(text), "one value (a range and alternatives are for tune)"
        )
    values = {
        name: from_text(HYPERPARAMETERS[name], text)
        for name, text in hyperparameters_said(options).items()
        if not is_dimension(text)
    }
    for name, value in values.items():
        check_value(HYPERPARAMETERS[name], value)
    recipe = recipe_name(options)
    if recipe in RECIPES and len(values) == len(hyperparameters_said(options)):
        resolve(recipe, values)


def recipe_name(options: Any) -> str:
    """The recipe that was said; else `demo` for the phantom cohort made here, and `reference` for other data."""
    if options.recipe != AUTO:
        return str(options.recipe)
    own_data = options.data != AUTO or getattr(options, "source", AUTO) not in (AUTO, PHANTOM)
    return "reference" if own_data else "demo"


def is_own_recipe(text: str) -> bool:
    """Whether the text names a recipe's file, or a run by its id."""
    return text.endswith(".json") or bool(re.fullmatch(_RUN_ID, text))
