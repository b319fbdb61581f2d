"""Which run is promoted where none is named, and what is said where none fits; runs are made up."""

import pytest

from ich_mlflow.errors import OptionError, PromotionError
from ich_mlflow.stages.promote.candidates import best_of, lowest_is_best, misnamed, name_of, wanted_name
from ich_mlflow.stages.promote.options import PromoteOptions
from ich_mlflow.tracking.registry import TrainedRun
from tests.printed import check_printed_commands

METRIC = "val/auc/macro"


def run(run_id, source, auc=0.9, *, num_classes=5, **metrics):
    return TrainedRun(
        run_id=run_id,
        name="train",
        metrics={METRIC: auc, **metrics},
        params={"hp.num_classes": str(num_classes), "data.source": source},
        tags={},
    )


REAL, PHANTOM, OTHER = run("real", "rsna", 0.8), run("phantom", "phantom", 0.99), run("other", "ctich", 0.9)


def best(runs, name="ich-5class", champion_source="", metric=METRIC, but=()):
    return best_of(runs, name=name, champion_source=champion_source, metric=metric, but=but).run_id


def test_phantoms_never_pass_for_patients():
    assert best([REAL, PHANTOM]) == "real"
    assert best([REAL, PHANTOM], "ich-5class-phantom") == "phantom"


def test_where_there_is_a_champion_only_its_source_counts():
    assert best([REAL, OTHER]) == "other"
    assert best([REAL, OTHER], champion_source="rsna") == "real"
    # a champion from before phantoms had a name of their own
    assert best([REAL, PHANTOM], champion_source="phantom") == "real"


def test_where_only_phantom_runs_exist_the_error_gives_the_command():
    with pytest.raises(PromotionError) as refusal:
        best([PHANTOM])
    assert "all 1 finished training run with num_classes=5" in str(refusal.value)
    (words,) = check_printed_commands(str(refusal.value))
    assert words[-1] == "model=ich-5class-phantom"
    with pytest.raises(
        PromotionError, match=r"expected one that learned from phantoms for ich-4class-phantom"
    ):
        best([run("four", "rsna", num_classes=4)], "ich-4class-phantom")


def test_where_none_has_the_champions_source_it_says_which_there_are():
    with pytest.raises(PromotionError) as refusal:
        best([OTHER, PHANTOM], champion_source="rsna")
    assert str(refusal.value) == (
        "none of the 1 finished training run with num_classes=5 that could be promoted to ich-5class learned from "
        "rsna, as its champion did, but from ctich: train on rsna, or name one by -P run=<run id> -P replace=true"
    )


def test_a_metric_that_no_run_has_is_the_reason_and_its_nearest_is_named():
    with pytest.raises(PromotionError) as refusal:
        best([REAL], metric="val/auc/marco")
    assert str(refusal.value).startswith("metric is 'val/auc/marco', and none of the 1 finished training run")
    assert str(refusal.value).endswith("(did you mean val/auc/macro?)")


def test_runs_that_were_rolled_back_are_passed_over_and_where_no_other_is_left_it_says_so(workspace):
    assert best([REAL, OTHER], but=["other"]) == "real"
    with pytest.raises(PromotionError, match="rolled back") as refusal:
        best([REAL], but=["real"])
    assert len(check_printed_commands(str(refusal.value))) == 1
    with pytest.raises(PromotionError, match="no finished training run with num_classes=5 in ") as refusal:
        best([])
    assert len(check_printed_commands(str(refusal.value))) == 1


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val/auc/macro", False),
        ("val/auc/any", False),
        ("val/exam/auc/any", False),
        ("val/brier/any", True),
        ("val/brier_skill/any", False),
        ("val/ece/macro", True),
        ("val/log_loss/rsna", True),
        ("val/log_loss/any", True),
        ("val/loss", True),
        ("val_loss", True),
        ("val/accuracy/mean", False),
    ],
)
def test_the_metrics_record_says_whether_the_lowest_is_best(metric, expected):
    assert lowest_is_best(metric) is expected


def test_a_metric_without_a_best_end_is_refused():
    with pytest.raises(
        OptionError, match="metric is 'val/calibration_slope/any', whose best value is neither"
    ):
        lowest_is_best("val/calibration_slope/any")


def test_a_skill_below_0_is_a_skill_and_the_lowest_loss_is_the_best():
    low, high = (run(name, "rsna", **{"val/brier_skill/any": skill, "val/loss": -skill}) for name, skill in
                 (("low", -0.3), ("high", -0.1)))  # fmt: skip
    assert best([low, high], metric="val/brier_skill/any") == "high"
    assert best([low, high], metric="val/loss") == "high"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "ich-5class"),
        ({"num_classes": "4"}, "ich-4class"),
        ({"model": "ich-6class-phantom"}, "ich-6class-phantom"),
        ({"model": "ich-4class", "num_classes": "4"}, "ich-4class"),
    ],
)
def test_the_name_that_was_asked_for(said, expected):
    assert wanted_name(PromoteOptions(**said)) == expected


@pytest.mark.parametrize(
    ("candidate", "said", "expected"),
    [
        (REAL, {}, "ich-5class"),
        (PHANTOM, {}, "ich-5class-phantom"),
        (run("x", "phantom", num_classes=6), {}, "ich-6class-phantom"),
        # refused by the gate, which the record then has
        (PHANTOM, {"model": "ich-5class"}, "ich-5class"),
    ],
)
def test_a_candidate_has_the_name_of_its_classes_and_its_data_unless_another_is_said(
    candidate, said, expected
):
    assert name_of(candidate, PromoteOptions(run="x", **said)) == expected


@pytest.mark.parametrize(
    "said", [{"num_classes": "4"}, {"model": "ich-4class"}, {"model": "ich-4class-phantom"}]
)
def test_a_candidate_of_other_classes_is_one_line(said):
    with pytest.raises(
        PromotionError, match=r"predicts 5 classes, expected (num_classes=4|model=ich-4class)"
    ):
        name_of(REAL, PromoteOptions(run="x", **said))


def test_a_name_that_does_not_fit_the_data_is_said():
    assert misnamed("ich-5class", "rsna") == misnamed("ich-5class-phantom", "phantom") == ""
    assert misnamed("ich-5class", "phantom") == (
        "ich-5class is for models that learned from other data than phantoms, and the candidate learned from phantom: "
        "leave out model="
    )
    assert "is for models that learned from phantoms" in misnamed("ich-5class-phantom", "")
