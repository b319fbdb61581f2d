import math

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ich_mlflow.evaluation.log_loss import rsna_log_loss
from ich_mlflow.evaluation.scores import evaluate_slices
from ich_mlflow.labels import SUBTYPES, findings_of

# Four slices, two labels. On subdural the positives got .35 and .8, the negatives .1 and .4: three of the
# four pairs are in the right order, and .35 against .4 is not.
TARGETS = np.array([[0, 0], [0, 0], [1, 0], [1, 0]])
PROBABILITIES = np.array([[0.1, 0.2], [0.4, 0.6], [0.35, 0.1], [0.8, 0.3]])
LABELS = ("subdural", "epidural")
HALF = np.array([0.5, 0.5])


def score(**changed):
    given = {
        "targets": TARGETS,
        "probabilities": PROBABILITIES,
        "thresholds": HALF,
        "labels": LABELS,
        "patient_ids": np.array(["a", "a", "b", "b"]),
    }
    return evaluate_slices(**(given | changed))


def test_auc_is_the_share_of_pairs_in_the_right_order():
    assert score().per_label[0]["auc"] == 0.75


def test_average_precision_of_four_points_by_hand():
    # Recall 1/2 at precision 1/1, recall 2/2 at precision 2/3: 1/2 * 1 + 1/2 * 2/3.
    assert score().per_label[0]["average_precision"] == pytest.approx(5 / 6)


def test_rates_at_the_threshold_by_hand():
    # At 0.35 the slices 2, 3 and 4 are decided positive: 2 true, 1 false, none missed.
    subdural = score(thresholds=np.array([0.35, 0.5])).per_label[0]
    assert subdural["sensitivity"] == 1
    assert subdural["specificity"] == 0.5
    assert subdural["ppv"] == pytest.approx(2 / 3)
    assert subdural["f1"] == pytest.approx(0.8)


def test_a_probability_equal_to_the_threshold_is_positive():
    assert score(thresholds=np.array([0.8, 0.5])).per_label[0]["sensitivity"] == 0.5
    assert score(thresholds=np.array([np.nextafter(0.8, 1), 0.5])).per_label[0]["sensitivity"] == 0


def test_a_label_without_positives_is_not_estimable():
    epidural = score().per_label[1]
    for metric in ("auc", "average_precision", "f1", "sensitivity", "ppv"):
        assert np.isnan(epidural[metric]), metric
    assert epidural["specificity"] == 0.75
    assert not epidural.is_estimable


def test_a_label_without_negatives_is_not_estimable():
    epidural = score(targets=np.array([[0, 1], [0, 1], [1, 1], [1, 1]])).per_label[1]
    for metric in ("auc", "average_precision", "f1", "specificity", "ppv"):
        assert np.isnan(epidural[metric]), metric
    assert epidural["sensitivity"] == 0.25


def test_ppv_is_unknown_where_nothing_is_decided_positive():
    subdural = score(thresholds=np.array([0.9, 0.5])).per_label[0]
    assert np.isnan(subdural["ppv"])
    assert subdural["f1"] == 0


def test_npv_and_brier_by_hand():
    # At one half only the last slice is decided positive; of the three others two are negative.
    subdural = score().per_label[0]
    assert subdural["npv"] == pytest.approx(2 / 3)
    assert subdural["brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4)


def test_calibration_error_by_hand():
    # Each probability is in a bin of its own: the mean distance from the truth.
    assert score().per_label[0]["ece"] == pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4)


def test_micro_takes_the_estimable_labels_only():
    # epidural has no positive, so micro is subdural alone
    metrics = score()
    assert metrics.micro["auc"] == 0.75
    assert metrics.micro["specificity"] == metrics.per_label[0]["specificity"]


def test_the_rsna_loss_is_of_the_five_subtypes_and_any():
    probabilities = np.array([[0.1, 0.7, 0.2, 0.01, 0.3, 0.6]])
    targets = np.array([[0, 1, 0, 0, 0, 1]])
    labels = findings_of(SUBTYPES)
    joint = evaluate_slices(targets, probabilities, np.full(6, 0.5), labels).joint
    # any counts twice: (ln of .9 .7 .8 .99 .7 once, of .6 twice) / 7
    by_hand = -(sum(map(math.log, (0.9, 0.7, 0.8, 0.99, 0.7))) + 2 * math.log(0.6)) / 7
    assert joint["log_loss/rsna"] == pytest.approx(by_hand)
    fewer = evaluate_slices(targets[:, 1:], probabilities[:, 1:], np.full(5, 0.5), labels[1:]).joint
    assert np.isnan(fewer["log_loss/rsna"])


