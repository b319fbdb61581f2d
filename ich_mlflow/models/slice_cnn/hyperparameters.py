"""What a training of the slice CNN can vary, and its named recipes. Needs neither Keras nor TensorFlow.

A hyperparameter is one field here; one that every family's training has is declared in models/hyperparameters.py, and
here in its place. The flags of train and tune, the checks, what a search varies and the table in
docs/reference/parameters.md follow from it. Strengths of augmentation are fields by their records (augmentation.py).
"""

from dataclasses import dataclass, field, make_dataclass
from typing import Any, ClassVar

from ich_mlflow.ct.frame import HEAD, IMAGE
from ich_mlflow.ct.window import Window, parse_windows
from ich_mlflow.models.hyperparameters import NETWORK, SEEN, STEPS, TAUGHT, expect_any, shared
from ich_mlflow.models.losses import LOSSES
from ich_mlflow.models.slice_cnn.augmentation import AUGMENTATIONS
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.heads import HEADS, heads_text
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
)

#: A head that brings its own loss leaves nothing to choose of it.
_ANY_LOSS = OnlyWith(
    "head", OneOf(*(name for name, one in HEADS.items() if one.loss is None)), example="flat"
)
_FROZEN = OnlyWith("frozen_epochs", Between(0, without=(0,)), example=1)

