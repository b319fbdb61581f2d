import numpy as np
import pytest

from ich_mlflow.evaluation.intervals import resample_patients
from ich_mlflow.evaluation.metrics import JOINT_METRICS, METRICS
from ich_mlflow.evaluation.scores import evaluate_slices

LABELS = ("epidural", "subdural")
THRESHOLDS = np.array([0.4, 0.6])
#: These are resampled nearly, not exactly: test_calibration_line.py says how nearly.
ONE_STEP = ("calibration_slope", "calibration_intercept")
NAMES = [
    *(
        f"{metric.name}/{label}"
        for metric in METRICS
        if metric.resampled and metric.name not in ONE_STEP
        for label in (*LABELS, "macro")
    ),
    *(f"{metric.name}/micro" for metric in METRICS if metric.resampled and metric.group.has_micro_interval),
    *(joint.full_name for joint in JOINT_METRICS if joint.by_row),
]


def _slices(num_patients=12, per_patient=7, *, ties=False, seed=0):
    """Targets, probabilities and patients, unevenly many slices each; with ties probabilities have one decimal."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num_patients), rng.integers(1, per_patient, num_patients))
    targets = rng.random((len(patients), 2)) < 0.3
    probabilities = np.clip(0.3 * targets + 0.7 * rng.random(targets.shape), 0, 1)
    return targets, np.round(probabilities, 1) if ties else probabilities, patients


@pytest.mark.parametrize("ties", [False, True])
def test_weights_give_what_building_each_resample_gives(ties):
    targets, probabilities, patients = _slices(ties=ties)
    resampled = resample_patients(
        targets, probabilities, THRESHOLDS, patients, LABELS, num_resamples=40, seed=3
    )
    rng = np.random.default_rng(3)
    times = rng.multinomial(12, np.full(12, 1 / 12), size=40)
    for number, drawn in enumerate(times):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(patients == p), count) for p, count in enumerate(drawn)]
        )
        direct = evaluate_slices(targets[rows], probabilities[rows], THRESHOLDS, LABELS).as_metrics("x")
        for name in NAMES:
            ours = resampled.samples[name][number]
            if f"x/{name}" in direct:
                assert ours == pytest.approx(direct[f"x/{name}"], abs=1e-6), name
            else:
                assert np.isnan(ours), name


def test_a_label_without_positives_is_no_part_of_a_resampled_mean():
    targets, probabilities, patients = _slices()
    targets[:, 0] = False
    samples = resample_patients(
        targets, probabilities, THRESHOLDS, patients, LABELS, num_resamples=40
    ).samples
    np.testing.assert_array_equal(samples["specificity/macro"], samples["specificity/subdural"])


def test_a_resample_that_lacks_a_label_has_no_macro_mean_rather_than_one_of_the_others():
    targets, probabilities, patients = _slices()
    targets[:, 0] = patients == 0  # about 0.35 of the resamples don't draw the one patient
    samples = resample_patients(
        targets, probabilities, THRESHOLDS, patients, LABELS, num_resamples=200
    ).samples
    lacks = np.isnan(samples["auc/epidural"])
    assert 40 < lacks.sum() < 100
    for metric in ("auc", "f1", "sensitivity", "brier"):
        np.testing.assert_array_equal(np.isnan(samples[f"{metric}/macro"]), lacks, err_msg=metric)
    # each of what can be told by the label's negatives alone, and the decisions on all labels together
    assert not np.isnan(samples["specificity/macro"]).any()
    assert not np.isnan(samples["sensitivity/micro"]).any()


def test_any_is_in_no_mean():
    targets, probabilities, patients = _slices()
    arguments = {"num_resamples": 40, "seed": 1}
    two = resample_patients(targets, probabilities, THRESHOLDS, patients, LABELS, **arguments).samples
    three = resample_patients(
        np.column_stack([targets, targets.any(axis=1)]),
        np.column_stack([probabilities, 1 - probabilities[:, 0]]),
        np.append(THRESHOLDS, 0.5),
        patients,
        (*LABELS, "any"),
        **arguments,
    ).samples
    for name in ("auc/macro", "brier/macro", "f1/micro", "specificity/micro"):
        np.testing.assert_array_equal(two[name], three[name], err_msg=name)


def test_a_mean_of_any_alone_is_none():
    targets, probabilities, patients = _slices()
    samples = resample_patients(
        targets[:, :1], probabilities[:, :1], THRESHOLDS[:1], patients, ("any",), num_resamples=10
    ).samples
    assert np.isnan([samples["auc/macro"], samples["f1/micro"]]).all()
    assert not np.isnan(samples["auc/any"]).any()


def test_the_draws_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    arguments = (*_slices()[:2], THRESHOLDS, _slices()[2], LABELS)
    whole = resample_patients(*arguments, num_resamples=20)
    monkeypatch.setattr("ich_mlflow.evaluation.intervals._CHUNK", 100)
    few = resample_patients(*arguments, num_resamples=20)
    for name, samples in whole.samples.items():
        np.testing.assert_allclose(samples, few.samples[name], rtol=1e-6)


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    targets, probabilities, patients = _slices(60, 12)
    worse = np.clip(probabilities - 0.25 * targets, 0, 1)
    both = [
        resample_patients(targets, p, THRESHOLDS, patients, LABELS, num_resamples=200)
        for p in (probabilities, worse)
    ]
    same = both[0].difference(both[0], "auc/macro")
    assert same.low == -same.high
    assert 0 < same.high < 0.1
    assert both[0].difference(both[1], "auc/macro").low > 0


def test_the_patients_behind_a_metric_are_those_of_the_rarer_kind_and_behind_a_mean_the_fewest():
    patients = np.repeat(np.arange(10), 2)
    targets = np.column_stack([patients < 4, (patients >= 3) | (np.arange(20) == 0)])
    found = resample_patients(
        targets, np.linspace(0, 1, 40).reshape(20, 2), THRESHOLDS, patients, LABELS, num_resamples=10
    ).num_patients
    # epidural: 4 with, 6 without; subdural: 8 with, and 3 without on one slice at least
    assert (found["auc/epidural"], found["auc/subdural"], found["auc/macro"]) == (4, 3, 3)
    assert (found["sensitivity/epidural"], found["sensitivity/subdural"], found["sensitivity/macro"]) == (
        4,
        8,
        4,
    )
    assert (found["specificity/epidural"], found["specificity/micro"]) == (6, 3)
    assert found["accuracy/mean"] == 10


def test_the_values_beside_the_resamples_are_those_of_the_whole():
    targets, probabilities, patients = _slices()
    values = resample_patients(targets, probabilities, THRESHOLDS, patients, LABELS, num_resamples=10).values
    direct = evaluate_slices(targets, probabilities, THRESHOLDS, LABELS).as_metrics("x")
    assert values == pytest.approx({name: direct[f"x/{name}"] for name in values})


def test_patients_must_be_those_of_the_slices():
    targets, probabilities, patients = _slices()
    with pytest.raises(ValueError, match="expected one a slice"):
        resample_patients(targets, probabilities, THRESHOLDS, patients[1:], LABELS)
