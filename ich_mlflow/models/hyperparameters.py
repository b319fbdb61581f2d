"""The hyperparameters that every family's training has, each declared once. Needs neither Keras nor TensorFlow.

A family's Hyperparameters inherit them all, or take each in its place by `shared`. Where its own default, or what a
search varies, is another, it says so by `shared`, too.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ich_mlflow.labels import ANY, SCHEMES, schemes_text
from ich_mlflow.models.losses import LOSSES, losses_text
from ich_mlflow.models.monitors import MONITORS
from ich_mlflow.parameters import (
    Between,
    Choice,
    OneOf,
    OnlyWith,
    Range,
    check_fields,
    declared,
    expect,
    parameter,
)

#: What hyperparameters are for: their headings in --help.
NETWORK, SEEN, TAUGHT = "The network", "What the network sees of a slice", "What it is taught"
STEPS = "How long and how fast it learns"


@dataclass(frozen=True, kw_only=True)
class TrainingHyperparameters:
    """How a network of any family is trained. Raises OptionError for a value out of range, or one that means nothing.

    frozen_epochs: before the others, with a part of the network at rest; a family can make it a hyperparameter.
    in_memory: names of what a step's memory grows with, two or more; the first two are what can be lowered.
    """

    num_classes: int = parameter(5, schemes_text(), OneOf(*SCHEMES), group=NETWORK)
    epochs: int = parameter(10, "largest number of epochs", Between(1, 1000), group=STEPS)
    patience: int = parameter(
        3,
        "epochs without improvement of the monitored metric (monitor=) before training stops",
        Between(1, unit="epochs"),
        group=STEPS,
    )
    monitor: str = parameter(
        "val_loss",
        "metric that early stopping goes by: val_loss (cross-entropy after recalibration), or val_auc (mean over "
        "labels)",
        OneOf(*MONITORS),
        group=STEPS,
    )
    kept_epoch: str = parameter(
        "best",
        "epoch whose weights are kept: best (by monitor=, with early stopping), or last (all epochs are run, and "
        "validation does not choose among them)",
        OneOf("best", "last"),
        group=STEPS,
    )
    learning_rate: float = parameter(
        1e-4,
        "learning rate of Adam",
        Between(0, 1, without=(0,)),
        search=Range(1e-5, 3e-3, log=True),
        log=True,
        group=STEPS,
    )
    schedule: str = parameter(
        "constant",
        "course of the learning rate: constant, or cosine (falls to a hundredth over all epochs)",
        OneOf("constant", "cosine"),
        group=STEPS,
    )
    clip_norm: float = parameter(
        0.0, "largest norm of all gradients together; 0: no clipping", Between(0), group=STEPS
    )
    # Source: Loshchilov and Hutter, ICLR 2019 (AdamW).
    weight_decay: float = parameter(
        0.0,
        "share of each kernel that a step takes off, multiplied by the learning rate; biases and normalisation "
        "layers do not decay",
        Between(0, 1, without=(1,)),
        search=Range(1e-6, 1e-1, log=True),
        log=True,
        group=STEPS,
    )
    ema: float = parameter(
        0.0,
        "momentum of the moving average of weights that is validated and kept, for example 0.999; 0: no average, "
        "the weights themselves",
        Between(0, 1, without=(1,)),
        group=STEPS,
    )
    loss: str = parameter(
        "bce",
        f"loss that is minimised: {losses_text()}; val_loss is the recalibrated cross-entropy with every loss",
        OneOf(*LOSSES),
        search=Choice(tuple(name for name, one in LOSSES.items() if one.searched)),
        group=TAUGHT,
    )
    # Below 1 its slope is not finite where a probability is exactly right. Default: Lin et al., ICCV 2017.
    focal_gamma: float = parameter(
        2.0,
        "with loss=focal, exponent by which slices that are already right count less; higher: still less",
        Between(1, 10),
        only_with=OnlyWith("loss", OneOf("focal"), example="focal"),
        search=Range(1.0, 5.0),
        group=TAUGHT,
    )
    label_smoothing: float = parameter(
        0.0, "share by which targets are moved towards one half", Between(0, 1, without=(1,)), group=TAUGHT
    )

    frozen_epochs: ClassVar[int] = 0
    in_memory: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        check_fields(self)
        expect_any(self, "loss", LOSSES[self.loss].needs_any, "another loss")


def shared(name: str, **changed: Any) -> Any:
    """A field of TrainingHyperparameters for a family's own class; `changed`: default, search or only_with."""
    one = TrainingHyperparameters.__dataclass_fields__[name]
    default = changed.pop("default", one.default)
    return field(default=default, metadata={"parameter": replace(declared(one), **changed)})


def expect_any(hyperparameters: Any, name: str, needs_any: bool, other: str) -> None:
    """Raise OptionError where the value of that name needs the label `any`, which the classes don't have."""
    has_any = ANY in SCHEMES[hyperparameters.num_classes].labels
    expected = f"with num_classes=6, which has `any`, or {other}"
    expect(name, getattr(hyperparameters, name), has_any or not needs_any, expected)
