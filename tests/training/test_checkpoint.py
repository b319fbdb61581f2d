import keras
import numpy as np
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.training.checkpoint import TrainingState


def _model(units=1):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(units)])
    model.compile(optimizer="adam", loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _state(model):
    state = TrainingState(epoch=3, history=[{"epoch": 0, "loss": 0.5}], best_epoch=1, best_value=-0.25)
    state.best_weights = model.get_weights()
    state.best_probabilities = np.array([[0.25, 0.5]], np.float32)
    state.capture(model, model.optimizer)
    return state


def test_what_is_written_is_read_with_every_variable(tmp_path):
    model = _model()
    model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    _state(model).write(tmp_path / "state.npz")
    state = TrainingState.read(tmp_path / "state.npz")
    assert (state.epoch, state.best_epoch, state.best_value) == (3, 1, -0.25)
    assert state.history == [{"epoch": 0, "loss": 0.5}]
    assert state.best_probabilities.tolist() == [[0.25, 0.5]]
    other = _model()
    state.put_back(other)
    state.put_back_optimizer(other.optimizer, other)
    for mine, its in ((other, model), (other.optimizer, model.optimizer)):
        for variable, expected in zip(mine.variables, its.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(variable), np.asarray(expected))
    assert any("seed" in variable.path for variable in model.variables)  # dropout goes on too
    assert int(other.optimizer.iterations) == 1


def test_nothing_but_the_state_is_left_in_the_folder(tmp_path):
    for _ in range(2):
        _state(_model()).write(tmp_path / "state.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "state.npz"
    _state(_model()).write(path)
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    with pytest.raises(ModelError, match=r"can't be read.*train from the start") as refusal:
        TrainingState.read(path)
    assert "\n" not in str(refusal.value)


def test_another_models_state_is_refused():
    state = _state(_model())
    with pytest.raises(ModelError, match="other variables"):
        state.put_back(_model(units=2))
