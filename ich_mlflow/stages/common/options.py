"""Groups of parameters that several stages take. A stage composes those that it needs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ich_mlflow.dataset.set_paths import paths_of
from ich_mlflow.errors import DataError, OptionError
from ich_mlflow.evaluation.abstention import DEFAULT_ALPHA
from ich_mlflow.evaluation.calibration import METHODS
from ich_mlflow.evaluation.operating_point import MAX_F1, RULES
from ich_mlflow.models.recipes import RECIPES, hyperparameters_of, resolve
from ich_mlflow.models.registry import FAMILIES
from ich_mlflow.models.series import SMOOTHINGS
from ich_mlflow.parameters import (
    AUTO,
    Between,
    Either,
    Matching,
    OneOf,
    OnlyWith,
    check_fields,
    check_value,
    expect,
    from_text,
    is_dimension,
    parameter,
    parameters_of,
    parse_dimension,
    text_of,
)
from ich_mlflow.sources.registry import OWN_TABLE, PHANTOM, TRAINABLE, open_source
from ich_mlflow.sources.table_columns import EXAMPLE, parse_columns
from ich_mlflow.stages.common.families import (
    RUN_ID,
    HyperparameterFlags,
    family_said,
    hyperparameters_said,
    recipe_name,
)

#: Seeds of the cohorts that pretraining sees, so that no phantom of another command is one of them; the shipped
#: weights' own seed.
PRETRAINING_SEEDS = range(4_000_000_000, 2**32)
PRETRAINING_SEED = 4_000_000_007
ENGINES = ("local", "spark")
#: What names a stored set, a source's files, or anything else that is read.
ANY_PATH = r"(?s)(?!auto$).+"
_SHARES = r"\s*(\d+\.?\d*|\.\d+)(\s*,\s*(\d+\.?\d*|\.\d+))*\s*"
MODEL_TEXT = "ich-5class@champion, models:/<name>/<version> or runs:/<run id>/serving"

WEIGHTS_FILE = Matching(r"(?s).+\.(keras|h5|npz)", "a .keras, .weights.h5 or .npz file")
WEIGHTS_MODEL = Matching(
    rf"(models|runs):/\S+|[\w-]+(@[\w.-]+|/\d+)|{RUN_ID}",
    "a model: ich-5class@champion, models:/<name>/<version>, runs:/<run id>/keras or a train run's id",
)
SLICE_MODEL = Matching(
    WEIGHTS_MODEL.pattern,
    "a model: ich-5class@champion, models:/<name>/<version>, runs:/<run id>/serving or a train run's id",
)
#: What of weights is a file here, which can be looked for at once.
WEIGHTS_PATH = r"(?s)(?!(models|runs):/).+\.(keras|h5|npz)"
SEED = Between(0, 2**32 - 1)
SHARE = Between(0, 1, without=(1,))
#: Of the patients that validate and that test; a cohort of phantoms is small, and intervals of few patients are wide.
_HELD_OUT, _HELD_OUT_OF_PHANTOMS = (0.15, 0.15), (0.2, 0.35)
#: With folds=: a network for each fold; of a set without folds, of so many.
ALL, USUAL_FOLDS = "all", 5
AUTO_OR_RULE = OneOf(AUTO, *RULES)
RESAMPLES = Between(100, 100_000)
_RECIPE = Either(
    (
        OneOf(AUTO, *RECIPES),
        Matching(rf".+\.json|{RUN_ID}", "a recipe's .json file, or the id of a tune or train run"),
    )
)


def _auto_recipes() -> str:
    """What recipe=auto means, a family at a time."""
    first, *others = FAMILIES.values()
    made = f"{first.demo_recipe} on the phantom cohort made here, else " if first.demo_recipe else ""
    return "; ".join([f"{made}{first.recipe}", *(f"{one.recipe} with family={one.name}" for one in others)])


def columns_parameter(group: str = "") -> Any:
    """The parameter `columns` of a stage that takes source=table. group: its heading in --help."""
    return parameter(
        AUTO,
        f"with source={OWN_TABLE}, what the table's columns are called, as {EXAMPLE}; auto: they are recognised "
        "by their usual names and spellings",
        Either((OneOf(AUTO), Matching(r"(?s).+=.+", f"name=column with commas between, as {EXAMPLE}"))),
        only_with=OnlyWith("source", OneOf(OWN_TABLE), OWN_TABLE),
        group=group,
    )


@dataclass(frozen=True, kw_only=True)
class CohortParameters:
    """The phantom cohort that is made where source is phantom and no data folder is named."""

    exams: int = parameter(
        120, "phantom exams to make where source=phantom and data=auto", Between(3, 100_000)
    )
    bleeds: float = parameter(
        0.2,
        "share of phantom exams that show each subtype; 0 for prevalences like those of RSNA 2019",
        Between(0, 1),
    )
    seed: int = parameter(0, "random seed of the split, the phantom cohort and the training", SEED)


@dataclass(frozen=True, kw_only=True)
class StoredSetParameters(CohortParameters):
    """How a source's files become a stored set."""

    quirks: bool = parameter(
        False,
        "true plants every quirk of RSNA's files and some unusable ones in the phantom cohort, to see what preprocess "
        "does",
    )
    phantom_edition: int = parameter(
        1,
        "edition of the phantoms: 1 as in release 0.1, 2 nearer to real head CT (slices averaged through their "
        "thickness, young full brains, turned heads, faint and mixed blood, calcium, fractures)",
        OneOf(1, 2),
    )
    out: str = parameter(
        AUTO, "folder of the stored set; auto: a folder under data/ named after source and options"
    )
    columns: str = columns_parameter()
    validation_fraction: float = parameter(
        0.0,
        f"share of the patients in the validation split; 0: {_HELD_OUT[0]:g}, or {_HELD_OUT_OF_PHANTOMS[0]:g} for "
        "a phantom cohort that is made here",
        SHARE,
    )
    test_fraction: float = parameter(
        0.0,
        f"share of the patients in the test split; 0: {_HELD_OUT[1]:g}, or {_HELD_OUT_OF_PHANTOMS[1]:g} for a "
        "phantom cohort that is made here",
        SHARE,
    )
    folds: int = parameter(
        0,
        "number of folds of the patients outside the test split, for cross-validation (train -P fold=); 0: none",
        Either((OneOf(0), Between(2, 100))),
    )
    external: bool = parameter(
        False, "true puts every patient into the test split: data to evaluate a model on, none to train on"
    )
    compress: bool = parameter(
        False, "true compresses the stored set losslessly to about a third of its size; reading it is slower"
    )
    quarantine_limit: float = parameter(
        0.01, "share of the slices that may be unusable before the run fails", Between(0, 1)
    )
    strict: bool = parameter(False, "true stops with an error at the first file that can't be used")
    engine: str = parameter(
        "local", "local: processes of this machine; spark: executors of a cluster", OneOf(*ENGINES)
    )
    spark_master: str = parameter("local[*]", "with engine=spark: the master's URL, as spark://host:7077")
    workers: int = parameter(0, "number of processes of the local engine; 0: one for each core", Between(0))

    def __post_init__(self) -> None:
        check_fields(self)
        parse_columns(self.columns)
        left = self.fractions[0]
        expect("test_fraction", self.test_fraction, left > 0, "less than 1 with validation_fraction")
        expect("folds", self.folds, not self.external or self.folds in (0, "0"), "0 with external=true")

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
        source, data = getattr(self, "source", AUTO), getattr(self, "data", AUTO)
        is_made = source in (AUTO, PHANTOM) and data == AUTO
        usual = _HELD_OUT_OF_PHANTOMS if is_made else _HELD_OUT
        validation, test = self.validation_fraction or usual[0], self.test_fraction or usual[1]
        return (1 - validation - test, validation, test)