def test_any_is_a_row_of_its_own_and_no_part_of_a_mean():
    # subdural's AUC is .75; any is ranked the wrong way round
    labels = ("subdural", "any")
    found = score(
        labels=labels,
        targets=TARGETS[:, [0, 0]],
        probabilities=np.c_[PROBABILITIES[:, 0], 1 - PROBABILITIES[:, 0]],
    )
    flat = found.as_metrics("test")
    assert flat["test/auc/any"] == 0.25
    assert flat["test/auc/macro"] == flat["test/auc/micro"] == flat["test/auc/subdural"] == 0.75
    assert flat["test/num_estimable"] == 1
    # every decision on any is wrong but for none of the accuracy's: that is subdural's, three of four
    assert flat["test/accuracy/mean"] == flat["test/accuracy/exact_match"] == 0.75
    assert found.table()["label"].tolist() == ["subdural", "any", "macro", "micro"]


def test_rankings_go_by_what_the_network_says_and_decisions_by_probabilities():
    # calibration by steps ties the two slices in the middle: by probabilities the AUC would be .875
    probabilities = np.array([[0.1], [0.4], [0.4], [0.8]])
    found = score(
        labels=("subdural",),
        targets=TARGETS[:, :1],
        probabilities=probabilities,
        thresholds=np.array([0.4]),
        scores=PROBABILITIES[:, :1],
    ).per_label[0]
    assert found["auc"] == 0.75
    assert found["average_precision"] == pytest.approx(5 / 6)
    assert found["sensitivity"] == 1
    assert found["brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.6**2 + 0.2**2) / 4)


def test_brier_skill_is_against_the_share_of_positives():
    # half are positive, so the share scores 1/4
    subdural = score().per_label[0]
    assert subdural["brier_skill"] == pytest.approx(1 - (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4 / 0.25)
    said_the_share = score(probabilities=np.full((4, 2), 0.5)).per_label[0]
    assert said_the_share["brier_skill"] == 0


def test_log_loss_by_hand():
    by_hand = -sum(map(math.log, (0.9, 0.6, 0.35, 0.8))) / 4
    assert score().per_label[0]["log_loss"] == pytest.approx(by_hand)
    assert score().macro("log_loss") == pytest.approx(by_hand)


def test_exams_are_counted_as_exams():
    flat = score().as_metrics("test/exam", unit="exams")
    assert flat["test/exam/num_exams"] == 4
    assert flat["test/exam/num_positive_exams/subdural"] == 2
    assert "positive_exams" in score().table(unit="exams").columns


def test_macro_means_are_over_the_estimable_labels():
    metrics = score()
    assert metrics.num_estimable == 1
    assert metrics.macro("auc") == 0.75
    assert metrics.macro("f1") == pytest.approx(2 / 3)
    # epidural, without a positive, has a specificity of its own (.75), that is no part of the mean
    assert metrics.macro("specificity") == metrics.per_label[0]["specificity"] == 1


def test_a_macro_mean_over_no_label_is_nan():
    metrics = score(targets=np.zeros((4, 2)))
    assert metrics.num_estimable == 0
    assert np.isnan(metrics.macro("auc"))
    assert np.isnan(metrics.macro("specificity"))


def test_accuracies_by_hand():
    # Decisions at one half: slice 2 is wrong on epidural (.6), slice 3 on subdural (.35): 2 of 4, 6 of 8.
    metrics = score()
    assert metrics.joint["accuracy/exact_match"] == 0.5
    assert metrics.joint["accuracy/mean"] == 0.75


def test_slices_and_patients_with_a_label_are_counted():
    subdural = score().per_label[0]
    assert (subdural.num_positive_slices, subdural.num_positive_patients) == (2, 1)
    assert score(patient_ids=None).per_label[0].num_positive_patients is None


def test_log_loss_of_one_half_is_the_logarithm_of_two():
    assert score(probabilities=np.full((4, 2), 0.5)).macro("log_loss") == pytest.approx(np.log(2))


def test_one_sure_mistake_costs_a_finite_loss():
    metrics = evaluate_slices(np.array([[1], [0]]), np.zeros((2, 1)), np.array([0.5]), ("any",))
    assert metrics.per_label[0]["log_loss"] == pytest.approx(34.54 / 2, abs=0.01)


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(7)
    labels = ("a", "b", "c")
    targets = rng.random((500, 3)) < 0.2
    # Rounded so that there are ties.
    probabilities = np.round(np.clip(0.3 * targets + rng.random((500, 3)) * 0.7, 0.01, 0.99), 2)
    metrics = evaluate_slices(targets, probabilities, np.full(3, 0.5), labels)
    for i, scored in enumerate(metrics.per_label):
        assert abs(scored["auc"] - roc_auc_score(targets[:, i], probabilities[:, i])) < 1e-12
        assert (
            abs(scored["average_precision"] - average_precision_score(targets[:, i], probabilities[:, i]))
            < 1e-12
        )
    assert abs(metrics.macro("auc") - roc_auc_score(targets, probabilities, average="macro")) < 1e-12
    decisions = probabilities >= 0.5
    for i, scored in enumerate(metrics.per_label):
        truth, decided = targets[:, i], decisions[:, i]
        assert abs(scored["brier"] - brier_score_loss(truth, probabilities[:, i])) < 1e-12
        assert abs(scored["f1"] - f1_score(truth, decided)) < 1e-12
        assert abs(scored["sensitivity"] - recall_score(truth, decided)) < 1e-12
        assert abs(scored["specificity"] - recall_score(~truth, ~decided)) < 1e-12
        assert abs(scored["ppv"] - precision_score(truth, decided)) < 1e-12
        assert abs(scored["npv"] - precision_score(~truth, ~decided)) < 1e-12
    assert abs(metrics.micro["auc"] - roc_auc_score(targets, probabilities, average="micro")) < 1e-12
    expected_ap = average_precision_score(targets, probabilities, average="micro")
    assert abs(metrics.micro["average_precision"] - expected_ap) < 1e-12
    assert abs(metrics.micro["f1"] - f1_score(targets, decisions, average="micro")) < 1e-12
    assert abs(metrics.macro("f1") - f1_score(targets, decisions, average="macro")) < 1e-12
    expected_loss = log_loss(targets.ravel(), probabilities.ravel())
    assert abs(metrics.joint["log_loss/mean"] - expected_loss) < 1e-12


def test_mlflow_names_are_flat_and_leave_out_what_is_unknown():
    flat = score().as_metrics("test")
    assert flat["test/auc/subdural"] == 0.75
    assert flat["test/auc/macro"] == 0.75
    assert flat["test/f1/macro"] == pytest.approx(2 / 3)
    assert flat["test/sensitivity/subdural"] == 0.5
    assert flat["test/accuracy/exact_match"] == 0.5
    assert flat["test/accuracy/mean"] == 0.75
    assert flat["test/num_estimable"] == 1
    assert flat["test/num_positive_slices/epidural"] == 0
    assert "test/log_loss/mean" in flat
    assert "test/log_loss/rsna" not in flat
    assert "test/auc/epidural" not in flat
    assert all(isinstance(value, float) and np.isfinite(value) for value in flat.values())


def test_table_has_a_row_a_label_and_rows_of_the_means():
    table = score().table().set_index("label")
    assert list(table.index) == ["subdural", "epidural", "macro", "micro"]
    assert table.loc["subdural", "positive_slices"] == 2
    assert table.loc["macro", "auc"] == 0.75
    assert table.loc["macro", "estimable"] == "1 of 2"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"targets": TARGETS[:, :1]}, r"targets have shape \(4, 1\), expected \[N, 2\]"),
        ({"probabilities": PROBABILITIES[:3]}, "4 rows of targets, 3 of probabilities"),
        ({"probabilities": np.full((4, 2), np.nan)}, "8 of 8 probabilities are NaN or outside"),
        ({"probabilities": np.full((4, 2), np.inf)}, "first inf for subdural in row 0"),
        ({"probabilities": np.full((4, 2), 2.5)}, "not logits"),
        ({"targets": TARGETS * 2}, "expected only 0 and 1"),
        ({"targets": TARGETS[:0], "probabilities": PROBABILITIES[:0]}, "at least one slice"),
        ({"thresholds": np.array([0.5])}, "expected 2 finite numbers"),
        ({"thresholds": np.array([0.5, np.nan])}, "expected 2 finite numbers"),
        ({"patient_ids": np.array(["a"])}, r"patient_ids have shape \(1,\), expected \[4\]"),
    ],
)
def test_refuses_what_cannot_be_scored(changed, message):
    with pytest.raises(ValueError, match=message):
        score(**changed)


def test_an_unknown_macro_metric_is_refused():
    with pytest.raises(ValueError, match="expected one of auc"):
        score().macro("accuracy")


def test_rsna_log_loss_counts_any_twice():
    # Only `any` is wrong, by exp(-1): one nat times 2 of 7; the rest cost nothing.
    targets = np.array([[0, 0, 0, 0, 1, 1]])
    probabilities = np.array([[0, 0, 0, 0, 1, np.exp(-1)]])
    assert rsna_log_loss(targets, probabilities) == pytest.approx(2 / 7)


def test_rsna_log_loss_of_one_half_is_the_logarithm_of_two():
    assert rsna_log_loss(np.zeros((3, 6)), np.full((3, 6), 0.5)) == pytest.approx(np.log(2))


def test_rsna_log_loss_refuses_five_columns():
    with pytest.raises(ValueError, match=r"expected \[N, 6\]"):
        rsna_log_loss(np.zeros((3, 5)), np.full((3, 5), 0.5))
