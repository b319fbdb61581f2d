import keras
import numpy as np
import pytest

from ich_mlflow.ct.window import BONE, BRAIN, SUBDURAL
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.lesion_batches import lesion_cells
from ich_mlflow.models.slice_cnn.lesion_head import LesionLoss
from ich_mlflow.models.slice_cnn.pretraining import build_pretraining
from ich_mlflow.training.pretrain import PretrainSettings, lesions_said, pretrain
from ich_mlflow.training.pretraining_batches import PretrainingBatches, windowed
from tests.factories import TINY_PYRAMID


@pytest.fixture(autouse=True)
def tiny_pyramid(monkeypatch):
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", TINY_PYRAMID)


def _masks(uid):
    """A square of epidural blood on the left side of half the slices."""
    if sum(uid.encode()) % 2:
        return None
    masks = np.zeros((5, 128, 128), bool)
    masks[0, 32:96, 0:64] = True
    return masks


def _batches(stored_set, **changed):
    said = {"batch_size": 8, "image_sizes": (32, 64), "seed": 3, **changed}
    return PretrainingBatches(stored_set, stored_set.rows("train"), _masks, **said)


def test_cells_hold_the_share_of_blood():
    bits = np.zeros((1, 256, 256), np.uint8)
    bits[0, :32, :32] = 1  # epidural fills the first cell of 8 x 8
    bits[0, :16, 32:64] |= 16  # subdural half of the second
    cells = lesion_cells(bits, 8)
    assert cells.shape == (1, 8, 8, 5)
    assert cells[0, 0, 0].tolist() == [1, 0, 0, 0, 0]
    assert cells[0, 0, 1].tolist() == [0, 0, 0, 0, 0.5]
    assert cells.sum() == 1.5


def test_a_slice_is_windowed_once_or_in_three_ways():
    hu = np.full((2, 4, 4), 80, np.float32)
    pixels = windowed(hu, [(BRAIN,), (BRAIN, SUBDURAL, BONE)])
    np.testing.assert_allclose(pixels[0, 0, 0], [255, 255, 255])
    # subdural: (80 - 79.5) / 199 + 0.5; bone: (80 - 599.5) / 2799 + 0.5
    expected = [255, 255 * (0.5 / 199 + 0.5), 255 * (-519.5 / 2799 + 0.5)]
    np.testing.assert_allclose(pixels[1, 0, 0], expected, rtol=1e-4)


def test_sizes_take_turns_and_lesions_are_a_quarter(stored_set):
    batches = _batches(stored_set)
    shapes = [
        (pixels.shape[1], cells.shape[1]) for pixels, (_, cells) in (batches[number] for number in range(3))
    ]
    assert shapes == [(32, 8), (64, 16), (32, 8)]


def test_an_epoch_is_the_same_whenever_it_comes_and_another_is_not(stored_set):
    first, again = _batches(stored_set), _batches(stored_set)
    first.start_epoch(1)
    for epoch in (0, 2, 1):
        again.start_epoch(epoch)
    (pixels, targets), (same_pixels, same_targets) = first[1], again[1]
    for one, other in zip((pixels, *targets), (same_pixels, *same_targets), strict=True):
        np.testing.assert_array_equal(one, other)
    before = first[0][0]
    first.start_epoch(2)
    assert not np.array_equal(before, first[0][0])


def test_the_parts_of_a_pass_show_every_slice_once(stored_set):
    batches = _batches(stored_set, parts=4)
    shown = []
    for epoch in range(4):
        batches.start_epoch(epoch)
        shown += batches.order.tolist()
    count = len(stored_set.rows("train"))
    assert len(shown) == count - count % 4
    assert len(set(shown)) == len(shown)


def test_slices_as_they_are_have_their_masks_in_place(stored_set):
    batches = _batches(stored_set, augment=False, image_sizes=(64,))
    pixels, (labels, cells) = batches[0]
    rows = stored_set.rows("train")[:8]
    assert labels.shape == (8, 6)
    np.testing.assert_array_equal(labels[:, :5], stored_set.subtypes[rows])
    for uid, one in zip(stored_set.table["sop_uid"].to_numpy()[rows], cells, strict=True):
        expected = np.zeros((16, 16))
        if _masks(uid) is not None:
            expected[4:12, 0:8] = 1
        np.testing.assert_array_equal(one[..., 0], expected)
    assert pixels.min() >= 0
    assert pixels.max() <= 255


