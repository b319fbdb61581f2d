"""Gaussians fitted on what each network learned from, and distances of what it did not."""

from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.dataset.split import FOLD, TRAIN, VALIDATION
from ich_mlflow.models.family import Network
from ich_mlflow.models.feature_distance import MIN_SLICES
from ich_mlflow.stages.train import feature_distances
from ich_mlflow.stages.train.feature_distances import validation_distances, with_gaussians


def network(asked=None, *, pooled=True):
    """Its features are means and deviations of parts of the slice; asked: how many slices each call had."""

    def features(hu):
        if asked is not None:
            asked.append(len(hu))
        middle = hu[..., hu.shape[-1] // 2].astype(np.float64)
        return np.stack(
            [middle.mean(axis=(1, 2)), middle.std(axis=(1, 2)), middle[:, :128].mean(axis=(1, 2))], axis=1
        )

    return Network(
        keras=None,
        write=lambda folder: None,
        difference=lambda reader: 0.0,
        pooled=features if pooled else None,
    )


@pytest.fixture
def split_set(stored_set):
    """All but the last seven studies to train on, which are 44 slices of 72."""
    studies = stored_set.table["study_uid"]
    last = studies.isin(studies.unique()[-7:])
    return replace(stored_set, table=stored_set.table.assign(split=np.where(last, VALIDATION, TRAIN)))


def test_one_network_is_fitted_on_training_slices_and_asked_of_validation(split_set):
    (found,) = with_gaussians([network()], split_set, context=0)
    rows = split_set.rows(TRAIN)
    assert len(rows) >= MIN_SLICES
    assert found.features is not None
    expected = network().pooled(split_set.hu(rows)[..., None]).mean(axis=0)
    assert found.features.mean == pytest.approx(expected)
    distances = validation_distances([found], split_set, context=0)
    validation = split_set.rows(VALIDATION)
    assert distances == pytest.approx(
        found.features.distance(network().pooled(split_set.hu(validation)[..., None])), rel=1e-5
    )
    assert validation_distances([found], split_set, context=1) == pytest.approx(distances, rel=1e-5)


def test_networks_of_folds_are_fitted_on_the_others_and_asked_of_their_own(stored_set):
    patients = stored_set.table["patient_id"]
    fold = patients.map({one: number % 3 for number, one in enumerate(sorted(patients.unique()))})
    dealt = replace(stored_set, table=stored_set.table.assign(**{FOLD: fold, "split": VALIDATION}))
    found = with_gaussians([network()] * 3, dealt, context=0)
    distances = validation_distances(found, dealt, context=0)
    pooled = network().pooled(dealt.hu(np.arange(len(dealt.table)))[..., None])
    for number, one in enumerate(found):
        own = (fold == number).to_numpy()
        assert one.features.mean == pytest.approx(pooled[~own].mean(axis=0))
        assert distances[own] == pytest.approx(one.features.distance(pooled[own]), rel=1e-5)


def test_of_many_validation_slices_whole_studies_are_looked_at(split_set, monkeypatch):
    monkeypatch.setattr(feature_distances, "_LOOKED_AT", 8)
    (found,) = with_gaussians([network()], split_set, context=0)
    distances = validation_distances([found], split_set, context=0)
    rows = split_set.rows(VALIDATION)
    studies = split_set.table["study_uid"].to_numpy()[rows]
    known = np.isfinite(distances)
    assert 0 < known.sum() < len(rows)
    for study in np.unique(studies):
        assert len(set(known[studies == study])) == 1


def test_without_features_or_with_too_few_slices_nothing_is_said(stored_set):
    (without,) = with_gaussians([network(pooled=False)], stored_set, context=0)
    assert without.features is None
    assert validation_distances([without], stored_set, context=0) is None
    few = replace(
        stored_set,
        table=stored_set.table.assign(
            split=np.where(np.arange(len(stored_set.table)) < 20, TRAIN, VALIDATION)
        ),
    )
    (found,) = with_gaussians([network()], few, context=0)
    assert found.features is None
