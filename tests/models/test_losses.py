import keras
import numpy as np
import pytest
import tensorflow as tf

from ich_mlflow.labels import SCHEMES
from ich_mlflow.models.losses import (
    FACTORISED,
    factorised_prior_logits,
    make_loss,
    positive_weights,
    prior_logits,
)
from ich_mlflow.models.slice_cnn.layers import DetectionTimesSubtype

LABELS = SCHEMES[6].labels
#: Four slices of two labels: one positive of the first, three of the second.
TARGETS = np.array([[1, 1], [0, 1], [0, 1], [0, 0]], np.float32)


def value(name, targets, probabilities, *, labels=("epidural", "subdural"), **options) -> float:
    loss = make_loss(name, labels=labels, targets=TARGETS, **options)
    return float(loss(np.array(targets, np.float32), np.array(probabilities, np.float32)))


def test_bce_by_hand():
    # -(ln 0.8 + ln 0.5) / 2
    assert value("bce", [[1, 0]], [[0.8, 0.5]]) == pytest.approx(0.4581, abs=1e-4)


def test_positives_weigh_as_their_negatives_within_limits():
    # three negatives for one positive; a third of one; none; and 99 for one, which is held to 20
    rare = np.zeros((100, 2))
    rare[0, 0] = 1
    assert positive_weights(TARGETS).tolist() == [3.0, 1.0]
    assert positive_weights(rare).tolist() == [20.0, 1.0]


def test_weighted_bce_by_hand():
    # epidural's positive weighs 3: -(3 ln 0.8 + ln 0.5) / 2; as a negative it weighs 1: -(ln 0.2 + ln 0.5) / 2
    assert value("weighted_bce", [[1, 0]], [[0.8, 0.5]]) == pytest.approx(0.6813, abs=1e-4)
    assert value("weighted_bce", [[0, 0]], [[0.8, 0.5]]) == pytest.approx(1.1513, abs=1e-4)


def test_focal_by_hand():
    # (1 - p)^2 in front: -(0.2^2 ln 0.8 + 0.5^2 ln 0.5) / 2
    assert value("focal", [[1, 0]], [[0.8, 0.5]]) == pytest.approx(0.0911, abs=1e-4)
    # gamma 1: -(0.2 ln 0.8 + 0.5 ln 0.5) / 2; gamma 0 is bce
    assert value("focal", [[1, 0]], [[0.8, 0.5]], focal_gamma=1.0) == pytest.approx(0.1956, abs=1e-4)
    assert value("focal", [[1, 0]], [[0.8, 0.5]], focal_gamma=0.0) == pytest.approx(0.4581, abs=1e-4)


def test_the_log_loss_of_rsna_weighs_any_twice_and_gives_the_known_value_for_the_prevalences():
    one = value("log_loss_rsna", [[0] * 5 + [1]], [[0.5] * 5 + [0.8]], labels=LABELS)
    # -(5 ln 0.5 + 2 ln 0.8) / 7
    assert one == pytest.approx(0.5589, abs=1e-4)
    # Predicting the prevalence scores about 0.231 on RSNA 2019
    prevalence = np.array([0.0042, 0.048, 0.0348, 0.0474, 0.0627, 0.1434])
    targets = np.random.default_rng(0).random((200_000, 6)) < prevalence
    by_prevalence = value("log_loss_rsna", targets, np.tile(prevalence, (len(targets), 1)), labels=LABELS)
    assert by_prevalence == pytest.approx(0.231, abs=0.005)


@pytest.mark.parametrize("name", ["bce", "weighted_bce", "focal", "log_loss_rsna"])
def test_label_smoothing_makes_certainty_cost(name):
    sure = ([[1, 0]], [[0.999, 0.001]])
    assert value(name, *sure, label_smoothing=0.1) > value(name, *sure) + 5e-4


def test_smoothed_targets_by_hand():
    # target 1 becomes 0.95: -(0.95 ln 0.8 + 0.05 ln 0.2) with one label of weight 1
    loss = make_loss("log_loss_rsna", labels=["subdural"], targets=TARGETS[:, :1], label_smoothing=0.1)
    assert float(loss(np.ones((1, 1), np.float32), np.full((1, 1), 0.8, np.float32))) == pytest.approx(
        0.2925, abs=1e-4
    )


