import math
from dataclasses import replace

import pytest

from ich_mlflow.stages.promote.gates import Compared, Facts, Limits, decide

NAN = math.nan
FACTS = Facts(
    candidate="run train (aaaaaaaa)",
    champion="ich-5class/1",
    unit="slices",
    digest="d" * 64,
    trained_digest="d" * 64,
    champion_seen="",
    macro_auc=0.92,
    auc=Compared(candidate=0.92, champion=0.90, low=0.005, high=0.035),
    labels={
        "epidural": Compared(candidate=0.90, champion=0.88),
        "subdural": Compared(candidate=0.94, champion=0.96),
    },
    not_estimable=(),
    ece=0.03,
    champion_ece=0.02,
    latency_ms=10.0,
    size_mb=50.0,
    signature="",
    registration="",
    smoke="",
)
FIRST = replace(FACTS, champion=None, auc=None, labels={}, champion_ece=None)
LIMITS = Limits()


def gate(name, facts, limits=LIMITS):
    return next(one for one in decide(facts, limits).gates if one.name == name)


def test_a_candidate_that_passes_every_gate_is_promoted():
    decision = decide(FACTS, LIMITS)
    assert decision.promote
    assert decision.failed == ()
    assert [one.name for one in decision.gates] == [
        "AUC", "labels", "calibration", "data", "latency", "size", "signature", "registry", "serving",
    ]  # fmt: skip
    assert decision.why() == (
        "AUC: mean AUC 0.9200 against 0.9000, difference +0.0200 (+0.0050 to +0.0350); "
        "expected all of it above 0 (better)"
    )


@pytest.mark.parametrize(
    ("low", "require", "passed"),
    [
        (0.001, "better", True),
        (0.0, "better", False),
        (-0.005, "better", False),
        (-0.005, "not_worse", True),
        (-0.01, "not_worse", False),  # all of it must lie above the margin
        (-0.02, "not_worse", False),
        (NAN, "better", False),
        (NAN, "not_worse", False),
    ],
)
def test_the_interval_of_the_difference_decides_not_the_difference(low, require, passed):
    facts = replace(FACTS, auc=replace(FACTS.auc, low=low))
    assert gate("AUC", facts, Limits(require=require)).passed is passed


def test_without_an_interval_it_is_said_why():
    facts = replace(FACTS, auc=replace(FACTS.auc, low=NAN, high=NAN))
    assert "too few patients" in gate("AUC", facts).said


def test_labels_that_the_mean_is_without_are_named():
    auc = gate("AUC", replace(FACTS, too_few=("epidural",)))
    assert auc.passed
    assert "difference +0.0200 without epidural (too few patients)" in auc.said


def test_the_first_candidate_has_nobody_to_beat():
    decision = decide(FIRST, LIMITS)
    assert decision.promote
    assert gate("AUC", FIRST).said == "mean AUC 0.9200 of slices; there is no champion yet"


@pytest.mark.parametrize("macro_auc", [None, NAN, math.inf])
def test_a_candidate_whose_auc_is_not_estimable_is_refused_first_or_not(macro_auc):
    for facts in (FACTS, FIRST):
        decision = decide(replace(facts, macro_auc=macro_auc), LIMITS)
        assert decision.failed == ("AUC",)
        assert "not estimable" in decision.why()


def test_one_label_much_worse_is_enough_to_refuse():
    # 0.94 - 0.96 is 0.02 lower: allowed by 0.05, not by 0.01
    assert gate("labels", FACTS).said == "the largest step back is subdural, -0.0200 AUC (at most -0.05)"
    strict = gate("labels", FACTS, Limits(label_margin=0.01))
    assert not strict.passed
    assert strict.said == "AUC lower by more than 0.01: subdural 0.9400 against 0.9600 (-0.0200)"


def test_a_label_exactly_at_the_margin_passes():
    facts = replace(FACTS, labels={"epidural": Compared(candidate=0.75, champion=1.0)})
    assert gate("labels", facts, Limits(label_margin=0.25)).passed
    assert not gate("labels", facts, Limits(label_margin=0.24)).passed


def test_labels_that_nobody_could_score_are_named():
    assert gate("labels", replace(FACTS, not_estimable=("epidural",))).said.endswith(
        "; not estimable: epidural"
    )
    assert not gate("labels", replace(FACTS, labels={})).passed


def test_calibration_may_be_a_little_worse():
    # 0.03 against 0.02 and a margin of 0.02; then of 0.005
    assert gate("calibration", FACTS).passed
    worse = gate("calibration", FACTS, Limits(calibration_margin=0.005))
    assert not worse.passed
    assert worse.said == "expected calibration error 0.0300 against 0.0200, expected at most 0.0250"
    assert not gate("calibration", replace(FACTS, ece=None)).passed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"trained_digest": "e" * 64}, "the candidate was trained on eeeeeeeeeeee"),
        (
            {"champion_seen": "the champion has learned from some of them"},
            "the champion has learned from some",
        ),
    ],
)
def test_the_test_patients_must_be_new_to_both(changed, said):
    facts = replace(FACTS, **changed)
    assert not gate("data", facts).passed
    assert said in gate("data", facts).said
    allowed = gate("data", facts, Limits(same_data=False))
    assert allowed.passed
    assert allowed.said.endswith("(not demanded: same_data=false)")


@pytest.mark.parametrize(("name", "option"), [("latency", "latency_ms"), ("size", "size_mb")])
def test_slow_or_large_models_are_refused(name, option):
    limits = Limits(max_latency_ms=100, max_size_mb=100)
    assert gate(name, replace(FACTS, **{option: 100.0}), limits).passed
    assert not gate(name, replace(FACTS, **{option: 100.1}), limits).passed
    assert not gate(name, replace(FACTS, **{option: NAN}), limits).passed


@pytest.mark.parametrize(
    ("name", "fact"), [("signature", "signature"), ("registry", "registration"), ("serving", "smoke")]
)
def test_what_is_wrong_with_a_version_is_the_gates_text(name, fact):
    decision = decide(replace(FACTS, **{fact: "the server ended with exit code 1"}), LIMITS)
    assert decision.failed == (name,)
    assert decision.why() == f"{name}: the server ended with exit code 1"


def test_serving_that_was_not_tried_passes_and_says_so():
    assert gate("serving", replace(FACTS, smoke=None)).said == "not tried"


def test_replace_passes_over_comparisons_and_says_which():
    facts = replace(FACTS, auc=replace(FACTS.auc, low=-0.5), champion_seen="not known")
    assert not decide(facts, LIMITS).promote
    decision = decide(facts, LIMITS, replace=True)
    assert decision.promote
    assert decision.replaced == ("AUC", "data")
    assert decision.lines()[-1] == "promoted all the same (replace=true): AUC, data"


@pytest.mark.parametrize(
    "changed", [{"smoke": "no answer"}, {"signature": "x"}, {"latency_ms": 1e6}, {"registration": "x"}]
)
def test_replace_never_passes_over_what_serving_needs(changed):
    assert not decide(replace(FACTS, **changed), LIMITS, replace=True).promote


def test_lines_are_aligned_and_failures_stand_out():
    lines = decide(replace(FACTS, size_mb=999.0), LIMITS).lines()
    assert lines[5] == "FAILED  size         999.0 MB, expected at most 200 (max_size_mb=)"
    assert {line[8 + 11 : 8 + 13] for line in lines} == {"  "}
