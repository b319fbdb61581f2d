import numpy as np

from ich_mlflow.evaluation.assess import Predictions
from ich_mlflow.evaluation.subgroups import Grouping, score_subgroups, terciles

PREDICTIONS = Predictions(
    labels=("subdural",),
    targets=np.array([[1], [1], [0], [0], [1], [0]], dtype=bool),
    probabilities=np.array([[0.9], [0.2], [0.1], [0.3], [0.8], [0.7]]),
    thresholds=np.array([0.5]),
    patients=np.array(["a", "b", "c", "d", "e", "f"]),
)


def test_a_group_is_scored_on_its_own_slices():
    thin = np.array(["thin", "thin", "thin", "thin", "thick", "thick"])
    table = score_subgroups(PREDICTIONS, [Grouping(name="step", groups=thin)], num_resamples=50).set_index(
        "group"
    )
    # .9 and .2 against .1 and .3: three of four pairs are right
    assert table.loc["thin", "auc"] == 0.75
    assert table.loc["thick", "auc"] == 1
    assert (table.loc["thin", "sensitivity"], table.loc["thin", "specificity"]) == (0.5, 1)
    assert table.loc["thick", "specificity"] == 0
    assert (table.loc["thin", "num_positive"], table.loc["thin", "patients"]) == (2, 2)


def test_groups_of_positives_are_set_against_all_negatives():
    size = np.array(["small", "large", "", "", "large", ""])
    grouping = Grouping(name="size", groups=size, positives_only=True)
    table = score_subgroups(PREDICTIONS, [grouping], num_resamples=50).set_index("group")
    assert (table["num_negative"] == 3).all()
    # large: .2 beats .1 of three, .8 beats all three
    np.testing.assert_allclose(table.loc["large", "auc"], 4 / 6)
    assert np.isnan(table.loc["large", "specificity"])


def test_a_group_without_positives_is_left_out():
    groups = np.array(["x", "x", "y", "y", "x", "x"])
    table = score_subgroups(PREDICTIONS, [Grouping(name="g", groups=groups)], num_resamples=50)
    assert list(table["group"]) == ["x"]


def test_groups_can_differ_from_label_to_label():
    both = Predictions(
        labels=("epidural", "subdural"),
        targets=np.repeat(PREDICTIONS.targets, 2, axis=1),
        probabilities=np.repeat(PREDICTIONS.probabilities, 2, axis=1),
        thresholds=np.array([0.5, 0.5]),
        patients=PREDICTIONS.patients,
    )
    groups = np.array([["s", ""], ["", "s"], ["", ""], ["", ""], ["", ""], ["", ""]])
    table = score_subgroups(both, [Grouping(name="g", groups=groups, positives_only=True)], num_resamples=50)
    assert list(table["label"]) == ["epidural", "subdural"]
    np.testing.assert_allclose(table["auc"], [1, 1 / 3])


def test_terciles_name_their_range_and_leave_out_what_is_unknown():
    groups = terciles(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.nan]), "mm", digits=0)
    assert groups[-1] == ""
    assert len(set(groups[:-1])) == 3
    assert groups[0] == groups[1] == "1: 1 to 3 mm"
    assert groups[5].startswith("3: ")


def test_values_that_are_all_the_same_are_one_group():
    assert set(terciles(np.full(5, 0.5), "mm")) == {"1: 0.5 to 0.5 mm"}
    assert set(terciles(np.full(3, np.nan), "mm")) == {""}
