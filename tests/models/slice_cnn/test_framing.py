"""framing=head: the network frames the head by itself, the same in Keras, LiteRT and NumPy, and maps go back."""

import keras
import numpy as np
import pytest

from ich_mlflow.ct.frame import frame_weights, head_frames, into_place
from ich_mlflow.ct.window import BRAIN
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.slice_cnn.augmentation import affine_matrices, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.layers import AreaResize, HeadResize
from ich_mlflow.models.slice_cnn.lesion_batches import SlicesWithBlood
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.slice_cnn.reader import SliceReader
from ich_mlflow.models.slice_cnn.saliency import saliency_maps
from tests.factories import TINY, TINY_PYRAMID


class Told:
    labels, context = SUBTYPES, 0


def heads(count, *, size=256, channels=1, seed=0):
    """Textured squares of brain in air, each somewhere else and of another size; the last slice is all air."""
    rng = np.random.default_rng(seed)
    hu = np.full((count, size, size, channels), -1000, np.int16)
    for one in hu[:-1]:
        side = rng.integers(size // 3, size - 8)
        top, left = rng.integers(0, size - side, size=2)
        one[top : top + side, left : left + side] = rng.integers(0, 80, size=(side, side, channels))
    return hu


@pytest.mark.parametrize(("size", "channels"), [(24, 1), (96, 3)])
def test_the_layer_is_its_numpy_twin(size, channels):
    hu = heads(6, size=64, channels=channels)
    frames = head_frames(hu[..., channels // 2])
    assert len(np.unique(frames[:, 2])) > 2
    rows, columns = (frame_weights(frames[:, axis], frames[:, 2], source=64, target=size) for axis in (0, 1))
    expected = np.einsum("bts,bsuc,bvu->btvc", rows, hu.astype(np.float32), columns)
    np.testing.assert_allclose(np.asarray(HeadResize(size)(hu.astype(np.float32))), expected, atol=0.01)


def test_of_a_head_that_fills_the_slice_nothing_is_cut_off():
    full = np.random.default_rng(0).integers(0, 80, size=(1, 256, 256, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(HeadResize(24)(full)), np.asarray(AreaResize(24)(full)), atol=1e-3)


def test_a_small_head_is_seen_twice_as_fine():
    hu = np.full((1, 64, 64, 1), -1000, np.float32)
    hu[0, 24:40, 24:40] = 0
    seen = np.asarray(HeadResize(32)(hu))[0, ..., 0]
    # its 16 pixels were 8 of 32, and are 16 in a frame of 32 pixels
    assert (seen > -500).sum() == 16 * 16


def test_slices_whose_size_is_no_multiple_of_the_cells_are_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        HeadResize(24)(np.zeros((1, 30, 30, 1), np.float32))


@pytest.fixture(params=[False, True], ids=["heat maps", "lesion maps"])
def model(request, monkeypatch):
    keras.utils.set_random_seed(0)
    backbone = TINY_PYRAMID if request.param else TINY
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", backbone)
    built = build_classifier(
        num_labels=5,
        image_size=64,
        framing="head",
        windows=(BRAIN,),
        taps=backbone.taps if request.param else (),
    )
    return built


def test_it_is_served_as_it_is_trained_and_its_maps_lie_where_the_head_does(model, tmp_path):
    hu = heads(4)
    network = network_of(model, hu)
    network.write(tmp_path)
    frames = head_frames(hu[..., 0])
    for runtime in ("litert", "keras"):
        reader = SliceReader(tmp_path, runtime, Told())
        assert network.difference(reader) < 1e-4
        _, maps = reader.explained(hu)
        if reader.finds_blood:
            _, lesions = model(hu.astype(np.float32))
            own = np.moveaxis(np.asarray(lesions), -1, 1)
            np.testing.assert_allclose(maps, into_place(own, frames, 256), atol=1e-4)
        else:
            np.testing.assert_allclose(maps, saliency_maps(model, hu), atol=1e-4)
        for of_slice, (top, left, side) in zip(maps, frames, strict=True):
            middles = (np.arange(maps.shape[-1]) + 0.5) * 256 / maps.shape[-1]
            reach = 128 / maps.shape[-1]  # half a place: one that is partly within has a share
            outside = (middles < top - reach) | (middles > top + side + reach)
            assert (of_slice[:, outside] == 0).all()
            outside = (middles < left - reach) | (middles > left + side + reach)
            assert (of_slice[:, :, outside] == 0).all()
        assert np.abs(maps).max() > 0


def test_a_network_that_is_saved_and_loaded_frames_the_head_alike(model, tmp_path):
    model.save(tmp_path / "framed.keras")
    loaded = keras.models.load_model(tmp_path / "framed.keras", compile=False)
    assert isinstance(loaded.get_layer("resize"), HeadResize)
    hu = heads(2).astype(np.float32)
    for one, other in zip(keras.tree.flatten(loaded(hu)), keras.tree.flatten(model(hu)), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


class Stored:
    """Heads with blood in a square of each, as a stored set gives them."""

    def __init__(self):
        self._hu = heads(3)
        self._blood = np.zeros((3, 256, 256), np.uint8)
        for hu, blood in zip(self._hu[:2], self._blood[:2], strict=True):
            rows, columns = np.nonzero(hu[..., 0] > -1000)
            place = np.s_[rows.min() : rows.min() + 60, columns.min() : columns.min() + 60]
            hu[place], blood[place] = 1000, 1

    def hu_with_context(self, rows, context):
        return self._hu[rows]

    def blood(self, rows):
        return self._blood[rows], np.ones(len(rows), bool)


def test_what_a_lesion_head_is_taught_lies_where_the_network_sees_the_blood():
    setting = Hyperparameters(rotation_degrees=20, shift=0.05)
    batches = SlicesWithBlood(
        Stored(), np.arange(3), np.zeros((3, 5), np.float32), batch_size=3, seed=1, cells=32, framing="head",
        matrices=lambda draws, shape: affine_matrices(draws, shape, setting),
        augment=lambda hu, draws: augment_slices(hu, draws, setting), num_draws=num_draws(),
    )  # fmt: skip
    hu, (_, lesions) = batches[0]
    # what shows above 500 HU in the frame is the blood, whatever the warp
    seen = np.asarray(HeadResize(32)(hu))[..., 0] > 500
    taught = lesions[..., 0] > 0.5
    for one, other in zip(seen[:2], taught[:2], strict=True):
        assert one.sum() > 40
        assert (one ^ other).sum() < 0.15 * one.sum()
    assert not taught[2].any()
