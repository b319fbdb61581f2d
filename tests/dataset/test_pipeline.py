import numpy as np
import pytest

from ich_mlflow.dataset.pipeline import SliceBatches, class_balanced_order, natural_order


def test_natural_order_shows_every_slice_once():
    order = natural_order(50, seed=1, epoch=0)
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, natural_order(50, seed=1, epoch=1))
    np.testing.assert_array_equal(order, natural_order(50, seed=1, epoch=0))


def test_class_balanced_order_draws_every_label_and_none_as_often():
    # 1,000 slices: 10 of label 0, 50 of label 1, 940 of none. Each of the three groups gets a third.
    targets = np.zeros((1000, 2), np.float32)
    targets[:10, 0] = 1
    targets[10:60, 1] = 1
    drawn = targets[np.concatenate([class_balanced_order(targets, seed=0, epoch=e) for e in range(20)])]
    assert len(drawn) == 20_000
    np.testing.assert_allclose(drawn.mean(axis=0), [1 / 3, 1 / 3], atol=0.02)


def test_a_label_without_slices_takes_no_share():
    targets = np.zeros((10, 2), np.float32)
    targets[:5, 0] = 1
    drawn = targets[class_balanced_order(targets, seed=0, epoch=0)]
    assert drawn[:, 1].sum() == 0
    assert len(drawn) == 10


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


def test_an_epoch_ends_with_a_new_order_and_new_augmentation_seeds(stored_set):
    rows, seeds = stored_set.rows("train"), []

    def remember(hu, batch_seeds):
        seeds.append(batch_seeds)
        return hu.astype(np.float32)

    batches = SliceBatches(
        stored_set,
        rows,
        np.zeros((len(rows), 1), np.float32),
        batch_size=4,
        seed=7,
        order=lambda epoch: natural_order(len(rows), seed=7, epoch=epoch),
        augment=remember,
    )
    first = batches.order.copy()
    batches[1]
    batches.on_epoch_end()
    batches[1]
    assert not np.array_equal(first, batches.order)
    np.testing.assert_array_equal(seeds[0], [[7, 0, 4], [7, 0, 5], [7, 0, 6], [7, 0, 7]])
    np.testing.assert_array_equal(seeds[1], [[7, 1, 4], [7, 1, 5], [7, 1, 6], [7, 1, 7]])


def test_rows_and_targets_must_match(stored_set):
    with pytest.raises(ValueError, match="3 rows but 2 targets"):
        SliceBatches(stored_set, np.arange(3), np.zeros((2, 1)), batch_size=1)
