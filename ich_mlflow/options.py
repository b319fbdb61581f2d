"""What each entry point can be told: one frozen dataclass each, valid from birth.

The dataclass is the truth: cli.py builds the flags from it, and a test holds MLproject's names and defaults
to it. `auto` stands for "not said": the docstring of the field says what happens then.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any

from ich_mlflow.errors import OptionError

AUTO = "auto"
SOURCES = ("rsna", "ctich", "phantom", "cq500", "rsna-test")
#: Those with a label a slice: a test holds this to what the sources say of themselves.
TRAINABLE_SOURCES = ("rsna", "ctich", "phantom")
ENGINES = ("local", "spark")
CALIBRATIONS = (AUTO, "none", "temperature", "platt", "isotonic")
OPERATING_POINTS = ("max_f1", "sensitivity_95", "youden")
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "hyperband", "none")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
#: Backbones that pretraining can teach.
PRETRAINABLE = ("efficientnet-b0", "efficientnet-lite0")
#: Seeds of the cohorts that pretraining sees, so that no phantom of another command is one of them; the shipped
#: weights' own seed.
PRETRAINING_SEEDS = range(4_000_000_000, 2**32)
PRETRAINING_SEED = 4_000_000_007
RECIPE_NAMES = (AUTO, "model-1", "model-2", "model-3", "reference", "demo")


def option(default: Any, text: str) -> Any:
    """A dataclass field with its help text."""
    return field(default=default, metadata={"help": text})


def _expect(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise OptionError(f"{name} is {value!r}, expected {expected}: pass -P {name}=…")


def is_true(value: str) -> bool:
    """Whether a flag says true. Options of that kind are text: `mlflow run` passes no bare flags."""
    return value.lower() == "true"


def is_own_recipe(text: str) -> bool:
    """Whether the text names a recipe's file, or a run by its id."""
    return text.endswith(".json") or bool(re.fullmatch(r"[0-9a-f]{32}", text))


def _expect_operating_point(value: str) -> None:
    _expect("operating_point", value, value in OPERATING_POINTS, f"one of {', '.join(OPERATING_POINTS)}")


def _expect_flag(name: str, value: str) -> None:
    _expect(name, value, value.lower() in ("true", "false"), "true or false")


@dataclass(frozen=True, kw_only=True)
class PhantomOptions:
    """The phantom cohort that is made where source is phantom and no data folder is named."""

    exams: int = option(60, "phantom exams to make where source=phantom and data=auto")
    bleeds: float = option(
        0.3, "share of phantom exams that show each subtype; 0 for prevalences like those of RSNA 2019"
    )
    quirks: str = option(
        "false", "true plants every quirk of RSNA's files and some unusable ones, to see what preprocess does"
    )

    def __post_init__(self) -> None:
        _expect("exams", self.exams, 3 <= self.exams <= 100_000, "3 to 100000")
        _expect("bleeds", self.bleeds, 0 <= self.bleeds <= 1, "0 to 1")
        _expect_flag("quirks", self.quirks)


