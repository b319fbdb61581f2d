import numpy as np
import pytest

from ich_mlflow.ct.window import BRAIN
from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.augmentation import affine_matrices, augment_slices, num_draws
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.models.slice_cnn.classifier import backbone_of, build_classifier, labels_of
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.models.slice_cnn.lesion_batches import lesion_targets, warped_blood
from ich_mlflow.models.slice_cnn.lesion_head import KnownLesionLoss, LesionLoss, lesion_head_of


def targets(*slices, known=None):
    """Targets of slices of 8 x 8 pixels in 2 x 2 cells."""
    blood = np.array(slices, np.uint8)
    return lesion_targets(blood, np.ones(len(blood), bool) if known is None else np.array(known), 2)


def quarter(bit, size=4):
    """Blood of a bit in the upper left cell, `size` of its 4 rows."""
    blood = np.zeros((8, 8), np.uint8)
    blood[:size, :4] = bit
    return blood


def test_targets_are_shares_of_cells_and_what_is_known():
    named, unnamed, unknown = targets(quarter(2, 3), quarter(32 | 2), quarter(1), known=[True, True, False])
    assert named[0, 0].tolist() == [0, 0.75, 0, 0, 0, 0, 1, 0]
    assert named[1, 1].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert unnamed[0, 0].tolist() == [0, 1, 0, 0, 0, 1, 0, 1]
    assert unnamed[1, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert unknown[..., 5:].sum() == 0


def test_the_loss_of_named_slices_is_pretrainings_and_slices_that_are_not_known_add_nothing():
    said = np.random.default_rng(0).uniform(0.1, 0.9, (3, 2, 2, 5)).astype(np.float32)
    truth = targets(quarter(1), quarter(16), quarter(4), known=[True, True, False])
    expected = float(LesionLoss()(truth[:2, ..., :5], said[:2]))
    assert float(KnownLesionLoss(2.0)(truth, said)) == pytest.approx(2 * expected, rel=1e-5)


def test_where_nothing_is_known_there_is_nothing_to_learn():
    said = np.full((2, 2, 2, 5), 0.7, np.float32)
    assert float(KnownLesionLoss()(targets(quarter(1), quarter(2), known=[False, False]), said)) == 0


def test_blood_without_a_name_asks_for_any_blood_by_hand():
    said = np.zeros((1, 2, 2, 5), np.float32)
    said[0, 0, 0, :2] = 0.5  # all blood: 1 - 0.5 * 0.5
    # -ln 0.75 in one of four cells, a fifth of it; Dice of all blood (2 * 0.75 + 1) / (1 + 0.75 + 1)
    expected = 5 * -np.log(0.75) / 4 / 5 + 1 - 2.5 / 2.75
    assert float(KnownLesionLoss()(targets(quarter(32)), said)) == pytest.approx(expected, abs=1e-5)


def test_where_there_is_no_blood_a_slice_without_names_is_asked_as_one_with():
    """Its cross-entropy is the sum of the five: here without a cell of blood, which Dice needs."""
    said = np.random.default_rng(1).uniform(0.1, 0.4, (1, 2, 2, 5)).astype(np.float32)
    named = targets(np.zeros((8, 8)))
    unnamed = named.copy()
    unnamed[..., 6], unnamed[..., 7] = 0, 1
    assert float(KnownLesionLoss()(unnamed, said)) == pytest.approx(
        float(KnownLesionLoss()(named, said)), rel=1e-5
    )


def test_masks_move_as_their_slices_do():
    strengths = Hyperparameters(rotation_degrees=40, zoom=0.2, shift=0.1)
    draws = np.random.default_rng(3).random((6, num_draws()))
    blood = np.zeros((6, 256, 256), np.uint8)
    blood[:, 60:110, 90:170] = 2
    hu = np.where(blood > 0, 80, -1000).astype(np.int16)[..., None]
    moved = augment_slices(hu, draws, strengths)[..., 0] > -460  # half blood, half air
    masks = warped_blood(blood, affine_matrices(draws, (256, 256), strengths)) > 0
    assert (masks != blood.astype(bool)).mean() > 0.01
    assert (masks != moved).mean() < 0.005  # the rim: nearest, not linear


@pytest.mark.parametrize("context", [0, 1])
def test_the_backbone_keeps_its_weights_in_their_order_and_the_labels_their_bits(context):
    name, num_slices = "efficientnet-b0", 1 + 2 * context
    backbone = build_backbone(name=name, image_size=64, num_slices=num_slices)
    options = {"num_labels": 5, "image_size": 64, "windows": (BRAIN,), "context": context}
    with_head = build_classifier(**options, backbone=backbone, taps=BACKBONES[name].taps)
    assert [one.path for one in backbone_of(with_head).weights] == [one.path for one in backbone.weights]
    alone = build_classifier(
        **options, backbone=build_backbone(name=name, image_size=64, num_slices=num_slices)
    )
    alone.set_weights(labels_of(with_head).get_weights())
    hu = np.random.default_rng(0).integers(-1000, 1000, (2, 256, 256, num_slices)).astype(np.float32)
    probabilities, lesions = with_head(hu, training=False)
    np.testing.assert_array_equal(probabilities, alone(hu, training=False))
    np.testing.assert_array_equal(labels_of(with_head)(hu, training=False), probabilities)
    assert lesions.shape == (2, 16, 16, 5)
    assert labels_of(alone) is alone
    assert lesion_head_of(alone) == {}
    assert sum(weight.size for weight in lesion_head_of(with_head).values()) < 100_000


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"backbone": "convnext-tiny"}, "0 with backbone=convnext-tiny, which has no maps for it"),
        ({"image_size": 100}, "0 with image_size=100, or a multiple of 32"),
        ({"frozen_epochs": 2}, "0 with frozen_epochs=2"),
        ({"lesion_weight": -1.0}, "0 or more"),
    ],
)
def test_what_can_have_no_lesion_head_is_refused(changed, said):
    with pytest.raises(OptionError, match=r"lesion_weight is .*expected " + said):
        Hyperparameters(**{"lesion_weight": 0.5, **changed})
    Hyperparameters(**{**changed, "lesion_weight": 0.0})
