import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess
from ich_mlflow.stages.evaluate.two_parts import given_a_bleed, two_parts, two_parts_table

#: Four slices with a bleed, each of another patient, and two without.
TARGETS = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]], bool)
#: Given a bleed epidural is 0.2 / 0.4, 0.1 / 0.8, 0.3 / 0.6, 0.1 / 0.5; subdural 1 at most.
SCORES = np.array(
    [[0.2, 0.1, 0.4], [0.1, 0.1, 0.8], [0.3, 0.9, 0.6], [0.1, 0.4, 0.5], [0.1, 0.1, 0.45], [0.1, 0.1, 0.1]]
)


def _predictions(targets=TARGETS, scores=SCORES):
    return Predictions(
        labels=("epidural", "subdural", "any"),
        targets=targets,
        probabilities=np.full(scores.shape, 0.5),
        thresholds=np.full(3, 0.5),
        patients=np.arange(len(scores)),
        scores=scores,
    )


def test_what_is_said_given_a_bleed_is_the_share_of_anys_score():
    given = given_a_bleed(_predictions())
    assert given.labels == ("epidural", "subdural")
    np.testing.assert_allclose(given.ranked_by, [[0.5, 0.25], [0.125, 0.125], [0.5, 1.0], [0.2, 0.8]])
    np.testing.assert_array_equal(given.targets, TARGETS[:4, :2])


def test_detection_is_of_all_slices_and_subtypes_are_of_those_with_a_bleed():
    found = two_parts(assess(_predictions(), num_resamples=100), num_resamples=100)
    table = found.set_index("label")
    # any: 0.4, 0.8, 0.6, 0.5 above 0.45, 0.1: seven of eight pairs
    # epidural: 0.5 and 0.125 against 0.5 and 0.2: a tie, one right, two wrong; subdural: all four right
    assert table["auc"].to_dict() == pytest.approx(
        {"any": 7 / 8, "epidural": 1.5 / 4, "subdural": 1.0, "macro": 2.75 / 4}
    )
    assert table["slices"].tolist() == [6, 4, 4, 4]
    assert table["positive_slices"].tolist()[:3] == [4, 2, 2]
    assert table["part"].tolist() == ["detection", *["subtype given a bleed"] * 3]
    assert two_parts_table(found).rows[1] == [
        "subtype given a bleed", "epidural", "4", "2", "2", "0.38 (no interval)",
    ]  # fmt: skip
    assert two_parts_table(found).rows[3][3:5] == ["", ""]


def test_intervals_are_those_of_patients():
    rng = np.random.default_rng(0)
    bleeds = rng.random(400) < 0.6
    epidural = bleeds & (rng.random(400) < 0.5)
    targets = np.column_stack([epidural, bleeds & ~epidural, bleeds])
    scores = np.clip(0.2 + 0.2 * targets + 0.4 * rng.random(targets.shape), 0, 1)
    found = two_parts(assess(_predictions(targets, scores), num_resamples=100), num_resamples=100)
    assert (found["low"] < found["auc"]).all()
    assert (found["auc"] < found["high"]).all()


def test_without_a_bleed_there_is_no_subtype_and_no_figure():
    found = two_parts(assess(_predictions(TARGETS[4:], SCORES[4:]), num_resamples=100), num_resamples=100)
    assert found["label"].tolist() == ["any"]
    assert two_parts_table(found).rows[0][-1] == "not estimable"


def test_a_score_of_zero_gives_a_share():
    given = given_a_bleed(_predictions(TARGETS[:1], np.array([[0.0, 0.1, 0.0]])))
    np.testing.assert_array_equal(given.ranked_by, [[0.0, 1.0]])
