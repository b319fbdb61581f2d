"""What a training run can vary, and the named recipes that fix it. Needs neither Keras nor TensorFlow.

A hyperparameter is one field here. The flags of train and tune, the checks, what a search varies and the table in
docs/reference/parameters.md follow from it. Strengths of augmentation are fields by their records (augmentation.py).
"""

from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any

from ich_mlflow.ct.window import Window, parse_windows
from ich_mlflow.errors import OptionError, nearest
from ich_mlflow.labels import ANY, SCHEMES, schemes_text
from ich_mlflow.models.losses import LOSSES, losses_text
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.models.slice_cnn.augmentation import AUGMENTATIONS
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.parameters import (
    Between,
    Choice,
    OneOf,
    OnlyWith,
    Parameter,
    Range,
    check_fields,
    expect,
    parameter,
    parameters_of,
)

_FROZEN = OnlyWith("frozen_epochs", Between(0, without=(0,)), example=1)

_Augmentations: Any = make_dataclass(
    "_Augmentations",
    [
        (
            name,
            type(one.default),
            field(default=one.default, metadata={"parameter": Parameter(text=one.text, check=one.check)}),
        )
        for name, one in AUGMENTATIONS.items()
    ],
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(_Augmentations):
    """One setting of everything that shapes a training run. The defaults are those of Model 1.

    Raises OptionError for a value out of range, or one that means nothing beside the others.
    """

    num_classes: int = parameter(5, schemes_text(), OneOf(*SCHEMES))
    backbone: str = parameter(
        "efficientnet-b0",
        f"the network below the head: {OneOf(*BACKBONES)}",
        OneOf(*BACKBONES),
        search=Choice(tuple(name for name, one in BACKBONES.items() if one.searched)),
    )
    image_size: int = parameter(
        224,
        "pixels a side that the backbone sees, 32 to 512 (the stored set has 256)",
        Between(32, 512, unit="pixels"),
    )
    windows: str = parameter(
        "brain",
        "brain, or three as brain,subdural,bone or 40/80,80/200,600/2800 (center/width in HU)",
        search=Choice(("brain", "brain,subdural,bone")),
    )
    context: int = parameter(
        0,
        "1: the slices before and after in the series are channels too",
        OneOf(0, 1),
        search=Choice((0, 1)),
    )
    epochs: int = parameter(10, "most epochs", Between(1, 1000))
    patience: int = parameter(
        3, "epochs without a better monitor before training stops", Between(1, unit="epochs")
    )
    monitor: str = parameter(
        "val_loss",
        "what early stopping goes by: val_loss, or val_auc (mean over labels)",
        OneOf(*MONITORS),
    )
    batch_size: int = parameter(32, "slices a step, of all GPUs together", Between(1, 4096), log=True)
    learning_rate: float = parameter(
        1e-4, "of Adam", Between(0, 1, without=(0,)), search=Range(1e-5, 3e-3, log=True), log=True
    )
    schedule: str = parameter(
        "constant",
        "of the learning rate: constant, or cosine (to a hundredth of it over all epochs)",
        OneOf("constant", "cosine"),
    )
    frozen_epochs: int = parameter(
        0,
        "epochs before the others in which the backbone is frozen and the head alone learns",
        Between(0, 1000),
        formerly="warmup_epochs",
    )
    frozen_learning_rate: float = parameter(
        1e-3,
        "of Adam in the frozen epochs",
        Between(0, 1, without=(0,)),
        only_with=_FROZEN,
        log=True,
        formerly="warmup_learning_rate",
    )
    frozen_augment: bool = parameter(
        False,
        "true augments in the frozen epochs; false computes the backbone's features once, much faster",
        only_with=_FROZEN,
        formerly="warmup_augment",
    )
    clip_norm: float = parameter(
        0.0, "largest norm of all gradients together; 0: they are not clipped", Between(0)
    )
    # Source: Loshchilov and Hutter, ICLR 2019 (AdamW).
    weight_decay: float = parameter(
        0.0,
        "share of each kernel taken off a step, times the learning rate; biases and normalisations keep theirs",
        Between(0, 1, without=(1,)),
        search=Range(1e-6, 1e-1, log=True),
        log=True,
    )
    ema: float = parameter(
        0.0,
        "momentum of the moving average of weights that is validated and kept, as 0.999; 0: the weights themselves",
        Between(0, 1, without=(1,)),
    )
    loss: str = parameter(
        "bce",
        f"{losses_text()}; val_loss is plain cross-entropy whatever the loss",
        OneOf(*LOSSES),
        search=Choice(tuple(name for name, one in LOSSES.items() if one.searched)),
    )
    # Below 1 its slope is not finite where a probability is exactly right. Default: Lin et al., ICCV 2017.
    focal_gamma: float = parameter(
        2.0,
        "with loss=focal, how much less what is right already counts",
        Between(1, 10),
        only_with=OnlyWith("loss", OneOf("focal"), example="focal"),
        search=Range(1.0, 5.0),
    )
    label_smoothing: float = parameter(
        0.0, "share by which targets are drawn to one half", Between(0, 1, without=(1,))
    )
    prior_bias: bool = parameter(
        False, "true starts the output at the prevalences that training sees, not at one half"
    )
    dropout: float = parameter(
        0.3, "share of the head's units dropped", Between(0, 1, without=(1,)), search=Range(0.0, 0.6)
    )
    # 0.99 is Keras' and suits pretrained weights; from random ones, with some hundred steps, validation would see stale
    # statistics.
    batch_norm_momentum: float = parameter(
        0.99, "of the backbone's moving statistics (ConvNeXt has none)", Between(0, 1, without=(1,))
    )
    dense_units: int = parameter(
        128, "width of the head", Between(1, 4096), search=Choice((64, 128, 256, 512)), log=True
    )
    sampling: str = parameter(
        "natural",
        "natural: each training slice once an epoch; class_balanced: every subtype in the share sampling_rate",
        OneOf("natural", "class_balanced"),
        search=Choice(("natural", "class_balanced")),
    )
    sampling_rate: float = parameter(
        0.0,
        "with class_balanced, share of an epoch's slices that show each subtype; 0: 1 / (subtypes + 1)",
        Between(0, 1, without=(1,)),
        only_with=OnlyWith("sampling", OneOf("class_balanced"), example="class_balanced"),
        search=Range(0.05, 0.3),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        parse_windows(self.windows)
        fits = not LOSSES[self.loss].needs_any or ANY in SCHEMES[self.num_classes].labels
        expect("loss", self.loss, fits, "with num_classes=6, which has `any`, or another loss")

    @property
    def parsed_windows(self) -> tuple[Window, ...]:
        return parse_windows(self.windows)


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
HYPERPARAMETERS = parameters_of(Hyperparameters)
HYPERPARAMETER_NAMES = tuple(HYPERPARAMETERS)
#: Names of a release before, and what they are called now.
FORMER_NAMES = {
    one.metadata["parameter"].formerly: name
    for name, one in HYPERPARAMETERS.items()
    if one.metadata["parameter"].formerly
}


def resolve(
    recipe: str, overrides: dict[str, Any], *, base: Hyperparameters | None = None
) -> Hyperparameters:
    """The recipe's hyperparameters with `overrides` (name -> value) put over them. base: of a recipe of one's own.

    Raises OptionError for an unknown recipe, a value out of range, or an override of what makes the recipe.
    """
    if base is None and recipe not in RECIPES:
        raise OptionError(
            f"recipe is {recipe!r}, expected one of {', '.join(RECIPES)}{nearest(recipe, RECIPES)}: pass -P "
            "recipe=model-1"
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


def from_values(values: dict[str, Any]) -> Hyperparameters:
    """The hyperparameters of values by name, as a recipe or a run has them, names of a release before among them."""
    known = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    for name in known:
        if name not in HYPERPARAMETERS:
            raise OptionError(
                f"there is no hyperparameter {name}{nearest(name, HYPERPARAMETERS)}: leave it out"
            )
    return Hyperparameters(**known)
