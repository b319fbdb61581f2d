import keras
import numpy as np
import pytest

from ich_mlflow.models.exam_sequence.batches import SeriesBatches
from ich_mlflow.models.exam_sequence.network import build_sequence
from ich_mlflow.training.progress import predict

#: Slices of each of four series.
LENGTHS = (3, 1, 2, 5)


def _batches(order=None, unlabelled=()):
    """Four series of two labels and three inputs; series s has the logits s + n / 10 on its slice n."""
    inputs = [
        np.array([[s + n / 10, -s, n] for n in range(num_slices)], np.float32)
        for s, num_slices in enumerate(LENGTHS)
    ]
    slices = [
        None if s in unlabelled else np.full((num_slices, 2), s / 10, np.float32)
        for s, num_slices in enumerate(LENGTHS)
    ]
    exams = np.array([[1, s / 10] for s in range(4)], np.float32)
    return SeriesBatches(inputs, slices, exams, order=order)


def _reversed(epoch):
    return np.arange(4) if epoch == 0 else np.arange(4)[::-1]


def test_a_batch_is_a_series_with_a_row_for_its_exam():
    batches = _batches()
    assert (len(batches), batches.batch_size, batches.divisor, batches.error) == (4, 1, 1, None)
    inputs, targets, weights = batches[2]
    np.testing.assert_allclose(inputs, [[2, -2, 0], [2.1, -2, 1]])
    np.testing.assert_allclose(targets, [[0.2, 0.2], [0.2, 0.2], [1, 0.2]])
    # n = 2: (n + 1) / 2n = 3/4 a slice, (n + 1) / 2 = 3/2 the exam
    np.testing.assert_allclose(weights, [0.75, 0.75, 1.5])
    assert inputs.dtype == targets.dtype == weights.dtype == np.float32


def test_slices_without_labels_weigh_nothing_and_their_exam_as_elsewhere():
    _, targets, weights = _batches(unlabelled=(2,))[2]
    np.testing.assert_array_equal(weights, [0, 0, 1.5])
    np.testing.assert_allclose(targets, [[0, 0], [0, 0], [1, 0.2]])


def test_keras_makes_of_it_half_the_mean_over_slices_and_half_the_exam():
    _, _, weights = _batches()[0]
    targets = np.zeros((4, 2), np.float32)
    said = np.array([[0.5, 0.5], [0.2, 0.2], [0.1, 0.1], [0.6, 0.6]], np.float32)
    loss = float(keras.losses.BinaryCrossentropy()(targets, said, sample_weight=weights))
    slices, exam = -np.log([0.5, 0.8, 0.9]).mean(), -np.log(0.4)
    assert loss == pytest.approx((slices + exam) / 2, rel=1e-5)


def test_each_epoch_has_its_own_order():
    batches = _batches(_reversed)
    np.testing.assert_array_equal(batches[0][0], _batches()[0][0])
    batches.start_epoch(1)
    assert [len(batches[index][0]) for index in range(4)] == [5, 2, 1, 3]
    assert batches.epoch == 1
    assert batches.order_of is _reversed
    np.testing.assert_array_equal(batches.inputs(np.array([0])), batches[0][0])


def test_targets_go_series_by_series_and_split_tells_slices_from_exams():
    batches = _batches()
    assert batches.targets.shape == (11 + 4, 2)
    assert batches.num_slices == 15
    slices, exams = batches.split(batches.targets)
    np.testing.assert_allclose(slices[:, 0] * 10, np.repeat([0, 1, 2, 3], LENGTHS), rtol=1e-6)
    np.testing.assert_allclose(exams, [[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]])
    with pytest.raises(ValueError, match="14 rows, expected 15"):
        batches.split(batches.targets[1:])


def test_an_epoch_that_draws_series_anew_shows_their_rows():
    batches = _batches(lambda epoch: np.array([1, 1, 2, 2]))
    assert batches.num_slices == 2 + 2 + 3 + 3


def test_lists_that_do_not_fit_are_refused():
    series, exams = np.zeros((3, 4), np.float32), np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="inputs of 1, slice targets of 2 and exam targets of 1 series"):
        SeriesBatches([series], [None, None], exams)
    with pytest.raises(ValueError, match="series 0 has 3 slices and targets of 2"):
        SeriesBatches([series], [np.zeros((2, 2), np.float32)], exams)
    with pytest.raises(ValueError, match="series 0 has 0 slices and targets of none"):
        SeriesBatches([series[:0]], [None], exams)


class _StartsEpochs(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self._batches.start_epoch(epoch)


@pytest.mark.parametrize("kind", ["conv", "gru", "attention"])
def test_keras_learns_from_it_and_predict_gives_its_rows_in_order(kind):
    keras.utils.set_random_seed(0)
    model = build_sequence(num_labels=2, num_inputs=3, kind=kind, width=4, depth=1)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=keras.losses.BinaryCrossentropy())
    batches, validation = _batches(_reversed, unlabelled=(3,)), _batches()
    before = predict(model, validation, said="before")
    slices, _ = validation.split(before)
    logits = np.concatenate([validation[index][0][:, :2] for index in range(4)])
    np.testing.assert_allclose(slices, 1 / (1 + np.exp(-logits)), atol=1e-6)

    history = model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[_StartsEpochs(batches)])
    assert np.isfinite(history.history["loss"]).all()
    after = predict(model, validation, said="after")
    assert after.shape == validation.targets.shape
    assert not np.allclose(after, before)
    expected = [np.asarray(model(validation[index][0])) for index in range(4)]
    np.testing.assert_allclose(after, np.concatenate(expected), atol=1e-6)
