import numpy as np
import pytest

from ich_mlflow.evaluation.assess import Predictions, assess, difference

LABELS = ("epidural", "subdural")


def _predictions(labels=LABELS, *, shift=0.0, seed=0, unit="slices"):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(30), 8)
    targets = rng.random((240, len(labels))) < 0.3
    probabilities = np.clip(0.35 * targets + 0.6 * rng.random(targets.shape) + shift * ~targets, 0, 1)
    return Predictions(
        labels=labels,
        targets=targets,
        probabilities=probabilities,
        thresholds=np.full(len(labels), 0.5),
        patients=patients,
        unit=unit,
    )


def _null_model(predictions):
    from dataclasses import replace

    return replace(predictions, probabilities=np.full(predictions.targets.shape, 0.3))


def test_the_table_has_value_interval_and_null_model_of_every_metric_and_label():
    predictions = _predictions()
    assessment = assess(predictions, null_models={"position": _null_model(predictions)}, num_resamples=100)
    table = assessment.table().set_index(["metric", "label"])
    assert tuple(assessment.table().columns) == assessment.table_columns
    row = table.loc[("auc", "epidural")]
    assert row["low"] < row["value"] < row["high"]
    assert row["floor_position"] == 0.5
    assert row["value"] == assessment.metrics.per_label[0]["auc"]
    for metric in (
        "auc",
        "average_precision",
        "f1",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "brier",
        "ece",
    ):
        assert not np.isnan(table.loc[(metric, "macro"), "low"]), metric
    assert not np.isnan(table.loc[("accuracy", "exact_match"), "low"])
    # said in the docstring: no interval of these
    assert np.isnan(table.loc[("auc", "micro"), "low"])
    assert not np.isnan(table.loc[("auc", "micro"), "value"])


def test_mlflow_metrics_stand_beside_their_intervals_and_null_model():
    predictions = _predictions()
    assessment = assess(predictions, null_models={"position": _null_model(predictions)}, num_resamples=100)
    flat = assessment.as_metrics("test")
    assert flat["test/auc_low/macro"] < flat["test/auc/macro"] < flat["test/auc_high/macro"]
    assert flat["test/auc_floor/macro"] == 0.5
    assert "test/f1_floor/macro" not in flat


def test_a_label_that_is_not_estimable_has_no_figure_at_all():
    predictions = _predictions()
    predictions.targets[:, 0] = False
    assessment = assess(predictions, num_resamples=100)
    table = assessment.table()
    epidural = table[(table["label"] == "epidural") & (table["metric"] != "specificity")]
    assert epidural[["value", "low", "high"]].isna().all(axis=None)
    assert not [name for name in assessment.as_metrics("x") if "epidural" in name and "auc" in name]


def test_two_patients_of_either_kind_are_too_few_for_an_interval():
    for column, few in ((0, True), (1, False)):
        predictions = _predictions()
        # two patients have a positive; then two have a negative
        predictions.targets[:, column] = (predictions.patients < 2) == few
        table = assess(predictions, num_resamples=100).table().set_index(["metric", "label"])
        label = LABELS[column]
        assert not np.isnan(table.loc[("auc", label), "value"])
        assert np.isnan(table.loc[("auc", label), "low"])
        assert np.isnan(table.loc[("auc", "macro"), "low"])
        assert not np.isnan(table.loc[("auc", LABELS[1 - column]), "low"])


def test_two_patients_in_all_are_too_few_for_any_interval():
    predictions = _predictions()
    predictions.targets[:, 0] = False
    for patients, enough in ((2, False), (3, True)):
        table = assess(predictions.where(predictions.patients < patients), num_resamples=100).table()
        table = table.set_index(["metric", "label"])
        # of a label without positives too: its specificity would be that of the same two again and again
        for name in (("specificity", "epidural"), ("accuracy", "mean"), ("log_loss", "mean")):
            assert not np.isnan(table.loc[name, "value"])
            assert np.isnan(table.loc[name, "low"]) != enough
    one = predictions.where(predictions.patients < 1)
    assert difference(one, one, num_resamples=100)[["low", "high"]].isna().all(axis=None)


def test_a_worse_model_is_worse_by_an_interval_without_zero():
    model, worse = _predictions(), _predictions(shift=0.3)
    table = difference(model, worse, num_resamples=200).set_index(["metric", "label"])
    row = table.loc[("auc", "macro")]
    assert row["difference"] == pytest.approx(row["model"] - row["baseline"])
    assert 0 < row["low"] < row["difference"] < row["high"]
    same = difference(model, model, num_resamples=100)
    assert (same["difference"] == 0).all()


def test_models_of_other_class_schemes_are_compared_on_the_labels_they_share():
    five = _predictions(("epidural", "subdural", "any"))
    two = five.only(("any", "subdural"))
    table = difference(two, five, num_resamples=100)
    assert set(table["label"]) == {"any", "subdural", "macro", "micro", "exact_match", "mean"}
    assert (table["difference"] == 0).all()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no label in common"):
        difference(_predictions(("epidural",)), _predictions(("subdural",)))
    with pytest.raises(ValueError, match="not scored on the same rows"):
        difference(_predictions(), _predictions(seed=1))
