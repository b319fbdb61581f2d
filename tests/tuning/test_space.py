import optuna
import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters as OfSequence
from ich_mlflow.models.recipes import HYPERPARAMETERS, RECIPES
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.parameters import Choice, Range, is_dimension, parse_dimension
from ich_mlflow.tuning.space import Space, dimensions_of

BASE = Hyperparameters()
DIMENSIONS = dimensions_of(BASE)


def fixed_trial(**values):
    return optuna.trial.FixedTrial(values)


def test_a_trial_moves_its_dimensions_and_leaves_the_rest():
    space = Space(base=BASE, dimensions={"dropout": Range(0.0, 0.6), "dense_units": Choice((64, 512))})
    setting = space.suggest(fixed_trial(dropout=0.5, dense_units=512))
    assert (setting.dropout, setting.dense_units) == (0.5, 512)
    assert setting.learning_rate == BASE.learning_rate


def test_augmentation_is_a_factor_of_the_bases_rotation_shift_and_zoom():
    setting = Space(base=BASE, dimensions={}).setting({"augmentation": 2.0})
    assert (setting.rotation_degrees, setting.shift, setting.zoom) == (20.0, 0.1, 0.2)


def test_gamma_is_drawn_for_focal_loss_alone():
    space = Space(base=BASE, dimensions={"focal_gamma": Range(1.0, 5.0), "loss": Choice(("bce", "focal"))})
    assert space.suggest(fixed_trial(loss="focal", focal_gamma=3.0)).focal_gamma == 3.0
    bce = fixed_trial(loss="bce", focal_gamma=3.0)
    assert space.suggest(bce).focal_gamma == 2.0
    assert "focal_gamma" not in bce.params


def test_the_base_is_the_first_trial_with_what_counts_there():
    values = Space.of(RECIPES["demo"], {}).of_base()
    assert values["learning_rate"] == 3e-4
    assert values["augmentation"] == 1.0
    # 0 means one part in labels and one; the demo recipe samples by class, and its loss is no focal one
    assert values["sampling_rate"] == pytest.approx(1 / 6)
    assert "focal_gamma" not in values
    assert values["weight_decay"] == 1e-6  # 0 has no logarithm, so the range begins near it


def test_what_was_fixed_does_not_vary():
    space = Space.of(BASE, {}, fixed=("dropout", "shift"))
    assert space.dimensions.keys() == DIMENSIONS.keys() - {"dropout", "augmentation"}


def test_sampling_rates_stay_within_what_the_data_allow():
    space = Space.of(BASE, {}).sampling_within(0.0, 0.2)
    assert space.dimensions["sampling_rate"] == Range(0.05, 0.2)
    none = Space.of(RECIPES["model-2"], {}).sampling_within(1.0, 0.0)
    assert not none.dimensions.keys() & {"sampling", "sampling_rate"}
    assert none.base.sampling == "natural"


def test_what_can_not_count_is_no_dimension():
    dimensions = Space.of(BASE, {}, fixed=("loss", "sampling")).dimensions
    assert not dimensions.keys() & {"focal_gamma", "sampling_rate"}


@pytest.mark.parametrize(
    ("name", "text", "dimension"),
    [
        ("loss", "bce|focal", Choice(("bce", "focal"))),
        ("image_size", "96 | 128", Choice((96, 128))),
        ("windows", "brain|brain,subdural,bone", Choice(("brain", "brain,subdural,bone"))),
        ("flip", "true|false", Choice((True, False))),
        ("dropout", "0.1..0.5", Range(0.1, 0.5)),
        ("learning_rate", "1e-5..1e-3", Range(1e-5, 1e-3, log=True)),
        ("weight_decay", "0..0.1", Range(0.0, 0.1)),
        ("epochs", "2..8", Range(2, 8, whole=True)),
    ],
)
def test_dimensions_are_said_as_alternatives_or_a_range(name, text, dimension):
    assert is_dimension(text)
    assert parse_dimension(HYPERPARAMETERS[name], text) == dimension


@pytest.mark.parametrize("text", ["0.1..much", "0.5..0.1", "0.5..0.5", "0.1|0.1", "a|b"])
def test_what_is_no_range_is_refused_in_one_line(text):
    with pytest.raises(OptionError, match="dropout is"):
        parse_dimension(HYPERPARAMETERS["dropout"], text)
    with pytest.raises(OptionError, match="flip is"):
        parse_dimension(HYPERPARAMETERS["flip"], "false..true")