_Augmentations: Any = make_dataclass(
    "_Augmentations",
    [
        (
            name,
            type(one.default),
            field(
                default=one.default,
                metadata={"parameter": Parameter(text=one.text, check=one.check, group="Augmentation")},
            ),
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

    num_classes: int = shared("num_classes")
    backbone: str = parameter(
        "efficientnet-b0",
        f"the network below the head: {OneOf(*BACKBONES)}",
        OneOf(*BACKBONES),
        search=Choice(tuple(name for name, one in BACKBONES.items() if one.searched)),
        group=NETWORK,
    )
    image_size: int = parameter(
        224,
        "pixels a side that the backbone sees, 32 to 512 (the stored set has 256)",
        Between(32, 512, unit="pixels"),
        group=SEEN,
    )
    framing: str = parameter(
        IMAGE,
        "what the network sees of a slice: image (all of it), or head (the square that holds the head, so finer)",
        OneOf(IMAGE, HEAD),
        group=SEEN,
    )
    windows: str = parameter(
        "brain",
        "windows of the network's input: brain alone, or three by name as brain,subdural,bone or by center/width "
        "in HU as 40/80,80/200,600/2800",
        search=Choice(("brain", "brain,subdural,bone")),
        group=SEEN,
    )
    context: int = parameter(
        0,
        "1: the slices before and after in the series are channels too; 0: the slice alone",
        OneOf(0, 1),
        search=Choice((0, 1)),
        group=SEEN,
    )
    epochs: int = shared("epochs")
    patience: int = shared("patience")
    monitor: str = shared("monitor")
    kept_epoch: str = shared("kept_epoch")
    batch_size: int = parameter(
        32, "slices in one training step, over all GPUs together", Between(1, 4096), log=True, group=STEPS
    )
    learning_rate: float = shared("learning_rate")
    schedule: str = shared("schedule")
    frozen_epochs: int = parameter(
        0,
        "number of epochs before all others in which the backbone is frozen and only the head learns",
        Between(0, 1000),
        formerly="warmup_epochs",
        group=STEPS,
    )
    frozen_learning_rate: float = parameter(
        1e-3,
        "learning rate of Adam in the frozen epochs",
        Between(0, 1, without=(0,)),
        only_with=_FROZEN,
        log=True,
        formerly="warmup_learning_rate",
        group=STEPS,
    )
    frozen_augment: bool = parameter(
        False,
        "true augments in the frozen epochs; false computes the backbone's features only once, which is much "
        "faster",
        only_with=_FROZEN,
        formerly="warmup_augment",
        group=STEPS,
    )
    clip_norm: float = shared("clip_norm")
    weight_decay: float = shared("weight_decay")
    ema: float = shared("ema")
    head: str = parameter(
        "flat", f"how logits become probabilities: {heads_text()}", OneOf(*HEADS), group=NETWORK
    )
    loss: str = shared("loss", only_with=_ANY_LOSS)
    focal_gamma: float = shared("focal_gamma")
    label_smoothing: float = shared("label_smoothing", only_with=_ANY_LOSS)
    lesion_weight: float = parameter(
        0.0,
        "weight of a second loss, by which a lesion head learns from stored masks where the blood is; 0: no "
        "lesion head",
        Between(0),
        log=True,
        group=TAUGHT,
    )
    prior_bias: bool = parameter(
        False, "true starts the output at the prevalences that training sees, not at one half", group=NETWORK
    )
    dropout: float = parameter(
        0.3,
        "share of the head's units dropped",
        Between(0, 1, without=(1,)),
        search=Range(0.0, 0.6),
        group=NETWORK,
    )
    # 0.99 is Keras' and suits pretrained weights; from random ones, with some hundred steps, validation would see stale
    # statistics.
    batch_norm_momentum: float = parameter(
        0.99,
        "momentum of the moving statistics in the backbone's batch normalisation (ConvNeXt has none)",
        Between(0, 1, without=(1,)),
        group=NETWORK,
    )
    dense_units: int = parameter(
        128,
        "width of the head",
        Between(1, 4096),
        search=Choice((64, 128, 256, 512)),
        log=True,
        group=NETWORK,
    )
    sampling: str = parameter(
        "natural",
        "how an epoch's slices are chosen: natural (each training slice once), class_balanced (each subtype on "
        "the share sampling_rate= of them)",
        OneOf("natural", "class_balanced"),
        search=Choice(("natural", "class_balanced")),
        group=TAUGHT,
    )
    sampling_rate: float = parameter(
        0.0,
        "with sampling=class_balanced, share of an epoch's slices that show each subtype; 0: 1 / (subtypes + 1)",
        Between(0, 1, without=(1,)),
        only_with=OnlyWith("sampling", OneOf("class_balanced"), example="class_balanced"),
        search=Range(0.05, 0.3),
        group=TAUGHT,
    )

    in_memory: ClassVar[tuple[str, ...]] = ("batch_size", "image_size", "context")

    def __post_init__(self) -> None:
        check_fields(self)
        parse_windows(self.windows)
        expect_any(self, "loss", LOSSES[self.loss].needs_any, "another loss")
        expect_any(self, "head", HEADS[self.head].needs_any, "head=flat")
        self._expect_lesions_possible()

    def _expect_lesions_possible(self) -> None:
        """A lesion head takes maps of 1/4 to 1/32 of the image, and learns with the whole network alone."""
        for possible, expected in (
            (BACKBONES[self.backbone].taps, f"0 with backbone={self.backbone}, which has no maps for it"),
            (not self.image_size % 32, f"0 with image_size={self.image_size}, or a multiple of 32 for that"),
            (
                not self.frozen_epochs,
                f"0 with frozen_epochs={self.frozen_epochs}, in which it would learn nothing",
            ),
        ):
            expect("lesion_weight", self.lesion_weight, not self.lesion_weight or bool(possible), expected)

    @property
    def parsed_windows(self) -> tuple[Window, ...]:
        return parse_windows(self.windows)


#: Models 1 to 3 are the reference models, `reference` their common setting to vary. `demo` fits the built-in
#: phantom cohort and two cores: a small image, and few steps from weights that start ahead. `small-cohort` is for tens
#: to hundreds of patients of one's own: by it, but for other scanners, the demonstration model of CT-ICH was trained.
#: Framing is what gained most on heads not seen (docs/results.md). Other scanners differ by no more than two may that
#: pass their tests (water within 4 HU of 0, IEC 61223-3-5); of gain, offset, blur and noise by no more than pretraining
#: has shown (training/pretraining_batches.py). None has a lesion head: whether it makes labels better is not settled.
RECIPES: dict[str, Hyperparameters] = {
    "model-1": Hyperparameters(),
    "model-2": Hyperparameters(sampling="class_balanced"),
    "model-3": Hyperparameters(num_classes=4),
    "reference": Hyperparameters(),
    "demo": Hyperparameters(
        image_size=96,
        epochs=2,
        batch_size=16,
        learning_rate=3e-4,
        batch_norm_momentum=0.9,
        sampling="class_balanced",
        monitor="val_auc",
    ),
    "small-cohort": Hyperparameters(
        image_size=160,
        framing="head",
        windows="brain,subdural,bone",
        rotation_degrees=25.0,
        hu_gain=0.03,
        hu_offset=4.0,
        kernel_change=0.3,
        blur_pixels=0.6,
        noise_hu=3.0,
        epochs=12,
        kept_epoch="last",
        batch_size=16,
        learning_rate=1e-3,
        schedule="cosine",
        batch_norm_momentum=0.9,
    ),
}
#: What a recipe says and an option may not contradict: without it the recipe is another model.
FIXED_BY_RECIPE: dict[str, tuple[str, ...]] = {
    "model-1": ("num_classes", "sampling"),
    "model-2": ("num_classes", "sampling"),
    "model-3": ("num_classes",),
}
