import pytest

from ich_mlflow.errors import OptionError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters
from ich_mlflow.parameters import declared, parameters_of


def test_the_default_is_a_small_convolution_on_outputs_alone():
    default = Hyperparameters()
    assert (default.kind, default.width, default.depth) == ("conv", 32, 2)
    assert (default.inputs, default.sequence_dropout) == ("outputs", 0.3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "lstm"),
        ("width", 3),
        ("width", 257),
        ("depth", 0),
        ("depth", 5),
        ("inputs", "pixels"),
        ("sequence_dropout", 1.0),
    ],
)
def test_what_is_out_of_range_is_refused(name, value):
    with pytest.raises(OptionError, match=f"{name} is {value!r}, expected"):
        Hyperparameters(**{name: value})


def test_a_recurrent_network_has_one_layer_so_depth_means_nothing_with_it():
    assert Hyperparameters(kind="gru").depth == 2
    assert Hyperparameters(kind="attention", depth=4).depth == 4
    with pytest.raises(OptionError, match="depth is 3, expected with kind=conv or attention, or 2"):
        Hyperparameters(kind="gru", depth=3)


def test_it_is_trained_for_longer_and_faster_than_the_slice_cnn_and_never_with_a_part_at_rest():
    default = Hyperparameters()
    assert (default.epochs, default.patience) == (60, 15)
    assert (default.learning_rate, default.weight_decay) == (2e-3, 1e-3)
    assert default.frozen_epochs == 0
    assert "frozen_epochs" not in parameters_of(Hyperparameters)


def test_rsnas_log_loss_goes_with_six_classes():
    assert Hyperparameters(num_classes=6, loss="log_loss_rsna").loss == "log_loss_rsna"
    with pytest.raises(OptionError, match="loss is 'log_loss_rsna', expected with num_classes=6"):
        Hyperparameters(loss="log_loss_rsna")


def test_a_search_varies_kind_width_learning_rate_and_weight_decay():
    searched = {name: declared(one).search for name, one in parameters_of(Hyperparameters).items()}
    assert searched["kind"].values == ("conv", "gru", "attention")
    assert searched["width"].values == (16, 32, 64)
    assert {name for name, search in searched.items() if search} == {
        "kind", "width", "learning_rate", "weight_decay",
    }  # fmt: skip
