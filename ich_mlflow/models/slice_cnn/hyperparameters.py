"""What a training run can vary, and the named recipes that fix it. Needs neither Keras nor TensorFlow."""

from dataclasses import dataclass, fields, replace
from typing import Any

from ich_mlflow.ct.window import Window, parse_windows
from ich_mlflow.errors import OptionError
from ich_mlflow.labels import class_scheme

SAMPLINGS = ("natural", "class_balanced")
MONITORS = ("val_loss", "val_auc")
LOSSES = ("bce", "weighted_bce", "focal", "log_loss_rsna")
SCHEDULES = ("constant", "cosine")
WARMUP_RATE = 1e-3
#: Source: Lin et al., ICCV 2017 (the value they found best).
FOCAL_GAMMA = 2.0
BACKBONES = ("efficientnet-b0", "efficientnet-lite0", "efficientnetv2-b0", "convnext-tiny")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """One setting of everything that shapes a training run. The defaults are those of Model 1.

    num_classes        4, 5 or 6: labels.SCHEMES
    backbone           efficientnet-b0, efficientnet-lite0, efficientnetv2-b0 or convnext-tiny
    image_size         pixels a side that the backbone sees, 32 to 512 (the stored set has 256)
    windows            `brain`, `brain,subdural,bone`, or center/width in HU
    context            0, or 1: the slices before and after in the same series are further channels
    epochs, patience   1 to 1000; epochs without a better `monitor` before training stops, 1 or more
    monitor            val_loss (lower is better) or val_auc (mean over labels, higher is better)
    learning_rate      of Adam, above 0 to 1
    schedule           constant, or cosine: from learning_rate to a hundredth of it over all epochs
    warmup_epochs      epochs before these with the backbone frozen, 0 to 1000: the head alone learns
    warmup_learning_rate  of Adam in them, above 0 to 1
    warmup_augment     whether they see augmented slices; where not, the backbone's features are computed once and
                       each further epoch costs next to nothing
    clip_norm          largest norm of all gradients together, 0 or more; 0 doesn't clip
    weight_decay       share of each kernel taken off a step, times the learning rate, 0 to below 1; biases and
                       normalisations keep theirs. Source: Loshchilov and Hutter, ICLR 2019 (AdamW)
    ema                momentum of the moving average of the weights that is validated and kept, 0 to below 1; 0:
                       the weights themselves
    loss               bce; weighted_bce: positives of a label weigh as its negatives; focal; log_loss_rsna: `any`
                       weighs 2 (6 classes only). val_loss is plain cross-entropy whatever the loss
    focal_gamma        with loss=focal, how much less what is right already counts, 1 to 10: below 1 its slope is not
                       finite where a probability is exactly right (bce is 0)
    label_smoothing    share by which targets are drawn to one half, 0 to below 1
    prior_bias         whether the output starts at the prevalences that training sees, not at one half
    dropout            share of the head's units dropped, 0 to below 1
    batch_norm_momentum   of the backbone's moving statistics, 0 to below 1. 0.99 is Keras' and suits pretrained
                       weights; from random ones with some hundred steps validation would see stale statistics.
                       ConvNeXt has none
    dense_units        width of the head, 1 to 4096
    sampling           natural: each training slice once an epoch; class_balanced: every subtype is positive in the
                       share sampling_rate of an epoch's slices
    sampling_rate      0 to below 1; 0: one part in the number of labels and one
    rotation_degrees, shift, zoom   each drawn uniformly from plus or minus this; shift and zoom as a share
                       of the image; flip: left-right with probability one half
    """

    num_classes: int = 5
    backbone: str = "efficientnet-b0"
    image_size: int = 224
    windows: str = "brain"
    context: int = 0
    epochs: int = 10
    patience: int = 3
    monitor: str = "val_loss"
    batch_size: int = 32
    learning_rate: float = 1e-4
    schedule: str = "constant"
    warmup_epochs: int = 0
    warmup_learning_rate: float = WARMUP_RATE
    warmup_augment: bool = False
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.0
    loss: str = "bce"
    focal_gamma: float = FOCAL_GAMMA
    label_smoothing: float = 0.0
    prior_bias: bool = False
    dropout: float = 0.3
    batch_norm_momentum: float = 0.99
    dense_units: int = 128
    sampling: str = "natural"
    sampling_rate: float = 0.0
    rotation_degrees: float = 10.0
    shift: float = 0.05
    zoom: float = 0.1
    flip: bool = True

    def __post_init__(self) -> None:
        class_scheme(self.num_classes)
        parse_windows(self.windows)
        self._check_model()
        self._check_steps()
        self._check_loss()
        self._check_samples()

    def _check_model(self) -> None:
        _expect("backbone", self.backbone, self.backbone in BACKBONES, f"one of {', '.join(BACKBONES)}")
        _expect("image_size", self.image_size, 32 <= self.image_size <= 512, "32 to 512 pixels")
        _expect("context", self.context, self.context in (0, 1), "0 or 1")
        _expect("dropout", self.dropout, 0 <= self.dropout < 1, "0 or more, below 1")
        momentum = self.batch_norm_momentum
        _expect("batch_norm_momentum", momentum, 0 <= momentum < 1, "0 or more, below 1")
        _expect("dense_units", self.dense_units, 1 <= self.dense_units <= 4096, "1 to 4096")

    def _check_steps(self) -> None:
        _expect("epochs", self.epochs, 1 <= self.epochs <= 1000, "1 to 1000")
        _expect("patience", self.patience, self.patience >= 1, "1 or more epochs")
        _expect("monitor", self.monitor, self.monitor in MONITORS, " or ".join(MONITORS))
        _expect("batch_size", self.batch_size, 1 <= self.batch_size <= 4096, "1 to 4096")
        _expect("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs <= 1000, "0 to 1000")
        for name in ("learning_rate", "warmup_learning_rate"):
            rate = getattr(self, name)
            _expect(name, rate, 0 < rate <= 1, "above 0, at most 1")
        if not self.warmup_epochs:
            rate = self.warmup_learning_rate
            _expect("warmup_learning_rate", rate, rate == WARMUP_RATE, "with warmup_epochs above 0")
            _expect(
                "warmup_augment", self.warmup_augment, not self.warmup_augment, "with warmup_epochs above 0"
            )
        _expect("schedule", self.schedule, self.schedule in SCHEDULES, " or ".join(SCHEDULES))
        _expect("clip_norm", self.clip_norm, self.clip_norm >= 0, "0 (none) or more")
        _expect("weight_decay", self.weight_decay, 0 <= self.weight_decay < 1, "0 (none) or more, below 1")
        _expect("ema", self.ema, 0 <= self.ema < 1, "0 (none) or more, below 1")

    def _check_loss(self) -> None:
        _expect("loss", self.loss, self.loss in LOSSES, f"one of {', '.join(LOSSES)}")
        fits = self.loss != "log_loss_rsna" or self.num_classes == 6
        _expect("loss", self.loss, fits, "with num_classes=6, which has `any`, or another loss")
        gamma = self.focal_gamma
        _expect("focal_gamma", gamma, 1 <= gamma <= 10, "1 to 10")
        used = gamma == FOCAL_GAMMA or self.loss == "focal"
        _expect("focal_gamma", gamma, used, f"with loss=focal, or {FOCAL_GAMMA:g}")
        _expect("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "0 or more, below 1")

    def _check_samples(self) -> None:
        _expect("sampling", self.sampling, self.sampling in SAMPLINGS, " or ".join(SAMPLINGS))
        rate = self.sampling_rate
        _expect("sampling_rate", rate, 0 <= rate < 1, "0 (one part in labels and one) or more, below 1")
        used = rate == 0 or self.sampling == "class_balanced"
        _expect("sampling_rate", rate, used, "with sampling=class_balanced, or 0")
        _expect("rotation_degrees", self.rotation_degrees, 0 <= self.rotation_degrees <= 180, "0 to 180")
        _expect("shift", self.shift, 0 <= self.shift < 0.5, "0 or more, below 0.5 of the image")
        _expect("zoom", self.zoom, 0 <= self.zoom < 0.9, "0 or more, below 0.9")

    @property
    def parsed_windows(self) -> tuple[Window, ...]:
        return parse_windows(self.windows)


def _expect(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise OptionError(f"{name} is {value!r}, expected {expected}: pass -P {name}=…")


#: Models 1 to 3 are the reference models, `reference` their common setting to vary. `demo` fits the built-in
#: phantom cohort and two cores: a small image, and few steps from weights that start ahead.
RECIPES: dict[str, Hyperparameters] = {
    "model-1": Hyperparameters(),
    "model-2": Hyperparameters(sampling="class_balanced"),
    "model-3": Hyperparameters(num_classes=4),
    "reference": Hyperparameters(),
    "demo": Hyperparameters(
        image_size=96,
        epochs=5,
        batch_size=16,
        learning_rate=3e-4,
        batch_norm_momentum=0.9,
        sampling="class_balanced",
        monitor="val_auc",
    ),
}
#: What a recipe says and an option may not contradict: without it the recipe is another model.
FIXED_BY_RECIPE: dict[str, tuple[str, ...]] = {
    "model-1": ("num_classes", "sampling"),
    "model-2": ("num_classes", "sampling"),
    "model-3": ("num_classes",),
}


def resolve(
    recipe: str, overrides: dict[str, Any], *, base: Hyperparameters | None = None
) -> Hyperparameters:
    """The recipe's hyperparameters with `overrides` (name -> value) put over them. base: of a recipe of one's own.

    Raises OptionError for an unknown recipe, a value out of range, or an override of what makes the recipe.
    """
    if base is None and recipe not in RECIPES:
        raise OptionError(
            f"recipe is {recipe!r}, expected one of {', '.join(RECIPES)}: pass -P recipe=model-1"
        )
    base = base or RECIPES[recipe]
    for name in FIXED_BY_RECIPE.get(recipe, ()):
        fixed = getattr(base, name)
        if overrides.get(name, fixed) != fixed:
            raise OptionError(
                f"{name} is {overrides[name]!r}, but recipe={recipe} means {name}={fixed}: leave out one of "
                "the two"
            )
    return replace(base, **overrides)


HYPERPARAMETER_NAMES = tuple(field.name for field in fields(Hyperparameters))
