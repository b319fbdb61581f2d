"""What a training of a network over series can vary. Needs neither Keras nor TensorFlow.

A hyperparameter is one field, here or in models/hyperparameters.py; flags, checks, search and the table of parameters
follow from it.
"""

from dataclasses import dataclass
from typing import ClassVar

from ich_mlflow.models.exam_sequence.kinds import KINDS, kinds_text
from ich_mlflow.models.hyperparameters import TrainingHyperparameters, shared
from ich_mlflow.parameters import Between, Choice, OneOf, OnlyWith, parameter

#: With inputs: what the network sees of a slice.
OUTPUTS, FEATURES = "outputs", "features"
SERIES = "The network over the slices of a series (family=exam_sequence)"
_DEEP = tuple(name for name in KINDS if name != "gru")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(TrainingHyperparameters):
    """One setting of the network over series. Raises OptionError for a value that is out of range or means nothing."""

    epochs: int = shared("epochs", default=60)
    patience: int = shared("patience", default=15)
    learning_rate: float = shared("learning_rate", default=2e-3)
    weight_decay: float = shared("weight_decay", default=1e-3)
    # a search is better spent on what joins the slices
    loss: str = shared("loss", search=None)
    focal_gamma: float = shared("focal_gamma", search=None)

    kind: str = parameter(
        "conv",
        f"layers that combine the slices of a series: {kinds_text()}",
        OneOf(*KINDS),
        search=Choice(tuple(KINDS)),
        group=SERIES,
    )
    width: int = parameter(
        32,
        "number of units that each slice is projected to",
        Between(4, 256),
        search=Choice((16, 32, 64)),
        log=True,
        group=SERIES,
    )
    depth: int = parameter(
        2,
        "number of layers that combine slices",
        Between(1, 4),
        only_with=OnlyWith("kind", OneOf(*_DEEP), example="conv"),
        group=SERIES,
    )
    inputs: str = parameter(
        OUTPUTS,
        "what is read of each slice: outputs (the slice network's logits of it and of its mirror image), or "
        "features (its 128 features, too)",
        OneOf(OUTPUTS, FEATURES),
        group=SERIES,
    )
    sequence_dropout: float = parameter(
        0.3, "share of the projected inputs dropped", Between(0, 1, without=(1,)), group=SERIES
    )

    in_memory: ClassVar[tuple[str, ...]] = ("width", "depth")


RECIPES: dict[str, Hyperparameters] = {"exam-sequence": Hyperparameters()}
#: What a recipe says and an option may not contradict.
FIXED_BY_RECIPE: dict[str, tuple[str, ...]] = {}