@pytest.mark.parametrize(
    ("dimensions", "expected"),
    [
        ({"dropout": Range(0.0, 1.0)}, "dropout is 1.0, expected 0 or more, below 1"),
        ({"focal_gamma": Range(1.0, 11.0)}, "focal_gamma is 11.0, expected 1 to 10"),
        ({"num_classes": Choice((4, 5))}, "num_classes is 4 | 5, expected one value"),
        ({"monitor": Choice(("val_loss", "val_auc"))}, "can't be compared"),
        ({"sampling": Choice(("natural", "some"))}, "sampling is 'some'"),
        ({"augmentation": Range(0.0, 20.0)}, "rotation_degrees is 200.0"),
    ],
)
def test_a_range_that_reaches_too_far_is_refused_before_the_first_trial(dimensions, expected):
    with pytest.raises(OptionError, match=expected.replace("|", r"\|")):
        Space(base=BASE, dimensions=dimensions)


def test_a_dimension_that_was_said_and_moves_nothing_is_refused():
    with pytest.raises(OptionError, match="it has no effect in this search: leave it out, or let loss vary"):
        Space.of(BASE, {"focal_gamma": Range(1.0, 3.0)}, fixed=("loss",))


def test_dimensions_of_frozen_epochs_count_where_there_are_any():
    dimension = {"frozen_learning_rate": Range(1e-4, 1e-2, log=True)}
    with pytest.raises(OptionError, match="let frozen_epochs vary"):
        Space.of(BASE, dimension)
    dimensions = Space.of(BASE, {**dimension, "frozen_epochs": Choice((0, 2))}).dimensions
    assert "frozen_learning_rate" in dimensions


TWO_STAGE = Hyperparameters(num_classes=6, head="two_stage")


def test_a_head_that_brings_its_loss_leaves_none_to_vary():
    dimensions = Space.of(TWO_STAGE, {}).dimensions
    assert dimensions.keys() == DIMENSIONS.keys() - {"loss", "focal_gamma"}
    with pytest.raises(OptionError, match=r"loss is bce \| focal, but it has no effect .* or let head vary"):
        Space.of(TWO_STAGE, {"loss": Choice(("bce", "focal"))})


@pytest.mark.parametrize("base", [TWO_STAGE, Hyperparameters(num_classes=6)])
def test_where_the_head_varies_the_loss_is_drawn_for_the_flat_one(base):
    space = Space.of(base, {"head": Choice(("flat", "two_stage"))})
    drawn = {"loss": "focal", "focal_gamma": 3.0, "sampling": "natural"}
    drawn |= {name: one.ends[0] for name, one in space.dimensions.items() if name not in drawn}
    flat, two_stage = (fixed_trial(**{**drawn, "head": head}) for head in ("flat", "two_stage"))
    assert (space.suggest(flat).loss, space.suggest(flat).focal_gamma) == ("focal", 3.0)
    assert (space.suggest(two_stage).head, space.suggest(two_stage).loss) == ("two_stage", "bce")
    assert not two_stage.params.keys() & {"loss", "focal_gamma"}


def test_a_search_over_the_sequence_varies_what_it_declares_and_no_augmentation():
    space = Space.of(OfSequence(), {})
    assert space.dimensions == {
        "kind": Choice(("conv", "gru", "attention")),
        "width": Choice((16, 32, 64)),
        "learning_rate": Range(1e-5, 3e-3, log=True),
        "weight_decay": Range(1e-6, 1e-1, log=True),
    }
    assert space.of_base() == {"kind": "conv", "width": 32, "learning_rate": 2e-3, "weight_decay": 1e-3}


def test_a_trial_of_the_sequence_is_a_setting_of_it_whose_depth_counts_where_there_are_layers():
    space = Space.of(OfSequence(depth=3), {})
    values = {"width": 64, "learning_rate": 1e-3, "weight_decay": 1e-2}
    conv = space.suggest(fixed_trial(kind="conv", **values))
    assert conv == OfSequence(kind="conv", depth=3, **values)
    assert space.suggest(fixed_trial(kind="gru", **values)) == OfSequence(kind="gru", depth=2, **values)


def test_a_dimension_of_the_sequence_that_nothing_lets_count_is_refused():
    with pytest.raises(OptionError, match=r"depth is 1 \.\. 4, but it has no effect .* or let kind vary"):
        Space.of(OfSequence(kind="gru"), {"depth": Range(1, 4, whole=True)}, fixed=("kind",))


def test_the_sequence_has_no_sampling_rates_to_hold_within_what_data_allow():
    space = Space.of(OfSequence(), {})
    assert space.sampling_within(0.0, 0.2) == space