@pytest.mark.parametrize("name", ["weighted_bce", "log_loss_rsna"])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_certain_mistake_is_finite(name, probability):
    assert np.isfinite(value(name, [[1, 0]], [[probability, probability]]))


def test_a_saved_model_comes_back_with_its_loss(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="sigmoid")])
    model.compile(loss=make_loss("weighted_bce", labels=["a", "b"], targets=TARGETS, label_smoothing=0.1))
    model.save(tmp_path / "model.keras")
    loss = keras.models.load_model(tmp_path / "model.keras").loss
    assert (loss.positive_weights, loss.label_smoothing) == ([3.0, 1.0], 0.1)


def test_prior_logits_by_hand():
    # one of four: ln(1/3); three of four: ln 3; none of a hundred is held to 0.0001: ln(0.0001 / 0.9999)
    assert prior_logits(TARGETS) == pytest.approx([-1.0986, 1.0986], abs=1e-4)
    assert prior_logits(np.zeros((100, 1))) == pytest.approx([-9.2102], abs=1e-4)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'hinge', expected one of bce, weighted_bce"):
        make_loss("hinge", labels=LABELS, targets=TARGETS)


def test_focal_loss_has_a_slope_where_a_probability_is_exactly_right():
    # below gamma 1 it has none: Hyperparameters refuse that
    logits = tf.Variable([[-40.0, 40.0]])
    with tf.GradientTape() as tape:
        loss = make_loss("focal", labels=["a", "b"], targets=TARGETS, focal_gamma=1.0)
        found = loss(tf.constant([[0.0, 1.0]]), tf.sigmoid(logits))
    assert np.isfinite(tape.gradient(found, logits).numpy()).all()


#: Of a slice with an epidural bleed, and of one without a bleed.
PARTS = ("epidural", "subdural", "any")
TWO_SLICES = np.array([[1, 0, 1], [0, 0, 0]], np.float32)


def test_the_factorised_loss_by_hand():
    # the shares are 0.4 / 0.8 and 0.2 / 0.8: -ln 0.8 - (ln 0.5 + ln 0.75) / 2 = 0.7135
    # without a bleed the detection alone: -ln 0.7 = 0.3567
    said = [[0.4, 0.2, 0.8], [0.2, 0.1, 0.3]]
    told = {"labels": PARTS, "brought": FACTORISED}
    assert value("bce", TWO_SLICES[:1], said[:1], **told) == pytest.approx(0.7135, abs=1e-4)
    assert value("bce", TWO_SLICES[1:], said[1:], **told) == pytest.approx(0.3567, abs=1e-4)
    assert value("bce", TWO_SLICES, said, **told) == pytest.approx(0.5351, abs=1e-4)


def factorised_slopes(logits) -> np.ndarray:
    logits = tf.Variable(np.array(logits, np.float32))
    loss = make_loss("bce", labels=PARTS, targets=TWO_SLICES, brought=FACTORISED)
    with tf.GradientTape() as tape:
        found = loss(tf.constant(TWO_SLICES), DetectionTimesSubtype(2)(logits))
    return tape.gradient(found, logits).numpy()


def test_a_slice_without_a_bleed_teaches_the_detection_alone():
    # sigmoid(0) is 0.5, sigmoid(ln 3) is 0.75: slopes are p less the target, over the slices and, of subtypes, over two
    found = factorised_slopes([[0.0, np.log(3), 0.0], [2.0, -1.0, np.log(3)]])
    np.testing.assert_allclose(found[0], [-0.5 / 4, 0.75 / 4, -0.5 / 2], rtol=1e-5)
    np.testing.assert_array_equal(found[1, :2], 0.0)
    assert found[1, 2] == pytest.approx(0.75 / 2)


@pytest.mark.parametrize("far", [-200.0, 200.0])
def test_the_factorised_loss_has_finite_slopes_however_sure_the_network_is(far):
    found = factorised_slopes(np.full((2, 3), far))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[1, :2], 0.0)


def test_the_priors_of_two_stages_are_of_any_in_all_and_of_subtypes_where_there_is_a_bleed():
    targets = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1], *[[0, 0, 0]] * 12], np.float32)
    # epidural three of four: ln 3; subdural two of four: 0; any four of sixteen: ln(1/3)
    assert factorised_prior_logits(targets, PARTS) == pytest.approx([1.0986, 0.0, -1.0986], abs=1e-4)
    assert np.isfinite(factorised_prior_logits(targets[4:], PARTS)).all()
