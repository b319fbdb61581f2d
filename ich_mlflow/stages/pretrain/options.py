"""What pretrain takes."""

from dataclasses import dataclass

from ich_mlflow.models.slice_cnn.backbones import pretrainable
from ich_mlflow.parameters import Between, Either, OneOf, check_fields, expect, parameter
from ich_mlflow.stages.common.options import (
    PRETRAINING_SEED,
    PRETRAINING_SEEDS,
    WEIGHTS_FILE,
    WEIGHTS_MODEL,
    WEIGHTS_PATH,
)

#: The start whose convolutions are those of EfficientNet-Lite0.
LITE0_START = "lite0"
#: Headings of --help.
_PHANTOMS = "The phantoms"
_LEARNING = "How the network learns"


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Make the weights that weights=phantom begins with: pretrain a backbone on thousands of phantom exams.

    Its targets are the labels of each slice and where the blood is. The log is an MLflow run, the result a file.
    """

    backbone: str = parameter(
        "efficientnet-b0",
        f"backbone that is pretrained: {' or '.join(pretrainable())}",
        OneOf(*pretrainable()),
    )
    # auto and phantom are none of them: what the package comes with would be made from itself.
    weights: str = parameter(
        LITE0_START,
        "what pretraining itself begins with: lite0 (the convolutions of EfficientNet-Lite0, of ImageNet, which come "
        "with the package), imagenet, random, a .keras, .weights.h5 or .npz file, or a model's",
        Either((OneOf(LITE0_START, "imagenet", "random"), WEIGHTS_FILE, WEIGHTS_MODEL)),
        reads=WEIGHTS_PATH,
    )
    exams: int = parameter(2000, "phantom exams", Between(40, 100_000), group=_PHANTOMS)
    phantom_edition: int = parameter(
        1,
        "edition of the phantoms: 1 as in release 0.1, 2 nearer to real head CT",
        OneOf(1, 2),
        group=_PHANTOMS,
    )
    bleeds: float = parameter(
        0.35, "share of the exams that show each subtype", Between(0, 1, without=(0,)), group=_PHANTOMS
    )
    seed: int = parameter(
        PRETRAINING_SEED,
        "random seed of cohort, split and network, 4000000000 or more: seeds that no other command takes",
        Between(PRETRAINING_SEEDS.start, PRETRAINING_SEEDS.stop - 1),
    )
    epochs: int = parameter(
        15,
        "number of epochs, each a tenth of a pass over the cohort",
        Between(1, 10_000),
        group=_LEARNING,
    )
    batch_size: int = parameter(32, "slices in one training step", Between(1, 4096), group=_LEARNING)
    image_sizes: str = parameter(
        "96,128,160",
        "sizes of the image in pixels a side, multiples of 32, which batches take in turn",
        group=_LEARNING,
    )
    learning_rate: float = parameter(
        1e-3,
        "highest learning rate of Adam, which rises at first and then falls as a cosine",
        Between(0, 1, without=(0,)),
        group=_LEARNING,
    )
    lesion_weight: float = parameter(
        1.0,
        "weight of the loss that teaches where the blood is; 0: labels alone",
        Between(0, 1000),
        group=_LEARNING,
    )
    out: str = parameter("data/pretrained", "folder of the file of weights")
    resume: bool = parameter(True, "true goes on with the unfinished pretraining that has these options")
    checkpoints: str = parameter("checkpoints", "folder for the checkpoints, written after each epoch")

    def __post_init__(self) -> None:
        check_fields(self)
        sizes = self.image_sizes.split(",")
        valid = all(size.isdecimal() and int(size) % 32 == 0 and 32 <= int(size) <= 512 for size in sizes)
        # Keras takes the shape of all batches from the first two.
        once = len(set(sizes)) == len(sizes)
        expected = "multiples of 32 from 32 to 512, each once, with commas, as 96,128,160"
        expect("image_sizes", self.image_sizes, valid and once, expected)

    @property
    def parsed_image_sizes(self) -> tuple[int, ...]:
        """Pixels a side."""
        return tuple(int(size) for size in self.image_sizes.split(","))
