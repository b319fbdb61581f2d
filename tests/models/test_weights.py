import json

import keras
import numpy as np
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import IMAGENET, Ancestry, not_known
from ich_mlflow.models.weights import put_weights, read_weights, shipped_path, write_weights


def _network(*, units=2, second="second"):
    x = keras.Input((3,))
    y = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(units, name="first")(x))
    return keras.Model(x, keras.layers.Dense(1, name=second)(y))


@pytest.fixture
def written(tmp_path):
    network = _network()
    kernel = np.array([[1 + 2**-20, 0.1], [0.2, 0.3], [1e-3, -4]], np.float32)
    network.get_layer("first").set_weights([kernel, np.array([1 + 2**-20, 0], np.float32)])
    write_weights(tmp_path / "weights.npz", network, {"start": "here"}, half=True)
    return network, tmp_path / "weights.npz"


def test_kernels_are_rounded_to_half_precision_and_vectors_are_not(written):
    network, path = written
    found = read_weights(path)
    assert found.about == {"start": "here"}
    first = network.get_layer("first").get_weights()
    np.testing.assert_array_equal(found.arrays["first/0"], first[0].astype(np.float16).astype(np.float32))
    assert found.arrays["first/0"][0, 0] == 1
    assert found.arrays["first/1"][0] == np.float32(1 + 2**-20)
    assert sorted(found.arrays) == [
        "first/0", "first/1", "norm/0", "norm/1", "norm/2", "norm/3", "second/0", "second/1",
    ]  # fmt: skip


def test_weights_go_to_the_layers_of_their_name(written):
    source, path = written
    other = _network(second="other")
    with pytest.raises(
        ModelError, match=r"layer other takes weights of shapes \[\(2, 1\), \(1,\)\], found \[\]"
    ):
        put_weights(other, read_weights(path).arrays)
    assert put_weights(other, read_weights(path).arrays, partly=True) == 2
    np.testing.assert_array_equal(
        other.get_layer("first").get_weights()[1], source.get_layer("first").get_weights()[1]
    )


def test_weights_of_another_shape_are_refused(written):
    _, path = written
    for partly in (True, False):
        with pytest.raises(ModelError, match="those of another network"):
            put_weights(_network(units=5), read_weights(path).arrays, partly=partly)


def test_a_file_says_what_its_weights_learned_from_where_that_was_said(written, tmp_path):
    network, silent = written
    ancestry = Ancestry((IMAGENET, *not_known("file:old.h5").ancestors))
    write_weights(tmp_path / "said.npz", network, {"start": "here"}, half=True, ancestry=ancestry)
    found = read_weights(tmp_path / "said.npz")
    assert found.ancestry.said == ancestry.said
    assert found.arrays.keys() == read_weights(silent).arrays.keys()
    assert read_weights(silent).ancestry is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet-lite0-imagenet", "ImageNet (no patients)"),
        ("efficientnet-lite0-phantom", "this project's phantoms (no patients)"),
    ],
)
def test_what_comes_with_the_package_has_learned_from_no_patient_and_is_named(name, said):
    assert read_weights(shipped_path(name)).ancestry.said == said


def test_a_missing_or_damaged_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="is missing: install ich_mlflow again"):
        read_weights(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no weights")
    np.savez(tmp_path / "nameless.npz", a=np.zeros(2))
    np.savez(
        tmp_path / "pickled.npz", about=np.frombuffer(json.dumps({}).encode(), np.uint8), a=np.array([{}])
    )
    for name in ("text", "nameless", "pickled"):
        with pytest.raises(ModelError, match="can't be read"):
            read_weights(tmp_path / f"{name}.npz")