@dataclass(frozen=True, kw_only=True)
class PreprocessOptions(PhantomOptions):
    """Turn labelled slices of any source into the stored data set: int16 HU at 256x256, split by patient."""

    source: str = option("phantom", f"where slices and labels come from: {', '.join(SOURCES)}")
    data: str = option(
        AUTO,
        "folder of the source's files, or a URL (s3://, gs://, abfs://, hdfs://); auto: for phantom a cohort made "
        "once under data/, else an error",
    )
    out: str = option(
        AUTO, "folder of the stored set; auto: a folder under data/ named after source and options"
    )
    validation_fraction: float = option(0.15, "share of the patients that validate")
    test_fraction: float = option(0.15, "share of the patients that test")
    seed: int = option(0, "seed of the split and of the phantom cohort")
    folds: int = option(
        0, "folds of the patients outside test, for cross-validation (train -P fold=); 0: none"
    )
    external: str = option(
        "false",
        "true puts every patient into the test split: data to evaluate a model on, none to train on",
    )
    compress: str = option("false", "true stores a third of the size, losslessly, and reads more slowly")
    quarantine_limit: float = option(0.01, "share of the slices that may be unusable before the run fails")
    strict: str = option("false", "true refuses the first file that can't be used")
    engine: str = option("local", "local: processes of this machine; spark: executors of a cluster")
    spark_master: str = option("local[*]", "with engine=spark: the master's URL, as spark://host:7077")
    workers: int = option(0, "processes of the local engine; 0: one a core")

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect("source", self.source, self.source in SOURCES, f"one of {', '.join(SOURCES)}")
        _expect("validation_fraction", self.validation_fraction, 0 < self.validation_fraction < 1, "0 to 1")
        _expect("test_fraction", self.test_fraction, 0 < self.test_fraction < 1, "0 to 1")
        held_out = self.validation_fraction + self.test_fraction
        _expect("test_fraction", self.test_fraction, held_out < 1, "less than 1 with validation_fraction")
        _expect("seed", self.seed, 0 <= self.seed < 2**32, "0 to 4294967295")
        _expect("workers", self.workers, self.workers >= 0, "0 or more")
        _expect("folds", self.folds, self.folds == 0 or 2 <= self.folds <= 100, "0, or 2 to 100")
        limit = self.quarantine_limit
        _expect("quarantine_limit", limit, 0 <= limit <= 1, "0 to 1")
        _expect("engine", self.engine, self.engine in ENGINES, f"one of {', '.join(ENGINES)}")
        for name in ("compress", "strict", "external"):
            _expect_flag(name, getattr(self, name))
        external = is_true(self.external)
        unlabelled = self.source == "rsna-test"
        _expect(
            "external", self.external, external or not unlabelled, "true with source=rsna-test (no labels)"
        )
        _expect("folds", self.folds, not external or self.folds == 0, "0 with external=true")

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of the patients in train, validation and test; they sum to 1."""
        held_out = self.validation_fraction + self.test_fraction
        return (1 - held_out, self.validation_fraction, self.test_fraction)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(PreprocessOptions):
    """Train a classifier and log it with its metrics, figures and serving model.

    Without data it trains the recipe `demo` on a phantom cohort in about five minutes on two cores.
    """

    source: str = option(
        AUTO,
        f"{', '.join(TRAINABLE_SOURCES)}; auto: phantom where data is auto too, else data is a stored set",
    )
    data: str = option(
        AUTO, "a stored set made by preprocess, or with source= the folder of the source's files"
    )
    fold: str = option(
        AUTO, "number of the fold that validates, of a set with folds; auto: the set's own split"
    )
    recipe: str = option(
        AUTO,
        "model-1, model-2, model-3, reference (the three's common setting, free to vary), demo, a recipe's .json "
        "file, or the id of a tune or train run; auto: demo on the phantom cohort made here, else reference",
    )
    num_classes: str = option(
        AUTO, "4 (no epidural), 5 (the subtypes) or 6 (the subtypes and any); auto: the recipe's, which is 5"
    )
    weights: str = option(
        AUTO,
        "start of the backbone: imagenet, phantom (come with the package), random, or a .keras, .weights.h5 or .npz "
        "file; auto: imagenet where it can be had, else phantom",
    )
    epidural_only: str = option(
        "drop", "with 4 classes, training slices whose only bleed is epidural: drop, or keep as negatives"
    )
    missing_labels: str = option(
        "refuse",
        "where no patient of the validation split has a label: refuse, or allow (it is not estimable there)",
    )
    resume: str = option(
        "false", "true goes on with the unfinished training that has these options, in its own MLflow run"
    )
    checkpoints: str = option("checkpoints", "folder of the unfinished trainings' checkpoints, one an epoch")
    precision: str = option(
        "float32", f"{', '.join(PRECISIONS)}: what a GPU computes in; weights stay float32"
    )
    jit: str = option("false", "true compiles the training step by XLA")
    deterministic: str = option(
        "false", "true: the same seed on the same machine ends in the same bits; slower"
    )
    calibration: str = option(
        AUTO,
        f"of probabilities on the validation split: {', '.join(CALIBRATIONS)}; auto: as much as its slices allow",
    )
    operating_point: str = option(
        "max_f1",
        f"what the model decides by, chosen on validation: {', '.join(OPERATING_POINTS)} (it carries all three)",
    )
    backbone: str = option(
        AUTO,
        "efficientnet-b0, efficientnet-lite0, efficientnetv2-b0 or convnext-tiny; auto: the recipe's (efficientnet-b0)",
    )
    image_size: str = option(AUTO, "pixels a side, 32 to 512; auto: the recipe's (224)")
    windows: str = option(
        AUTO, "brain, or three as brain,subdural,bone or 40/80,80/200,600/2800; auto: recipe's"
    )
    context: str = option(AUTO, "1: the slices before and after are channels too; auto: the recipe's (0)")
    epochs: str = option(AUTO, "most epochs; auto: the recipe's (10)")
    patience: str = option(
        AUTO, "epochs without a better monitor before training stops; auto: the recipe's (3)"
    )
    monitor: str = option(
        AUTO, "val_loss or val_auc, what early stopping goes by; auto: the recipe's (val_loss)"
    )
    batch_size: str = option(AUTO, "slices a step, of all GPUs together; auto: the recipe's (32)")
    learning_rate: str = option(AUTO, "of Adam; auto: the recipe's (1e-4)")
    schedule: str = option(AUTO, "of the learning rate: constant or cosine; auto: the recipe's (constant)")
    warmup_epochs: str = option(
        AUTO, "epochs with the backbone frozen before the others; auto: the recipe's (0)"
    )
    warmup_learning_rate: str = option(AUTO, "of Adam in them; auto: the recipe's (1e-3)")
    warmup_augment: str = option(
        AUTO, "true augments in them; false computes features once, much faster; auto: the recipe's (false)"
    )
    clip_norm: str = option(AUTO, "largest norm of the gradients, 0 for none; auto: the recipe's (0)")
    weight_decay: str = option(
        AUTO,
        "share of each kernel taken off a step, times the learning rate; 0: none; auto: the recipe's (0)",
    )
    ema: str = option(
        AUTO,
        "momentum of the moving average of weights that is kept, as 0.999; 0: none; auto: the recipe's (0)",
    )
    loss: str = option(
        AUTO, "bce, weighted_bce, focal, or log_loss_rsna (any weighs 2; 6 classes); auto: the recipe's (bce)"
    )
    focal_gamma: str = option(
        AUTO, "with loss=focal, how much less what is right already counts, 1 to 10; auto: the recipe's (2)"
    )
    label_smoothing: str = option(AUTO, "draws targets to one half by this share; auto: the recipe's (0)")
    prior_bias: str = option(
        AUTO, "true starts the output at the prevalences that training sees; auto: the recipe's (false)"
    )
    dropout: str = option(AUTO, "share of the head's units dropped; auto: the recipe's (0.3)")
    batch_norm_momentum: str = option(AUTO, "of the backbone's moving statistics; auto: the recipe's (0.99)")
    dense_units: str = option(AUTO, "width of the head; auto: the recipe's (128)")
    sampling: str = option(AUTO, "natural or class_balanced; auto: the recipe's (natural)")
    sampling_rate: str = option(
        AUTO,
        "with class_balanced, share of an epoch's slices that show each subtype; auto: one part in labels and one",
    )
    rotation_degrees: str = option(AUTO, "largest rotation by augmentation; auto: the recipe's (10)")
    shift: str = option(AUTO, "largest shift, as a share of the image; auto: the recipe's (0.05)")
    zoom: str = option(AUTO, "largest zoom in or out, as a share; auto: the recipe's (0.1)")
    flip: str = option(AUTO, "true flips left and right at random; auto: the recipe's (true)")

    def __post_init__(self) -> None:
        source = "phantom" if self.source == AUTO else self.source
        trainable = f"auto, or one with a label a slice: {', '.join(TRAINABLE_SOURCES)}"
        _expect("source", self.source, source in TRAINABLE_SOURCES, trainable)
        preprocess_options(self, source=source)
        _expect(
            "external",
            self.external,
            not is_true(self.external),
            "false: all of external data is in the test split, and nothing is left to train on (evaluate takes it)",
        )
        fold = self.fold
        _expect("fold", fold, fold == AUTO or fold.isdecimal(), "auto or a fold's number, 0 or more")
        known = self.recipe in RECIPE_NAMES or is_own_recipe(self.recipe)
        _expect(
            "recipe", self.recipe, known, f"one of {', '.join(RECIPE_NAMES)}, a .json file or the id of a run"
        )
        _expect("epidural_only", self.epidural_only, self.epidural_only in ("drop", "keep"), "drop or keep")
        missing = self.missing_labels
        _expect("missing_labels", missing, missing in ("refuse", "allow"), "refuse or allow")
        calibration = self.calibration
        _expect("calibration", calibration, calibration in CALIBRATIONS, f"one of {', '.join(CALIBRATIONS)}")
        _expect_operating_point(self.operating_point)
        _expect("precision", self.precision, self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        for name in ("resume", "jit", "deterministic"):
            _expect_flag(name, getattr(self, name))
        both = is_true(self.jit) and is_true(self.deterministic)
        _expect("jit", self.jit, not both, "false with deterministic=true: XLA promises no equal bits")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(TrainOptions):
    """Search for a better setting: trials on training and validation split, the best one as a recipe for train.

    What train takes is said as there and then fixed; `a|b` or `low..high` instead of a value lets it vary. What is not
    said varies if it is one of learning_rate, dropout, dense_units, windows, context, loss, focal_gamma, sampling,
    sampling_rate, augmentation, weight_decay, backbone, and is the recipe's otherwise. The same command goes on with a
    search that was stopped or killed.
    """

    trials: int = option(20, "settings to try; more than before goes on with a finished search")
    workers: int = option(1, "processes that try them, which share cores and GPUs")
    search: str = option(AUTO, "name of the search; auto: one made of the options that count")
    storage: str = option(
        AUTO,
        "where trials are kept: a file, or for several machines postgresql://user@host:port/name (its password in "
        "~/.pgpass); auto: a file beside the checkpoints",
    )
    sampler: str = option("tpe", f"how settings are drawn: {' or '.join(SAMPLERS)}")
    pruner: str = option("median", f"how a bad trial is stopped early: {', '.join(PRUNERS)}")
    augmentation: str = option(
        AUTO,
        "factor of the recipe's rotation, shift and zoom, as 0..2; auto: that, unless one of them is said",
    )
    trial_epochs: str = option(AUTO, "most epochs of a trial; auto: as many as training has")
    train_best: str = option("false", "true trains the best setting in full at the end, as train does")
    monitor: str = option(
        AUTO, "what trials are compared by, and early stopping goes by: val_auc or val_loss; auto: val_auc"
    )
    resume: str = option("true", "true goes on with the search of these options; false begins another")

    def __post_init__(self) -> None:
        super().__post_init__()
        _expect("trials", self.trials, 1 <= self.trials <= 100_000, "1 to 100000")
        _expect("workers", self.workers, 1 <= self.workers <= 256, "1 to 256")
        _expect("sampler", self.sampler, self.sampler in SAMPLERS, f"one of {', '.join(SAMPLERS)}")
        _expect("pruner", self.pruner, self.pruner in PRUNERS, f"one of {', '.join(PRUNERS)}")
        _expect_flag("train_best", self.train_best)
        named = self.search == AUTO or bool(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", self.search))
        _expect("search", self.search, named, "letters, digits, dots, hyphens and underscores, 81 at most")
        epochs = self.trial_epochs
        valid = epochs == AUTO or (epochs.isdecimal() and 1 <= int(epochs) <= 1000)
        _expect("trial_epochs", epochs, valid, "auto, or 1 to 1000")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Make the weights that weights=phantom starts from: pretrain a backbone on thousands of phantom exams.

    Its targets are the labels of each slice and where the blood is. The log is an MLflow run, the result a file.
    """

    backbone: str = option("efficientnet-b0", f"{' or '.join(PRETRAINABLE)}")
    weights: str = option(
        "lite0",
        "what pretraining itself starts from: lite0 (the convolutions of EfficientNet-Lite0, of ImageNet, which come "
        "with the package), imagenet, random, or a .keras, .weights.h5 or .npz file",
    )
    exams: int = option(2000, "phantom exams")
    bleeds: float = option(0.35, "share of the exams that show each subtype")
    seed: int = option(
        PRETRAINING_SEED,
        "of cohort, split and network, 4000000000 or more: seeds that no other command takes",
    )
    epochs: int = option(15, "each a tenth of a pass over the cohort")
    batch_size: int = option(32, "slices a step")
    image_sizes: str = option("96,128,160", "pixels a side, multiples of 32, batch by batch in turn")
    learning_rate: float = option(1e-3, "of Adam at its highest; it rises at first and falls as a cosine")
    lesion_weight: float = option(1.0, "weight of the loss of where the blood is; 0 for labels alone")
    out: str = option("data/pretrained", "folder of the file of weights")
    resume: str = option("true", "true goes on with the unfinished pretraining that has these options")
    checkpoints: str = option("checkpoints", "folder of the checkpoints, one an epoch")

    def __post_init__(self) -> None:
        _expect("backbone", self.backbone, self.backbone in PRETRAINABLE, f"one of {', '.join(PRETRAINABLE)}")
        # auto may end at the phantom weights, too: what the package comes with would be made from itself.
        taught = self.weights in ("phantom", AUTO)
        _expect("weights", self.weights, not taught, "lite0, imagenet, random or a file")
        _expect("exams", self.exams, 40 <= self.exams <= 100_000, "40 to 100000")
        _expect("bleeds", self.bleeds, 0 < self.bleeds <= 1, "above 0, at most 1")
        _expect("seed", self.seed, self.seed in PRETRAINING_SEEDS, "4000000000 to 4294967295")
        _expect("epochs", self.epochs, 1 <= self.epochs <= 10_000, "1 to 10000")
        _expect("batch_size", self.batch_size, 1 <= self.batch_size <= 4096, "1 to 4096")
        sizes = self.image_sizes.split(",")
        valid = all(size.isdecimal() and int(size) % 32 == 0 and 32 <= int(size) <= 512 for size in sizes)
        # Keras takes the shape of all batches from the first two.
        once = len(set(sizes)) == len(sizes)
        _expect(
            "image_sizes",
            self.image_sizes,
            valid and once,
            "multiples of 32 from 32 to 512, each once, with commas, as 96,128,160",
        )
        _expect("learning_rate", self.learning_rate, 0 < self.learning_rate <= 1, "above 0, at most 1")
        _expect("lesion_weight", self.lesion_weight, 0 <= self.lesion_weight <= 1000, "0 to 1000")
        _expect_flag("resume", self.resume)

    @property
    def parsed_image_sizes(self) -> tuple[int, ...]:
        """Pixels a side."""
        return tuple(int(size) for size in self.image_sizes.split(","))