@dataclass(frozen=True, kw_only=True)
class TrainingSetParameters(StoredSetParameters):
    """What is trained on: a stored set, or a source that becomes one first."""

    source: str = parameter(
        AUTO,
        f"what data= holds: {', '.join(TRAINABLE)}; auto: phantom where data is auto too, else a stored set",
        OneOf(AUTO, *TRAINABLE, of=" (those with a label a slice)"),
    )
    data: str = parameter(
        AUTO,
        "a stored set made by preprocess, or several as a,b,c: all are trained on, the first is validated on; or "
        "with source= the folder of the source's files (with source=table also the table itself)",
        reads=ANY_PATH,
        reads_several=True,
    )
    folds: str = parameter(  # type: ignore[assignment]
        "0",
        "number of folds of the patients outside the test split, for a set that is made here (see fold=); all: "
        f"train a network for each fold ({USUAL_FOLDS} folds where the set has none) and serve their mean as one "
        "model",
        Either((OneOf("0", ALL), Matching(r"[2-9]|[1-9]\d|100", "2 to 100"))),
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
            of_training = {"seed", "workers"} | ({"folds"} if self.folds == ALL else set())
            expect_unsaid(self, parameters_of(StoredSetParameters).keys() - of_training)

    @property
    def num_folds(self) -> int:
        """Folds of a set that is made here."""
        return USUAL_FOLDS if self.folds == ALL else int(self.folds)

    def expect_ready(self) -> None:
        """As StoredSetParameters, for data that are no stored set, and for a table of exams without a family for it."""
        super().expect_ready()
        if self.source == OWN_TABLE:
            self._expect_labels_of_slices()
        if self.source == AUTO and self.data != AUTO:
            for path in paths_of(self.data):
                expect_stored_set(path)

    def _expect_labels_of_slices(self) -> None:
        """Raise OptionError where the table is of exams and the family learns from slices. Reading the files would take
        hours before that is seen."""
        family = family_said(self)
        exams = open_source(self.source, self.data, columns=self.columns).label_level == "study"
        if exams and family is not None and not family.says_exams:
            expect(
                "data",
                self.data,
                False,
                f"a table with a row a slice: family {family.name} can't learn from labels of exams (pass -P "
                "family=exam_sequence, or a table with the column file)",
            )


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(HyperparameterFlags):
    """How a model is trained, and every hyperparameter as text."""

    fold: str = parameter(
        AUTO,
        "number of the fold that is validated on, for a set with folds; auto: the set's own split",
        Either((OneOf(AUTO), Matching(r"\d{1,3}", "a fold's number, 0 or more"))),
    )
    shares: str = parameter(
        AUTO,
        "with several sets in data=, the share of each in an epoch: numbers as 0.5,0.3,0.2, whose sum need not "
        "be 1; auto: equal shares",
        Either((OneOf(AUTO), Matching(_SHARES, "numbers above 0, separated by commas"))),
    )
    family: str = parameter(
        AUTO,
        f"{'; '.join(f'{one.name}: {one.text}' for one in FAMILIES.values())}; auto: the recipe's",
        OneOf(AUTO, *FAMILIES),
    )
    recipe: str = parameter(
        AUTO,
        f"named setting of hyperparameters: {', '.join(RECIPES)} (reference: the three models' common setting, "
        f"free to vary), a recipe's .json file, or the id of a tune or train run; auto: {_auto_recipes()}",
        _RECIPE,
        reads=r"(?s).+\.json",
    )
    weights: str = parameter(
        AUTO,
        "initial weights of the backbone: imagenet, phantom (come with the package), random, a .keras, .weights.h5 or "
        ".npz file, or a model's; auto: with few patients "
        "phantom, else imagenet where it can be had",
        Either((OneOf(AUTO, "imagenet", "phantom", "random"), WEIGHTS_FILE, WEIGHTS_MODEL)),
        reads=WEIGHTS_PATH,
    )
    slice_model: str = parameter(
        AUTO,
        "with family=exam_sequence, the slice_cnn model whose outputs for each slice are read; auto: the champion",
        Either((OneOf(AUTO), SLICE_MODEL)),
    )
    epidural_only: str = parameter(
        "drop",
        "with 4 classes, what is done with training slices whose only bleed is epidural: drop, or keep as "
        "negatives",
        OneOf("drop", "keep"),
    )
    missing_labels: str = parameter(
        "refuse",
        "what is done where no patient of the validation split is positive for a label: refuse, or allow (the "
        "label is not estimable there)",
        OneOf("refuse", "allow"),
    )
    checkpoints: str = parameter(
        "checkpoints", "folder for the checkpoints of unfinished trainings, written after each epoch"
    )
    precision: str = parameter(
        "float32",
        "number format in which a GPU computes: float32, mixed_float16 or mixed_bfloat16; weights stay float32",
        OneOf("float32", "mixed_float16", "mixed_bfloat16"),
    )
    jit: bool = parameter(False, "true compiles the training step with XLA")
    deterministic: bool = parameter(
        False, "true: the same seed on the same machine gives bit-identical weights; training is slower"
    )
    series_smoothing: str = parameter(
        AUTO,
        "distance along the series over which a slice's scores are averaged with its neighbours': "
        f"{OneOf(*SMOOTHINGS)}; auto: the one that ranks any bleed best on validation",
        OneOf(AUTO, *SMOOTHINGS),
    )
    mirror: bool = parameter(
        False,
        "true: the model scores each slice and its mirror image and gives the mean, which takes twice the "
        "time",
    )
    calibration: str = parameter(
        AUTO,
        f"method that calibrates probabilities on the validation split: {OneOf(*METHODS)}; auto: the most "
        "flexible that the number of positive and negative slices allows",
        OneOf(AUTO, *METHODS),
    )
    operating_point: str = parameter(
        MAX_F1,
        f"rule for the thresholds that the model decides by, chosen on validation: {', '.join(RULES)} (the model "
        "keeps the thresholds of every rule)",
        OneOf(*RULES),
    )
    abstention: float = parameter(
        DEFAULT_ALPHA,
        "share of exams with a bleed that may be called clear, 0 to 0.5: an exam that is not flagged is "
        "uncertain where its score is not low enough for that share, or where it is unlike the training data; 0: "
        "no exam is ever uncertain",
        Between(0, 0.5),
    )

    @property
    def parsed_shares(self) -> tuple[float, ...]:
        """The shares as numbers; () for equal ones."""
        return () if self.shares == AUTO else tuple(map(float, self.shares.split(",")))

    def _check_shares(self) -> None:
        if self.shares == AUTO:
            return
        source, data = getattr(self, "source", AUTO), getattr(self, "data", AUTO)
        sets = paths_of(data) if source == AUTO and data != AUTO else []
        numbers = self.parsed_shares
        expect("shares", self.shares, len(sets) > 1, "auto: it is of several stored sets (data=a,b)")
        expect(
            "shares",
            self.shares,
            len(numbers) == len(sets),
            f"{len(sets)} numbers, one for each set of data=",
        )
        expect(
            "shares",
            self.shares,
            min(numbers) > 0,
            "numbers above 0: leave a set without a share out of data=",
        )

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_shares()
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
    several = not Path(data).exists() and len(paths_of(data)) > 1
    expect("data", data, not several, "one stored set (train and tune take several)")
    expect("data", data, not Path(data).is_file(), "the folder of a stored set, not a file")
    if Path(data).is_dir() and (why := no_stored_set(Path(data))):
        raise DataError(why)


def check_fold(options: Any) -> None:
    """Raise OptionError for a fold of a set that is made here without it. What a stored set has is seen when opened."""
    is_stored = options.data != AUTO and getattr(options, "source", AUTO) == AUTO
    folds = getattr(options, "num_folds", 0)
    both = options.fold != AUTO and getattr(options, "folds", "") == ALL
    expect("fold", options.fold, not both, f"{AUTO} with folds={ALL}, which trains on each of them")
    if options.fold != AUTO and not is_stored:
        has = f"has {folds} folds, counted from 0" if folds else "has no folds"
        expect("fold", options.fold, int(options.fold) < folds, f"auto: the set that is made here {has}")


def check_hyperparameters(options: Any, *, several: bool = False) -> None:
    """Raise OptionError for a hyperparameter that is none, or that contradicts the family or a recipe of the project's.

    Of a recipe of the user's own each value is checked alone: what it holds is read later. several: whether a range or
    alternatives may stand for a value, as in a search.
    """
    known, said = hyperparameters_of(family_said(options)), hyperparameters_said(options)
    values = {}
    for name, text in said.items():
        expect(
            name, text, several or not is_dimension(text), "one value (a range and alternatives are for tune)"
        )
        ends = (
            parse_dimension(known[name], text).ends if is_dimension(text) else (from_text(known[name], text),)
        )
        for value in ends:
            check_value(known[name], value)
        values[name] = ends[0]
    recipe = recipe_name(options)
    if recipe in RECIPES and not any(map(is_dimension, said.values())):
        resolve(recipe, values)
