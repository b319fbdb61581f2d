import json

import numpy as np
import pytest

from tests.adding.page import ROOT, python, walked

# Slices of water, still but for what is said: shading alone is what remains.
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

def augmented(shading_hu, hu, draws, **strengths):
    return augment_slices(hu, draws, Hyperparameters(shading_hu=shading_hu, **strengths))

def refused(make):
    try:
        make()
    except OptionError as error:
        return str(error)

still = dict(rotation_degrees=0, zoom=0, shift=0, flip=False)
water = np.zeros((2, 256, 256, 1), np.int16)
draws = np.random.default_rng(0).random((2, num_draws()))
shaded = augmented(10, water, draws, **still)
told = io.StringIO()
with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
    parse(TrainOptions, ["--help"])
hu = np.random.default_rng(1).integers(-1000, 1000, size=(2, 64, 64, 1)).astype(np.int16)
tune = parse(TuneOptions, ["--shading_hu", "0..20"])
print(json.dumps({
    "first_row": shaded[0, 0, :, 0].tolist(), "rows_alike": bool((shaded == shaded[:, :1]).all()),
    "dtype": str(shaded.dtype),
    "twice_as_strong": bool(np.allclose(augmented(20, water, draws, **still), 2 * shaded)),
    "slices_alike": bool(np.array_equal(shaded[0], shaded[1])),
    "alone_alike": bool(np.array_equal(augmented(10, water[1:], draws[1:], **still)[0], shaded[1])),
    "draws": num_draws(),
    "none": augmented(0, hu, draws).tobytes().hex(),
    "help": told.getvalue(),
    "range": str(parse_dimension(HYPERPARAMETERS["shading_hu"], tune.shading_hu)),
    "train": refused(lambda: parse(TrainOptions, ["--shading_hu", "101"])),
    "tune": refused(lambda: parse(TuneOptions, ["--shading_hu", "0..101"])),
    "here": refused(lambda: Hyperparameters(shading_hu=-1)),
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


def test_shading_of_10_hu_on_water_goes_evenly_from_one_side_to_its_opposite_on_the_other(told):
    row = np.array(told["first_row"])
    assert 0 < abs(row[0]) <= 10
    # 255 equal steps from a side to its opposite
    assert np.diff(row) == pytest.approx(np.full(255, -2 * row[0] / 255), abs=1e-5)
    assert row[-1] == pytest.approx(-row[0])
    assert told["rows_alike"]
    assert told["dtype"] == "float32"
    assert told["twice_as_strong"]


def test_each_slice_has_shading_of_its_own_whatever_the_batch(told):
    assert not told["slices_alike"]
    assert told["alone_alike"]


def test_of_strength_0_every_bit_is_as_it_was_before_the_page(told):
    assert told["draws"] == 5
    assert told["none"] == python(ROOT, WITHOUT)


def test_the_strength_is_a_flag_a_range_of_a_search_and_a_row_of_the_reference(told):
    assert "--shading_hu SHADING_HU" in told["help"]
    of_flag = told["help"].split("--shading_hu")[1].split("--")[0]
    assert "the recipe's, 0 in reference" in " ".join(of_flag.split())
    assert told["range"] == "0 .. 20"
    assert "| `shading_hu` | 0 | 0 to 100 HU | largest HU that augmentation adds" in told["page"]


def test_a_strength_out_of_range_is_refused_everywhere(told):
    assert told["train"].startswith("shading_hu is 101.0, expected 0 to 100 HU")
    assert told["tune"].startswith("shading_hu is 101.0, expected 0 to 100 HU")
    assert told["here"].startswith("shading_hu is -1, expected 0 to 100 HU")