@dataclass(frozen=True, kw_only=True)
class DemonstrateOptions:
    """Register a small model that was trained on phantoms, to try serving and predicting at once. Not for patients.

    Its weights come with the package: nothing is trained, and no data is needed.
    """

    num_classes: int = option(5, "the class scheme: 4, 5 or 6")

    def __post_init__(self) -> None:
        _expect("num_classes", self.num_classes, self.num_classes in (4, 5, 6), "4, 5 or 6")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Score a model on patients it has not seen: metrics with intervals, figures, a report and a model card.

    The test split of the stored set that it was trained on, or of another one, or all patients of a source.
    """

    model: str = option(
        AUTO,
        "ich-5class@champion, models:/<name>/<version> or runs:/<run id>/serving; auto: the champion "
        "of ich-5class, or of ich-4class where there is no other",
    )
    baseline: str = option(
        AUTO, "another model, as model: the difference is reported with its interval; auto: none"
    )
    data: str = option(
        AUTO,
        "a stored set (its test split is read), or with source= the folder of the source's files; auto: the set "
        "that the model was trained on",
    )
    source: str = option(
        AUTO, f"{', '.join(SOURCES)}: evaluate on all its patients; auto: data is a stored set"
    )
    out: str = option(AUTO, "with source=: folder of the stored set that is made; auto: a folder under data/")
    workers: int = option(0, "with source=: processes that read its files; 0: one a core")
    quarantine_limit: float = option(0.01, "with source=: share of the slices that may be unusable")
    operating_point: str = option(
        AUTO, f"what decisions go by: {', '.join(OPERATING_POINTS)}; auto: what the model decides by"
    )
    resamples: int = option(2000, "resamples of the patients that the intervals come from, 100 to 100000")
    heat_maps: int = option(12, "slices to show where the network looked, 0 to 16; 0: none")
    submission: str = option(
        "false",
        "true scores RSNA 2019's stage 2 test files in data= (source=rsna) and writes the CSV that Kaggle takes",
    )

    def __post_init__(self) -> None:
        _expect(
            "source", self.source, self.source in (AUTO, *SOURCES), f"auto or one of {', '.join(SOURCES)}"
        )
        unlabelled_source = self.source == "rsna-test"
        _expect("source", self.source, not unlabelled_source, "rsna with submission=true: it has no labels")
        with_data = self.source == AUTO or self.data != AUTO
        _expect("data", self.data, with_data, f"the folder of the files with source={self.source}")
        makes_set = self.source != AUTO or self.out == AUTO
        _expect(
            "out",
            self.out,
            makes_set,
            "auto without source=: figures and report go to the run, not to a folder",
        )
        _expect("workers", self.workers, self.workers >= 0, "0 or more")
        _expect("quarantine_limit", self.quarantine_limit, 0 <= self.quarantine_limit <= 1, "0 to 1")
        if self.operating_point != AUTO:
            _expect_operating_point(self.operating_point)
        _expect("resamples", self.resamples, 100 <= self.resamples <= 100_000, "100 to 100000")
        _expect("heat_maps", self.heat_maps, 0 <= self.heat_maps <= 16, "0 to 16")
        _expect_flag("submission", self.submission)
        unlabelled = is_true(self.submission)
        _expect(
            "submission",
            self.submission,
            not unlabelled or self.source == "rsna",
            "false without source=rsna",
        )
        _expect(
            "baseline", self.baseline, not unlabelled or self.baseline == AUTO, "auto with submission=true"
        )


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Score your own DICOM files: a study, a folder of all sorts of files, or a zip. Research only.

    Finds the plain head CT among the series, scores slices and exams, and writes a worklist, tables, a page with heat
    maps, and DICOM (Structured Reports, Secondary Captures) into a folder. Nothing leaves that folder; the MLflow run
    holds counts and times alone. The same command goes on with a prediction that was stopped or killed.
    """

    input: str = option(
        AUTO,
        "a DICOM file, a folder or a zip; auto: four phantom studies with other series among them, made once",
    )
    model: str = option(
        AUTO,
        "ich-5class@champion, models:/<name>/<version> or runs:/<run id>/serving; auto: the champion of ich-5class, or "
        "of ich-4class where there is no other",
    )
    out: str = option(
        AUTO, "folder of the results; auto: one under predictions/, named after input and options"
    )
    series: str = option(
        "one", "of each study, one: the best plain head CT, or all: every one, other reconstructions included"
    )
    operating_point: str = option(
        AUTO, f"what decisions go by: {', '.join(OPERATING_POINTS)}; auto: what the model decides by"
    )
    pictures: int = option(
        4, "slices to show of each flagged study, plain and with a heat map, 0 to 24; 0: none"
    )
    dicom: str = option("true", "false writes no DICOM files")
    engine: str = option("local", "local: processes of this machine; spark: executors of a cluster")
    spark_master: str = option("local[*]", "with engine=spark: the master's URL, as spark://host:7077")
    workers: int = option(0, "processes of this machine; 0: one a core")

    def __post_init__(self) -> None:
        _expect("series", self.series, self.series in ("one", "all"), "one or all")
        if self.operating_point != AUTO:
            _expect_operating_point(self.operating_point)
        _expect("pictures", self.pictures, 0 <= self.pictures <= 24, "0 to 24")
        _expect_flag("dicom", self.dicom)
        _expect("engine", self.engine, self.engine in ENGINES, f"one of {', '.join(ENGINES)}")
        _expect("workers", self.workers, self.workers >= 0, "0 or more")


