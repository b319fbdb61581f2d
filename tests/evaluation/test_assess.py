from dataclasses import replace

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
    ):
        assert not np.isnan(table.loc[(metric, "macro"), "low"]), metric
    assert not np.isnan(table.loc[("accuracy", "exact_match"), "low"])
    # said in the docstrings: no interval of these
    for name in (("auc", "micro"), ("ece", "macro")):
        assert np.isnan(table.loc[name, "low"])
        assert not np.isnan(table.loc[name, "value"])


def test_a_label_that_is_not_estimable_has_no_figure_at_all():
    predictions = _predictions()
    predictions.targets[:, 0] = False
    assessment = assess(predictions, num_resamples=100)
    table = assessment.table()
    epidural = table[(table["label"] == "epidural") & (table["metric"] != "specificity")]
    assert epidural[["value", "low", "high"]].isna().all(axis=None)
    assert not [name for name in assessment.values if "epidural" in name and "auc" in name]


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


def test_of_a_sensitivity_only_the_patients_with_a_positive_count_and_of_a_specificity_those_without():
    predictions = _predictions()
    predictions.targets[:, 0] = predictions.patients < 2
    predictions.targets[:, 1] = predictions.patients >= 2
    table = assess(predictions, num_resamples=100).table().set_index(["metric", "label"])["low"].isna()
    none = [("sensitivity", "epidural"), ("specificity", "subdural"), ("f1", "epidural"), ("auc", "subdural")]
    assert table[none].all()
    # of either mean one label has too few
    assert table[[("sensitivity", "macro"), ("specificity", "micro")]].all()
    assert not table[[("sensitivity", "subdural"), ("specificity", "epidural")]].any()
    assert not table[("accuracy", "mean")]


def test_an_auc_of_1_of_ten_patients_is_not_said_to_be_sure():
    patients = np.arange(20)
    perfect = Predictions(
        labels=("subdural",),
        targets=(patients < 10)[:, None],
        probabilities=np.where(patients < 10, 0.9, 0.1)[:, None],
        thresholds=np.array([0.5]),
        patients=patients,
        unit="exams",
    )
    assessment = assess(perfect, num_resamples=100)
    for metric in ("auc", "average_precision", "f1", "sensitivity", "specificity"):
        interval = assessment.interval(f"{metric}/subdural")
        # of ten patients the tenth root of 0.025, as of a sensitivity that is 10 of 10
        assert (interval.low, interval.high) == pytest.approx((0.6915, 1), abs=5e-5), metric
    # two models that are always right may differ on patients as rare as one in three
    row = (
        difference(perfect, perfect, num_resamples=100)
        .set_index(["metric", "label"])
        .loc[("auc", "subdural")]
    )
    assert (row["low"], row["high"]) == pytest.approx((-0.3085, 0.3085), abs=5e-5)


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


def test_a_part_is_ranked_by_its_own_scores():
    # calibration by one step ties all probabilities, so that only scores tell slices apart
    five = _predictions(("epidural", "subdural", "any"))
    tied = replace(five, probabilities=np.full(five.targets.shape, 0.3), scores=five.probabilities)
    rows = np.flatnonzero(five.patients < 15)
    part = tied.where(rows).only(("any", "subdural"))
    np.testing.assert_array_equal(part.scores, five.probabilities[rows][:, [2, 1]])
    expected = five.where(rows).only(("any", "subdural")).metrics()
    for mine, theirs in zip(part.metrics().per_label, expected.per_label, strict=True):
        assert mine["auc"] == theirs["auc"] != 0.5


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no label in common"):
        difference(_predictions(("epidural",)), _predictions(("subdural",)))
    with pytest.raises(ValueError, match="not scored on the same rows"):
        difference(_predictions(), _predictions(seed=1))
