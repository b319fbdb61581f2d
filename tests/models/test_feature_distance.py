"""The distance in feature space, against the Mahalanobis distance by hand and by the covariance itself."""

import numpy as np
import pytest

from ich_mlflow.models.feature_distance import (
    MAX_COMPONENTS,
    MIN_SLICES,
    FeatureGaussian,
    fit_gaussian,
)


def test_distance_by_hand():
    one = FeatureGaussian(
        mean=np.array([1.0, 0.0]), components=np.array([[1.0, 0.0]]), variances=np.array([4.0]), rest=9.0
    )
    # (3 - 1)^2 / 4 + 3^2 / 9 = 2, over 2 values: 1
    assert one.distance(np.array([[3.0, 3.0], [1.0, 0.0]])).tolist() == [1.0, 0.0]


def test_with_all_directions_but_one_it_is_that_of_the_covariance():
    draws = np.random.default_rng(1)
    features = draws.normal(size=(400, 3)) @ np.diag([3.0, 1.0, 0.5]) + [5, -2, 1]
    found = fit_gaussian(features)
    assert found is not None
    covariance = np.cov(features.T, bias=True)
    centred = features - features.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred) / 3)
    assert found.distance(features) == pytest.approx(expected, rel=1e-5)


def test_learned_slices_are_one_away_on_average_and_strange_ones_far():
    draws = np.random.default_rng(2)
    features = draws.normal(size=(2000, 60)) * np.linspace(3, 1, 60)
    found = fit_gaussian(features)
    assert found is not None
    assert found.components.shape == (MAX_COMPONENTS, 60)
    assert np.mean(found.distance(features) ** 2) == pytest.approx(1, abs=0.05)
    assert found.distance(features[:5] + 20).min() > 5


def test_too_few_slices_give_none():
    assert fit_gaussian(np.random.default_rng(0).normal(size=(MIN_SLICES - 1, 8))) is None
    assert fit_gaussian(np.random.default_rng(0).normal(size=(MIN_SLICES, 8))) is not None


def test_features_without_any_spread_are_told_from_others():
    found = fit_gaussian(np.ones((50, 6)))
    assert found is not None
    assert found.distance(np.ones((1, 6)))[0] == 0
    assert np.isfinite(found.distance(np.zeros((1, 6))))
    assert found.distance(np.zeros((1, 6)))[0] > 100


def test_file_keeps_distances(tmp_path):
    features = np.random.default_rng(3).normal(size=(300, 128)).astype(np.float32)
    found = fit_gaussian(features)
    assert found is not None
    found.write(tmp_path / "features.npz")
    again = FeatureGaussian.read(tmp_path / "features.npz")
    assert again is not None
    assert again.distance(features) == pytest.approx(found.distance(features), rel=2e-3)
    assert FeatureGaussian.read(tmp_path / "none.npz") is None