def test_blood_moves_with_the_slice(stored_set, monkeypatch):
    # The slice shows its own mask: whatever the warp, bright pixels and cells stay together.
    masks = _masks("b")
    assert masks is not None
    shown = np.where(np.kron(masks[0], np.ones((2, 2), bool)), 80, 0).astype(np.int16)
    monkeypatch.setattr(type(stored_set), "hu", lambda self, rows: np.repeat(shown[None], len(rows), axis=0))
    batches = PretrainingBatches(
        stored_set, stored_set.rows("train"), lambda uid: masks, batch_size=8, image_sizes=(64,), seed=1
    )
    pixels, (_, cells) = batches[0]
    brightness = pixels[..., 0].reshape(8, 16, 4, 16, 4).mean(axis=(2, 4))
    for bright, cell in zip(brightness, cells[..., 0], strict=True):
        assert np.corrcoef(bright.ravel(), cell.ravel())[0, 1] > 0.9
    assert len({cell.tobytes() for cell in cells}) == 8


def test_the_lesion_loss_is_cross_entropy_and_dice_of_what_is_shown():
    truth = np.zeros((1, 2, 2, 5), np.float32)
    truth[0, 0, 0, 1] = 1
    said = np.full((1, 2, 2, 5), 0.5, np.float32)
    # cross-entropy is log 2 everywhere; Dice of the one subtype: (2 * 0.5 + 1) / (1 + 2 + 1) = 1 / 2
    assert float(LesionLoss()(truth, said)) == pytest.approx(5 * np.log(2) + 0.5, rel=1e-5)
    assert float(LesionLoss()(truth, truth)) == pytest.approx(0, abs=1e-4)


def test_the_network_takes_any_size_and_answers_for_cells_of_four_pixels():
    network = build_pretraining(name="efficientnet-b0")
    for size in (32, 96):
        said = network(np.zeros((2, size, size, 3), np.float32))
        assert said["labels"].shape == (2, 6)
        assert said["lesions"].shape == (2, size // 4, size // 4, 5)


def test_the_blood_that_is_said_is_that_of_the_slices_asked_for(stored_set):
    network = build_pretraining(name="efficientnet-b0")
    batches = _batches(stored_set, augment=False, image_sizes=(32,), batch_size=8)
    found = lesions_said(network, batches, [0, 9])
    second = np.asarray(network(batches[1][0])["lesions"])[1].sum(axis=-1).clip(0, 1)
    assert found.shape == (2, 8, 8)
    np.testing.assert_allclose(found[1], second, atol=1e-6)


def test_what_was_cut_off_ends_as_what_was_not(stored_set, tmp_path):
    def run(checkpoint, *, until=None):
        keras.utils.set_random_seed(7)
        network = build_pretraining(name="efficientnet-b0")
        seen = []

        def on_epoch(epoch, figures):
            seen.append(epoch)
            if len(seen) == until:
                raise KeyboardInterrupt

        history = pretrain(
            network,
            train=_batches(stored_set, parts=2),
            validation=_batches(stored_set, augment=False, image_sizes=(32,)),
            settings=PretrainSettings(epochs=4, learning_rate=1e-2, lesion_weight=1.0),
            score=lambda targets, said: {"val/auc/macro": float(said.mean())},
            on_epoch=on_epoch,
            checkpoint=tmp_path / checkpoint,
        )
        return network, history, seen

    with pytest.raises(KeyboardInterrupt):
        run("cut.npz", until=2)
    resumed, history, seen = run("cut.npz")
    whole, expected, _ = run("whole.npz")
    assert seen == [0, 1, 2, 3]
    for ours, theirs in zip(history, expected, strict=True):
        for name in ("loss", "val_loss_uncalibrated", "val_dice", "val/auc/macro"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3), name
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert history[-1]["loss"] < history[0]["loss"]
