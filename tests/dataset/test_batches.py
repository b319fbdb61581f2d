import numpy as np
import pytest

from ich_mlflow.dataset.batches import FeatureBatches, SliceBatches
from ich_mlflow.dataset.sampling import natural_order
from ich_mlflow.errors import DataError


def test_batches_hold_the_rows_in_order_as_float_hu(stored_set):
    rows = stored_set.rows("test")
    targets = np.arange(len(rows), dtype=np.float32)[:, None]
    batches = SliceBatches(stored_set, rows, targets, batch_size=5)
    assert len(batches) == -(-len(rows) // 5)
    hu, _ = batches[0]
    assert hu.shape == (5, 256, 256, 1)
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu[..., 0], stored_set.hu(rows[:5]))
    all_seen = np.concatenate([batches[i][1] for i in range(len(batches))])
    np.testing.assert_array_equal(all_seen, targets)


def _augmented(stored_set, batch_size):
    """Batches whose `augment` notes the random numbers of each slice by its place."""
    rows, noted = stored_set.rows("train"), []

    def remember(hu, draws):
        noted.append(draws)
        return hu.astype(np.float32)

    batches = SliceBatches(
        stored_set,
        rows,
        np.zeros((len(rows), 1), np.float32),
        batch_size=batch_size,
        seed=7,
        order=lambda epoch: natural_order(len(rows), seed=7, epoch=epoch),
        augment=remember,
        num_draws=5,
    )
    return batches, noted


def test_another_epoch_has_another_order_and_other_augmentation(stored_set):
    batches, noted = _augmented(stored_set, 4)
    first = batches.order.copy()
    batches[1]
    batches.start_epoch(1)
    batches[1]
    assert not np.array_equal(first, batches.order)
    assert noted[0].shape == (4, 5)
    assert not np.array_equal(noted[0], noted[1])


def test_an_epoch_that_is_started_by_number_is_the_one_that_is_reached_by_training(stored_set):
    batches, noted = _augmented(stored_set, 4)
    batches.start_epoch(1)
    batches.start_epoch(2)
    again, noted_again = _augmented(stored_set, 4)
    again.start_epoch(2)
    np.testing.assert_array_equal(batches.order, again.order)
    batches[1], again[1]
    np.testing.assert_array_equal(noted[0], noted_again[0])


def test_a_slices_random_numbers_do_not_depend_on_the_batch_size(stored_set):
    small, noted = _augmented(stored_set, 2)
    small[2], small[3]
    large, noted_large = _augmented(stored_set, 4)
    large[1]
    np.testing.assert_array_equal(np.concatenate(noted), noted_large[0])


def test_with_context_the_neighbours_of_a_series_are_channels_and_its_ends_are_repeated(stored_set):
    # patient p has the constant slices 4p … 4p + 3; the table goes from feet to head, so backwards through them
    rows = stored_set.rows("train")[:4]
    targets = np.zeros((4, 1), np.float32)
    hu, _ = SliceBatches(stored_set, rows, targets, batch_size=4, context=1)[0]
    assert hu.shape == (4, 256, 256, 3)
    alone = hu[:, 0, 0, 1]
    np.testing.assert_array_equal(alone, stored_set.hu(rows)[:, 0, 0])
    low, middle, high, top = alone
    assert hu[:, 0, 0].tolist() == [
        [low, low, middle], [low, middle, high], [middle, high, top], [high, top, top]
    ]  # fmt: skip


def test_the_rows_as_stored_are_neither_shuffled_nor_augmented(stored_set):
    batches, noted = _augmented(stored_set, 4)
    hu, _ = batches.as_stored()[0]
    np.testing.assert_array_equal(hu[..., 0], stored_set.hu(stored_set.rows("train")[:4]))
    assert not noted


def test_features_come_in_the_order_of_the_epoch():
    features = np.arange(6, dtype=np.float32)[:, None] * 10
    targets = np.arange(6, dtype=np.float32)[:, None]
    batches = FeatureBatches(features, targets, batch_size=4, order=lambda epoch: np.arange(6)[::-1])
    inputs, expected = batches[1]
    assert inputs.ravel().tolist() == [10, 0]
    assert expected.ravel().tolist() == [1, 0]


def test_rows_and_targets_must_match(stored_set):
    with pytest.raises(ValueError, match="3 rows but 2 targets"):
        SliceBatches(stored_set, np.arange(3), np.zeros((2, 1)), batch_size=1)


def test_with_a_divisor_every_batch_can_be_shared_evenly():
    targets = np.arange(19, dtype=np.float32)[:, None]
    batches = FeatureBatches(targets, targets, batch_size=8, order=lambda epoch: np.arange(19), divisor=2)
    assert [len(batches[number][1]) for number in range(len(batches))] == [8, 8, 2]
    assert batches.num_slices == 18


def test_the_error_of_a_slice_is_kept_as_it_was(stored_set, monkeypatch):
    def damaged(self, rows, context):
        raise DataError("hu-00000.npy is damaged: remove it")

    monkeypatch.setattr(type(stored_set), "hu_with_context", damaged)
    batches, _ = _augmented(stored_set, 4)
    with pytest.raises(DataError):
        batches[0]
    assert "is damaged" in str(batches.error)
