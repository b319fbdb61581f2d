import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ich_mlflow.errors import ModelError
from ich_mlflow.models.ancestry import PHANTOMS, Ancestry
from ich_mlflow.models.exam_sequence.forward import SequenceNetwork
from ich_mlflow.models.exam_sequence.kinds import FARTHEST, KINDS
from ich_mlflow.models.exam_sequence.network import build_sequence, set_standardisation, write_sequence

NUM_LABELS, NUM_INPUTS = 5, 13


def _random_model(kind, depth=2):
    """A network without a zero among its weights."""
    random = np.random.default_rng(0)
    model = build_sequence(num_labels=NUM_LABELS, num_inputs=NUM_INPUTS, kind=kind, width=16, depth=depth)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.3, weight.shape))
    set_standardisation(model, random.normal(size=NUM_INPUTS), random.uniform(0.5, 2, NUM_INPUTS))
    return model


def _series(num_slices):
    return np.random.default_rng(num_slices).normal(0, 2, (num_slices, NUM_INPUTS)).astype(np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("sequence") / "sequence.npz"
    write_sequence(_random_model("conv"), path)
    return path


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_and_keras_say_the_same(kind, depth, tmp_path):
    model = _random_model(kind, depth)
    write_sequence(model, tmp_path / "sequence.npz", ancestry=Ancestry((PHANTOMS,)))
    network = SequenceNetwork.read(tmp_path / "sequence.npz")
    assert (network.kind, network.num_inputs, network.num_labels) == (kind, NUM_INPUTS, NUM_LABELS)
    # as a graph for any number of slices: step by step, Keras' recurrent layer takes seconds
    graph = tf.function(model, input_signature=[tf.TensorSpec((None, NUM_INPUTS), tf.float32)])
    for num_slices in (1, 2, 7, 600):
        slices, exam = network.run(_series(num_slices))
        assert (slices.shape, exam.shape) == ((num_slices, NUM_LABELS), (NUM_LABELS,))
        assert slices.dtype == exam.dtype == np.float32
        rows = np.asarray(graph(_series(num_slices)))
        np.testing.assert_allclose(np.concatenate([slices, exam[None]]), rows, atol=1e-5)
    assert rows.std() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_slices_matters(kind, tmp_path):
    write_sequence(_random_model(kind), tmp_path / "sequence.npz")
    network = SequenceNetwork.read(tmp_path / "sequence.npz")
    slices, exam = network.run(_series(7))
    backwards, exam_backwards = network.run(_series(7)[::-1])
    assert np.abs(slices - backwards[::-1]).max() > 1e-3
    assert np.abs(exam - exam_backwards).max() > 1e-3


def _by_hand(kind, **body):
    """One label, one input, one unit: hidden is ReLU(logit); each slice is given half its hidden less one.

    The exam has the mean of the slices (its sharpness is 0), and of hidden, less one half.
    """
    values = {
        "standardise/0": [0],
        "standardise/1": [1],
        "project/0": [[1]],
        "project/1": [0],
        "slices/0": [[0.5]],
        "slices/1": [-1],
        "exam/0": [[0]],
        "exam/1": [[1]],
        "exam/2": [-0.5],
        "exam/3": [-2],
    }
    arrays = {name: np.array(value, np.float32) for name, value in values.items()}
    return SequenceNetwork(kind, arrays | {name: np.array(value, np.float32) for name, value in body.items()})


def _logit(probabilities):
    probabilities = np.asarray(probabilities, np.float64)
    return np.log(probabilities / (1 - probabilities))


def test_a_convolution_by_hand():
    # hidden 1, 2, 0; the slice below counts once, the one above half: 0 + 1, 1 + 0, 2 + 0; added 2, 3, 2.
    network = _by_hand("conv", **{"conv_0/0": [[[1]], [[0]], [[0.5]]], "conv_0/1": [0]})
    slices, exam = network.run(np.array([[1], [2], [-3]], np.float32))
    # logits 1 + 2/2 - 1, 2 + 3/2 - 1, -3 + 2/2 - 1
    np.testing.assert_allclose(_logit(slices[:, 0]), [1, 2.5, -3], atol=1e-5)
    # (1 + 2.5 - 3) / 3 + (2 + 3 + 2) / 3 - 1/2
    np.testing.assert_allclose(_logit(exam), [2], atol=1e-5)


def test_an_attention_by_hand():
    # Queries are 0: the distance alone decides, and nothing but the slice above is seen, the last one's all alike.
    by_distance = np.full(2 * FARTHEST + 1, -100.0)
    by_distance[FARTHEST + 1] = 0
    body = {"0": [[0]], "1": [[0]], "2": [[1]], "3": [[1]], "4": [0], "5": by_distance}
    network = _by_hand("attention", **{f"attention_0/{number}": value for number, value in body.items()})
    slices, exam = network.run(np.array([[1], [2], [3]], np.float32))
    # hidden 1 + 2, 2 + 3, 3 + (1 + 2 + 3) / 3: logits 1 + 1.5 - 1, 2 + 2.5 - 1, 3 + 2.5 - 1
    np.testing.assert_allclose(_logit(slices[:, 0]), [1.5, 3.5, 4.5], atol=1e-5)
    # (1.5 + 3.5 + 4.5) / 3 + (3 + 5 + 5) / 3 - 1/2
    np.testing.assert_allclose(_logit(exam), [7], rtol=1e-3)  # a float32 so near 1 has 6e-8 to spare


def test_a_file_is_read_without_keras_or_tensorflow():
    code = (
        "import sys, ich_mlflow.models.exam_sequence.forward, ich_mlflow.models.exam_sequence.hyperparameters\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_file_is_an_error_in_a_line(tmp_path):
    with pytest.raises(
        ModelError, match=r"no\.npz is missing, expected the network over series: log"
    ) as caught:
        SequenceNetwork.read(tmp_path / "no.npz")
    assert "\n" not in str(caught.value)


def _rewritten(written, path, **changed):
    with np.load(written) as file:
        arrays = {name: file[name] for name in file.files}
    arrays = {name: value for name, value in (arrays | changed).items() if value is not None}
    np.savez(path, **arrays)


def _about(text):
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"about": None}, "about"),
        ({"about": _about("{}")}, "KeyError: 'kind'"),
        ({"about": _about("[1]")}, "TypeError"),
        ({"about": _about('{"kind": "lstm"}')}, "kind is 'lstm', expected one of conv, gru, attention"),
        ({"about": _about('{"kind": "gru"}')}, "conv_0/0 is .*, expected nothing"),
        ({"conv_1/1": None}, r"conv_1/1 is nothing, expected \(16,\)"),
        ({"slices/0": np.zeros((15, 5), np.float32)}, r"slices/0 is \(15, 5\), expected \(16, 5\)"),
        ({"project/0": np.zeros(3, np.float32)}, "ValueError"),
        ({"exam/2": np.full(5, np.nan, np.float32)}, "exam/2 is not finite float32"),
        ({"exam/2": np.array([None] * 5)}, "pickle"),
    ],
)
def test_another_file_is_an_error_in_a_line(changed, said, written, tmp_path):
    _rewritten(written, tmp_path / "other.npz", **changed)
    with pytest.raises(ModelError, match=said) as caught:
        SequenceNetwork.read(tmp_path / "other.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_an_error(content, tmp_path):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(ModelError, match="can't be read as a network over series"):
        SequenceNetwork.read(tmp_path / "other.npz")


def test_an_array_alone_is_an_error(tmp_path):
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(ModelError, match="can't be read as a network over series"):
        SequenceNetwork.read(tmp_path / "other.npy")


def test_damage_anywhere_is_an_error_or_of_no_consequence(written, tmp_path):
    whole, expected = written.read_bytes(), SequenceNetwork.read(written).run(_series(3))[1]
    random, refused = np.random.default_rng(0), []
    for place in random.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            exam = SequenceNetwork.read(tmp_path / "damaged.npz").run(_series(3))[1]
        except ModelError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(exam, expected)
    assert len(refused) > 200
    assert not any("\n" in message for message in refused)
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError):
        SequenceNetwork.read(tmp_path / "cut.npz")


@pytest.mark.parametrize("shape", [(0, NUM_INPUTS), (4, NUM_INPUTS + 1), (NUM_INPUTS,)])
def test_inputs_of_another_shape_are_refused(shape, written):
    with pytest.raises(ValueError, match=r"expected \[n, 13\] with n of 1 or more"):
        SequenceNetwork.read(written).run(np.zeros(shape, np.float32))
