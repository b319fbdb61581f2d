import json

import pytest

from tests.adding.page import ROOT, python, walked

# Slices of water, still but for what is said: noise alone is what remains.
CODE = """
import contextlib, io, json
import numpy as np
from ich_mlflow.cli import parse
from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.augmentation import AUGMENTATIONS, augment_slices, num_draws
from ich_mlflow.models.recipes import HYPERPARAMETERS
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.parameters import parse_dimension
from ich_mlflow.stages import reference
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.tune.options import TuneOptions

def augmented(noise_hu, hu, draws, **strengths):
    return augment_slices(hu, draws, Hyperparameters(noise_hu=noise_hu, **strengths))

def refused(make):
    try:
        make()
    except OptionError as error:
        return str(error)

still = dict(rotation_degrees=0, zoom=0, shift=0, flip=False)
water = np.zeros((2, 256, 256, 1), np.int16)
draws = np.random.default_rng(0).random((2, num_draws()))
noisy = augmented(10, water, draws, **still)
told = io.StringIO()
with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
    parse(TrainOptions, ["--help"])
hu = np.random.default_rng(1).integers(-1000, 1000, size=(2, 64, 64, 1)).astype(np.int16)
tune = parse(TuneOptions, ["--noise_hu", "0..20"])
print(json.dumps({
    "mean": float(noisy.mean()), "deviation": float(noisy.std()), "dtype": str(noisy.dtype),
    "twice_as_strong": bool(np.allclose(augmented(20, water, draws, **still), 2 * noisy)),
    "slices_alike": bool(np.array_equal(noisy[0], noisy[1])),
    "alone_alike": bool(np.array_equal(augmented(10, water[1:], draws[1:], **still)[0], noisy[1])),
    "draws": num_draws(),
    "none": augmented(0, hu, draws).tobytes().hex(),
    "help": told.getvalue(),
    "range": str(parse_dimension(HYPERPARAMETERS["noise_hu"], tune.noise_hu)),
    "train": refused(lambda: parse(TrainOptions, ["--noise_hu", "101"])),
    "tune": refused(lambda: parse(TuneOptions, ["--noise_hu", "0..101"])),
    "here": refused(lambda: Hyperparameters(noise_hu=-1)),
    "page": reference.page(),
}))
"""
# The same slices and draws without the page's augmentation.
WITHOUT = """
import numpy as np
from ich_mlflow.models.slice_cnn.augmentation import augment_slices, num_draws
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters

draws = np.random.default_rng(0).random((2, num_draws()))
hu = np.random.default_rng(1).integers(-1000, 1000, size=(2, 64, 64, 1)).astype(np.int16)
print(augment_slices(hu, draws, Hyperparameters()).tobytes().hex(), end="")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return json.loads(python(walked("augmentation.md", tmp_path_factory.mktemp("augmentation")), CODE))


def test_noise_of_10_hu_on_water_has_mean_0_and_deviation_10(told):
    # of 131,072 pixels the mean strays by 10 / sqrt(131,072) = 0.03, the deviation by 0.02
    assert told["mean"] == pytest.approx(0, abs=0.15)
    assert told["deviation"] == pytest.approx(10, abs=0.1)
    assert told["dtype"] == "float32"
    assert told["twice_as_strong"]


def test_each_slice_has_noise_of_its_own_whatever_the_batch(told):
    assert not told["slices_alike"]
    assert told["alone_alike"]


def test_of_strength_0_every_bit_is_as_it_was_before_the_page(told):
    assert told["draws"] == 5
    assert told["none"] == python(ROOT, WITHOUT)


def test_the_strength_is_a_flag_a_range_of_a_search_and_a_row_of_the_reference(told):
    assert "--noise_hu NOISE_HU" in told["help"]
    assert "the recipe's, 0 in reference" in told["help"].split("--noise_hu")[1].split("--")[0]
    assert told["range"] == "0 .. 20"
    assert "| `noise_hu` | 0 | 0 to 100 HU | standard deviation of the noise" in told["page"]


def test_a_strength_out_of_range_is_refused_everywhere(told):
    assert told["train"].startswith("noise_hu is 101.0, expected 0 to 100 HU")
    assert told["tune"].startswith("noise_hu is 101.0, expected 0 to 100 HU")
    assert told["here"].startswith("noise_hu is -1, expected 0 to 100 HU")
