import numpy as np
import pytest

from ich_mlflow.evaluation.intervals import percentile_interval, resample_patients
from ich_mlflow.evaluation.metrics import JOINT_METRICS, METRICS
from ich_mlflow.evaluation.scores import evaluate_slices

LABELS = ("epidural", "subdural")
THRESHOLDS = np.array([0.4, 0.6])
NAMES = [
    *(f"{metric.name}/{label}" for metric in METRICS if metric.resampled for label in (*LABELS, "macro")),
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
    assert (same.low, same.high) == (0, 0)
    assert both[0].difference(both[1], "auc/macro").low > 0


def test_an_interval_is_the_middle_of_the_resamples_that_can_tell():
    samples = np.r_[np.arange(101) / 100, np.full(50, np.nan)]
    interval = percentile_interval(samples)
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    unknown = percentile_interval(np.r_[0.5, np.full(9, np.nan)])
    assert np.isnan([unknown.low, unknown.high]).all()


def test_patients_must_be_those_of_the_slices():
    targets, probabilities, patients = _slices()
    with pytest.raises(ValueError, match="expected one a slice"):
        resample_patients(targets, probabilities, THRESHOLDS, patients[1:], LABELS)