@dataclass(frozen=True, kw_only=True)
class PromoteOptions:
    """Make a training run's model the champion of its class scheme, if it passes every gate; or say why not.

    Both are scored on the same test split now. Refused, the exit code is 3, and the model is registered with the alias
    candidate. Every promotion, refusal and rollback is recorded: -P history=true lists them.
    """

    num_classes: str = option(
        AUTO, "the class scheme: 4, 5 or 6; auto: the run's, else 5; with history=true all of them"
    )
    run: str = option(AUTO, "id of the training run; auto: the finished one with the best metric")
    metric: str = option(
        "val/auc/macro",
        "what auto goes by, a metric of the training run; of names with loss, brier or ece the lowest is best",
    )
    data: str = option(
        AUTO, "the stored set whose test split both are scored on; auto: the one the candidate was trained on"
    )
    require: str = option(
        "better",
        "of the 95 % interval of the difference in mean AUC: better (all above 0), or not_worse (all above -margin)",
    )
    margin: float = option(0.01, "with require=not_worse, 0 to 1")
    label_margin: float = option(0.05, "by how much one label's AUC may be lower, 0 to 1")
    calibration_margin: float = option(
        0.02, "by how much the expected calibration error may be higher, 0 to 1"
    )
    max_latency_ms: float = option(
        200.0, "longest that one DICOM file may take on this machine, in milliseconds"
    )
    max_size_mb: float = option(200.0, "largest size of the model version, in MB")
    same_data: str = option(
        "true",
        "true demands that the candidate was trained on this set, and that the champion is known not to have been "
        "trained on its test patients",
    )
    smoke: str = option("true", "true starts the scoring server on the new version and sends it a DICOM file")
    resamples: int = option(2000, "resamples of the patients that the interval comes from, 100 to 100000")
    replace: str = option(
        "false", "true promotes though gates that compare with the champion fail, say after a change of data"
    )
    reason: str = option(AUTO, "why, in your words, for the record; auto: nothing is said")
    rollback: str = option("false", "true makes the champion before this one the champion again")
    history: str = option("false", "true lists every promotion, refusal and rollback, and does nothing else")

    def __post_init__(self) -> None:
        classes = self.num_classes
        _expect("num_classes", classes, classes in (AUTO, "4", "5", "6"), "auto, 4, 5 or 6")
        _expect("metric", self.metric, bool(re.fullmatch(r"[\w/.-]+", self.metric)), "a metric's name")
        _expect("require", self.require, self.require in ("better", "not_worse"), "better or not_worse")
        for name in ("margin", "label_margin", "calibration_margin"):
            _expect(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "0 to 1")
        for name in ("max_latency_ms", "max_size_mb"):
            _expect(name, getattr(self, name), 0 < getattr(self, name) < 1e9, "above 0")
        for name in ("same_data", "smoke", "replace", "rollback", "history"):
            _expect_flag(name, getattr(self, name))
        _expect("resamples", self.resamples, 100 <= self.resamples <= 100_000, "100 to 100000")
        _expect("reason", self.reason, len(self.reason) <= 2000, "2000 characters at most")
        alone = not (is_true(self.rollback) and (is_true(self.history) or self.run != AUTO))
        _expect("rollback", self.rollback, alone, "false with run= or history=true")


@dataclass(frozen=True, kw_only=True)
class MainOptions(TrainOptions):
    """Run preprocess, train, evaluate and promote as child runs of one parent."""


def preprocess_options(options: PreprocessOptions, **changed: Any) -> PreprocessOptions:
    """The part of train's or main's options that preprocess takes, with some changed."""
    said = {field.name: getattr(options, field.name) for field in fields(PreprocessOptions)}
    return PreprocessOptions(**{**said, **changed})
