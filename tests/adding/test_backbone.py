import json

import pytest

from tests.adding.page import python, walked

CODE = """
import contextlib, io, json, time
import keras
import numpy as np
from ich_mlflow.cli import parse
from ich_mlflow.ct.window import BRAIN
from ich_mlflow.errors import ModelError, OptionError
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.saliency import saliency_maps
from ich_mlflow.stages.pretrain.options import PretrainOptions
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.stages import reference
from ich_mlflow.training.initial_weights import initial_backbone
from ich_mlflow.tuning.space import Space
from ich_mlflow.parameters import parse_dimension
from ich_mlflow.models.recipes import HYPERPARAMETERS

def refused(kind, make):
    try:
        make()
    except kind as error:
        return str(error)

NAME = "three-convolutions"
parse(TrainOptions, ["--backbone", NAME])
def help_of(options):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        parse(options, ["--help"])
    return " ".join(told.getvalue().split()).replace("- ", "-")

keras.utils.set_random_seed(0)
hu = np.random.default_rng(0).integers(-1000, 1000, size=(2, 256, 256, 3)).astype(np.float32)
starts, shapes, maps, seconds = [], [], [], []
for context in (0, 1):
    began = time.perf_counter()
    start = initial_backbone("auto", image_size=32, name=NAME, num_slices=1 + 2 * context)
    model = build_classifier(
        num_labels=5, image_size=32, windows=(BRAIN,), context=context, backbone=start.backbone
    )
    seconds.append(time.perf_counter() - began)
    slices = hu[..., : 1 + 2 * context]
    probabilities = np.asarray(model(slices))
    assert ((probabilities > 0) & (probabilities < 1)).all()
    starts.append(start.name)
    shapes.append(probabilities.shape)
    maps.append(saliency_maps(model, slices).shape)
dimension = parse_dimension(HYPERPARAMETERS["backbone"], f"efficientnet-b0|{NAME}")
print(json.dumps({
    "starts": starts, "said": start.said, "shapes": shapes, "maps": maps, "seconds": min(seconds),
    "imagenet": refused(ModelError, lambda: initial_backbone("imagenet", image_size=32, name=NAME)),
    "unknown": refused(OptionError, lambda: parse(TrainOptions, ["--backbone", "three-convolution"])),
    "pretrain": refused(OptionError, lambda: parse(PretrainOptions, ["--backbone", NAME])),
    "pretrain_help": help_of(PretrainOptions), "train_help": help_of(TrainOptions),
    "searched": str(Space.of(Hyperparameters(), {}).dimensions["backbone"]),
    "said_to_search": str(Space.of(Hyperparameters(), {"backbone": dimension}).dimensions["backbone"]),
    "page": reference.page(),
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return json.loads(python(walked("backbone.md", tmp_path_factory.mktemp("backbone")), CODE))


def test_a_classifier_with_the_backbone_of_the_page_is_built_at_once_and_gives_a_probability_a_label(told):
    assert told["shapes"] == [[2, 5], [2, 5]]  # of slices alone, and amid their neighbours
    assert told["maps"] == [[2, 5, 4, 4], [2, 5, 4, 4]]  # 32 pixels, halved three times
    assert told["seconds"] < 10


def test_without_imagenet_weights_it_starts_at_random_and_says_so(told):
    assert told["starts"] == ["random", "random"]
    assert "there are none of Three convolutions), so Three convolutions starts at random" in told["said"]
    assert told["imagenet"].startswith(
        "weights=imagenet can't be had (there are none of Three convolutions): pass -P backbone="
    )


def test_the_flag_takes_it_and_help_and_reference_list_it(told):
    assert "three-convolutions, efficientnet-b0, " in told["train_help"]
    assert told["unknown"].endswith("(did you mean three-convolutions?): pass -P backbone=…")
    row = next(line for line in told["page"].splitlines() if line.startswith("| `backbone` |"))
    assert "three-convolutions, efficientnet-b0" in row


def test_a_search_tries_it_only_where_that_is_said(told):
    assert told["searched"] == "efficientnet-b0 | efficientnet-lite0"
    assert told["said_to_search"] == "efficientnet-b0 | three-convolutions"


def test_without_taps_pretraining_does_not_offer_it(told):
    assert told["pretrain"].startswith("backbone is 'three-convolutions', expected efficientnet-b0 or")
    assert "three-convolutions" not in told["pretrain_help"]
