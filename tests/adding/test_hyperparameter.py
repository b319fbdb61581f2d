import json

import pytest

from tests.adding.page import python, walked

CODE = """
import contextlib, io, json
from dataclasses import asdict
import keras
import numpy as np
from ich_mlflow.cli import parse
from ich_mlflow.errors import OptionError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters as OfSequence
from ich_mlflow.models.recipes import HYPERPARAMETERS, from_values
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.parameters import parse_dimension
from ich_mlflow.stages import reference
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions
from ich_mlflow.training.loop import make_optimizer
from ich_mlflow.tuning.space import Space

def refused(make):
    try:
        make()
    except OptionError as error:
        return str(error)

def stepped(gradients, **said):
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = make_optimizer(Hyperparameters(learning_rate=0.1, **said), num_steps=2)
    for gradient in gradients:
        optimizer.apply([np.array([gradient], np.float32)], [weight])
    return float(weight.numpy()[0])

told = io.StringIO()
with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
    parse(TrainOptions, ["--help"])
tune = parse(TuneOptions, ["--clip_value", "0.01..1"])
dimension = parse_dimension(HYPERPARAMETERS["clip_value"], tune.clip_value)
print(json.dumps({
    "free": stepped([10, 1]), "clipped": stepped([10, 1], clip_value=1),
    "help": " ".join(told.getvalue().split("--clip_value")[1].split("--")[0].split()),
    "range": str(dimension),
    "searched": [
        "clip_value" in Space.of(Hyperparameters(), said).dimensions for said in ({}, {"clip_value": dimension})
    ],
    "page": reference.page(),
    "logged": asdict(Hyperparameters(clip_value=0.5))["clip_value"],
    "of_sequence": OfSequence(clip_value=0.5).clip_value,
    "before": from_values({"clip_norm": 1.0}).clip_value,
    "negative": refused(lambda: parse(TrainOptions, ["--clip_value", "-1"])),
    "both": refused(lambda: parse(TrainOptions, ["--clip_value", "1", "--clip_norm", "1"])),
}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return json.loads(python(walked("hyperparameter.md", tmp_path_factory.mktemp("hyperparameter")), CODE))


def test_the_hyperparameter_of_the_page_has_its_effect_in_the_optimiser(told):
    # Adam's step is rate * mean / root of mean square: of the gradients 1, 1 (10 is clipped) it is 0.1 twice.
    assert told["clipped"] == pytest.approx(-0.2, abs=1e-4)
    # Of 10, 1 the second has mean (0.09 * 10 + 0.1 * 1) / (1 - 0.9 ** 2) = 5.2632 and mean square
    # (0.000999 * 100 + 0.001 * 1) / (1 - 0.999 ** 2) = 50.475, whose root is 7.1046: 0.1 * 0.7408.
    assert told["free"] == pytest.approx(-0.1741, abs=1e-4)


def test_it_is_a_flag_of_train_and_a_row_of_the_reference(told):
    text = "largest value of each gradient; 0: no clipping"
    assert told["help"] == f"CLIP_VALUE {text} (default: the recipe's, 0 in reference)"
    assert f"| `clip_value` | 0 | 0 or more; with clip_norm=0 | {text} |  |" in told["page"]


def test_a_search_varies_it_where_a_range_is_said(told):
    assert told["range"] == "0.01 .. 1 (log)"
    assert told["searched"] == [False, True]


def test_a_runs_parameters_know_it_and_a_recipe_from_before_has_the_default(told):
    assert told["logged"] == told["of_sequence"] == 0.5
    assert told["before"] == 0


def test_what_it_may_not_be_is_refused(told):
    assert told["negative"].startswith("clip_value is -1.0, expected 0 or more")
    assert told["both"].startswith("clip_value is 1.0, expected with clip_norm=0, or 0")
