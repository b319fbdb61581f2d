import json

import numpy as np

from ich_mlflow.evaluation.null_models import NullModel, fit_null_model, position_shares

LABELS = ("any",)


def test_prevalence_says_the_same_of_every_slice():
    # one of four is positive; the one slice of the mean that is added changes nothing
    null = fit_null_model(
        np.array([[1], [0], [0], [0]]),
        np.zeros(4),
        np.array([[1], [0]]),
        np.array([0.1, 0.9]),
        np.array(["a", "b"]),
        LABELS,
        num_bins=1,
    )
    assert null.probabilities(np.array([0.0, 0.5, 1.0])).tolist() == [[0.25]] * 3
    # whoever knows nothing does best in F1 by deciding everything positive
    assert null.operating_points["max_f1"][0].sensitivity == 1
    assert null.operating_points["max_f1"][0].specificity == 0


def test_position_says_the_share_of_its_height_with_one_slice_of_the_mean():
    # two of three positive in the lowest bin, none of one in the highest: the mean is one half
    targets = np.array([[1], [1], [0], [0]])
    shares = position_shares(targets, np.array([0.0, 0.01, 0.04, 1.0]))
    np.testing.assert_allclose(shares[[0, 19, 10], 0], [(2 + 0.5) / 4, 0.5 / 2, 0.5])


def test_thresholds_are_chosen_on_validation():
    train = np.array([[1], [1], [0], [0]])
    null = fit_null_model(
        train,
        np.array([0, 0, 1, 1]),
        np.array([[1], [0]]),
        np.array([0.0, 1.0]),
        np.array(["a", "b"]),
        LABELS,
        num_bins=2,
    )
    # low slices get (2 + 0.5) / 3, high ones 0.5 / 3: half way between them
    np.testing.assert_allclose(null.probabilities(np.array([0.0, 1.0]))[:, 0], [2.5 / 3, 0.5 / 3])
    np.testing.assert_allclose(null.thresholds("youden"), [0.5])


def test_survives_json():
    null = fit_null_model(
        np.eye(3), np.arange(3) / 3, np.eye(3), np.arange(3) / 3, np.arange(3), ("a", "b", "c")
    )
    again = NullModel.from_dict(json.loads(json.dumps(null.to_dict(), allow_nan=False)))
    assert again.to_dict() == null.to_dict()
