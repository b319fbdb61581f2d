import math
from dataclasses import replace

import pytest

from ich_mlflow.stages.promote.facts import (
    CalibrationLine,
    Compared,
    Facts,
    Figure,
    Home,
    Limits,
    OverNullModel,
    Versus,
)
from ich_mlflow.stages.promote.gates import decide

NAN = math.nan
VERSUS = Versus(
    auc=Compared(candidate=0.92, other=0.90, low=0.005, high=0.035),
    labels={
        "epidural": Compared(candidate=0.90, other=0.88),
        "subdural": Compared(candidate=0.94, other=0.96),
    },
    any_auc={
        "slices": Compared(candidate=0.93, other=0.91, low=-0.01, high=0.05),
        "exams": Compared(candidate=0.95, other=0.96, low=-0.04, high=0.02),
    },
    exam_auc=Compared(candidate=0.94, other=0.93, low=-0.02, high=0.04),
    skill={
        "any of slices": Compared(candidate=0.50, other=0.48),
        "mean of exams": Compared(candidate=0.30, other=0.31),
    },
    seen="",
    home=Home(digest="d" * 64, why_not="the champion's own test set is the one that both are scored on"),
)
FACTS = Facts(
    candidate="run train (aaaaaaaa)",
    champion="ich-5class/1",
    versus=VERSUS,
    source="rsna",
    champion_source="rsna",
    unit="slices",
    digest="d" * 64,
    trained_digest="d" * 64,
    seen="",
    macro_auc=0.92,
    not_estimable=(),
    over_null_models=(),
    calibration=(
        CalibrationLine(
            of="any of slices",
            intercept=Figure(value=0.1, low=-0.2, high=0.4),
            slope=Figure(value=0.9, low=0.7, high=1.2),
        ),
        CalibrationLine(
            of="any of exams",
            intercept=Figure(value=-0.3, low=-0.9, high=0.3),
            slope=Figure(value=1.5, low=0.4, high=2.6),
        ),
    ),
    latency_ms=10.0,
    size_mb=50.0,
    signature="",
    registration="",
    smoke="",
)
OVER_NULL_MODELS = (
    OverNullModel(
        of="any of slices",
        null_model="prevalence",
        compared=Compared(candidate=0.93, other=0.5, low=0.38, high=0.47),
    ),
    OverNullModel(
        of="any of slices",
        null_model="position",
        compared=Compared(candidate=0.93, other=0.75, low=0.12, high=0.24),
    ),
    OverNullModel(
        of="mean of exams",
        null_model="prevalence",
        compared=Compared(candidate=0.94, other=0.5, low=0.3, high=0.5, without=("epidural",)),
    ),
)
FIRST = replace(FACTS, champion=None, champion_source="", versus=None, over_null_models=OVER_NULL_MODELS)
LIMITS = Limits()


def gate(name, facts, limits=LIMITS):
    return next(one for one in decide(facts, limits).gates if one.name == name)


def against(**changed):
    """The facts with another outcome against the champion."""
    return replace(FACTS, versus=replace(VERSUS, **changed))


def test_a_recalibrated_champion_is_better_by_its_probabilities():
    equal = Compared(candidate=0.92, other=0.92, low=-0.2, high=0.2)
    for skill, is_better in (((0.1, 0.3), True), ((-0.1, 0.5), False), ((NAN, NAN), False)):
        low, high = skill
        told = {"any of exams": Compared(candidate=0.5, other=0.3, low=low, high=high)}
        facts = against(auc=equal, same_networks=True, skill=told)
        assert gate("AUC", facts).passed == is_better
        assert gate("AUC", facts, Limits(require="not_worse")).passed
        assert "the networks are the champion's" in gate("AUC", facts).said


def test_a_candidate_that_passes_every_gate_is_promoted():
    decision = decide(FACTS, LIMITS)
    assert decision.promote
    assert decision.failed == ()
    assert [one.name for one in decision.gates] == [
        "AUC", "null models", "labels", "any", "exams", "calibration", "Brier skill", "champion", "source", "home",
        "data", "latency", "size", "signature", "registry", "serving",
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
    facts = against(auc=replace(VERSUS.auc, low=low))
    assert gate("AUC", facts, Limits(require=require)).passed is passed


def test_without_an_interval_it_is_said_why():
    facts = against(auc=replace(VERSUS.auc, low=NAN, high=NAN))
    assert "too few patients" in gate("AUC", facts).said


def test_labels_that_the_mean_is_without_are_named():
    auc = gate("AUC", against(auc=replace(VERSUS.auc, without=("epidural",))))
    assert auc.passed
    assert "difference +0.0200 without epidural (too few patients)" in auc.said


@pytest.mark.parametrize("macro_auc", [None, NAN, math.inf])
def test_a_candidate_whose_auc_is_not_estimable_is_refused_first_or_not(macro_auc):
    for facts in (FACTS, FIRST):
        decision = decide(replace(facts, macro_auc=macro_auc), LIMITS)
        assert decision.failed == ("AUC",)
        assert "not estimable" in decision.why()


def test_a_first_champion_beats_what_does_not_look_at_the_image():
    decision = decide(FIRST, LIMITS)
    assert decision.promote
    assert gate("AUC", FIRST).said == "mean AUC 0.9200 of slices; there is no champion yet"
    # of lower ends 0.38, 0.12 and 0.30 the second is the closest to 0
    assert gate("null models", FIRST).said == (
        "above each of 3; the closest is any of slices 0.9300 against 0.7500 (+0.1800, +0.1200 to +0.2400) of position "
        "alone; mean of exams is without epidural (too few patients)"
    )


@pytest.mark.parametrize("low", [0.0, -0.02])
def test_a_first_champion_whose_interval_over_a_null_model_holds_0_is_refused(low):
    worse = replace(OVER_NULL_MODELS[1], compared=Compared(candidate=0.78, other=0.75, low=low, high=0.08))
    facts = replace(FIRST, over_null_models=(OVER_NULL_MODELS[0], worse))
    decision = decide(facts, LIMITS)
    assert decision.failed == ("null models",)
    assert (
        f"any of slices 0.7800 against 0.7500 (+0.0300, {low:+.4f} to +0.0800) of position alone"
        in decision.why()
    )
    assert "0.5000" not in decision.why()  # the one that it beats is not among them


def test_a_first_champion_of_too_few_patients_is_refused_with_that_reason():
    unknown = replace(OVER_NULL_MODELS[0], compared=Compared(candidate=0.93, other=0.5))
    facts = replace(FIRST, over_null_models=(unknown,), not_estimable=("epidural of slices",))
    assert decide(facts, LIMITS).failed == ("null models",)
    assert gate("null models", facts).said == (
        "expected all of each interval above 0: any of slices 0.9300 against 0.5000 (+0.4300) of prevalence alone, "
        "whose interval can't be told: too few patients with or without; not estimable: epidural of slices"
    )


def test_a_first_champion_whose_any_is_not_estimable_is_refused():
    facts = replace(
        FIRST, over_null_models=(OverNullModel(of="any of exams", null_model="p", compared=None),)
    )
    assert "any of exams is not estimable" in gate("null models", facts).said
    assert not gate("null models", replace(FIRST, over_null_models=())).passed


def test_a_first_champion_can_not_be_wished_over_a_null_model():
    unknown = replace(OVER_NULL_MODELS[0], compared=Compared(candidate=0.93, other=0.5))
    assert not decide(replace(FIRST, over_null_models=(unknown,)), LIMITS, replace=True).promote


def test_who_beats_a_champion_need_not_beat_the_null_models_again():
    assert gate("null models", FACTS).passed


def test_one_label_much_worse_is_enough_to_refuse():
    # 0.94 - 0.96 is 0.02 lower: allowed by 0.05, not by 0.01
    assert gate("labels", FACTS).said == "the largest step back is subdural, -0.0200 AUC (at most -0.05)"
    strict = gate("labels", FACTS, Limits(label_margin=0.01))
    assert not strict.passed
    assert strict.said == "AUC lower by more than 0.01: subdural 0.9400 against 0.9600 (-0.0200)"


def test_a_label_exactly_at_the_margin_passes():
    facts = against(labels={"epidural": Compared(candidate=0.75, other=1.0)})
    assert gate("labels", facts, Limits(label_margin=0.25)).passed
    assert not gate("labels", facts, Limits(label_margin=0.24)).passed


def test_labels_that_nobody_could_score_are_named():
    facts = replace(FACTS, not_estimable=("epidural of slices",))
    assert gate("labels", facts).said.endswith("; not estimable: epidural of slices")
    assert not gate("labels", against(labels={})).passed


@pytest.mark.parametrize(
    ("candidate", "low", "high", "passed"),
    [
        (0.91, -0.12, 0.02, True),  # 0.05 lower than 0.96, which is the margin
        (0.90, -0.13, 0.01, False),
        (0.94, -0.03, -0.01, False),  # by little, but surely
        (0.94, -0.04, 0.0, True),
        (0.94, NAN, NAN, True),
        (NAN, NAN, NAN, False),
    ],
)
@pytest.mark.parametrize("name", ["any", "exams"])
def test_any_and_exams_are_neither_much_lower_nor_surely_lower(name, candidate, low, high, passed):
    one = Compared(candidate=candidate, other=0.96, low=low, high=high)
    slices = Compared(candidate=0.99, other=0.90)
    changed = {"any_auc": {"slices": slices, "exams": one}} if name == "any" else {"exam_auc": one}
    # 0.96 - 0.91 is a little more than 0.05 in floating point
    assert gate(name, against(**changed), Limits(label_margin=0.05 + 1e-9)).passed is passed


def test_the_figures_of_any_are_told():
    assert gate("any", FACTS).said == (
        "AUC slices 0.9300 against 0.9100 (+0.0200, -0.0100 to +0.0500), exams 0.9500 against 0.9600 (-0.0100, -0.0400 "
        "to +0.0200); at most -0.05, not all of it below 0"
    )
    surely = replace(VERSUS.any_auc["exams"], high=-0.001)
    said = gate("any", against(any_auc={"exams": surely})).said
    assert (
        said == "AUC lower by all of the interval: exams 0.9500 against 0.9600 (-0.0100, -0.0400 to -0.0010)"
    )
    assert not gate("any", against(any_auc={})).passed


def test_where_exams_are_what_is_compared_they_are_not_compared_twice():
    facts = replace(against(exam_auc=None), unit="exams")
    assert gate("exams", facts).said == "labels are of exams alone: AUC has compared them"


def test_a_brier_skill_may_be_a_little_lower():
    # 0.30 against 0.31 is 0.01 lower
    assert gate("Brier skill", FACTS).passed
    worse = gate("Brier skill", FACTS, Limits(calibration_margin=0.005))
    assert not worse.passed
    assert worse.said == "lower by more than 0.005: mean of exams 0.3000 against 0.3100 (-0.0100)"
    assert not gate("Brier skill", against(skill={})).passed


@pytest.mark.parametrize(
    ("source", "champion_source", "passed"),
    [("rsna", "rsna", True), ("phantom", "rsna", False), ("rsna", "", False), ("", "", False)],
)
def test_candidate_and_champion_have_learned_from_the_same_source(source, champion_source, passed):
    facts = replace(FACTS, source=source, champion_source=champion_source)
    assert gate("source", facts).passed is passed
    assert decide(facts, LIMITS, replace=True).promote


def test_the_sources_are_told():
    facts = replace(FACTS, source="ctich")
    assert gate("source", facts).said == (
        "the candidate learned from ctich, the champion from rsna; expected the same"
    )
    assert gate("source", FIRST).said == "learned from rsna; there is no champion yet"


def test_a_model_of_phantoms_under_a_real_name_is_refused_where_there_is_no_champion_too():
    misnamed = replace(FIRST, misnamed="ich-5class is for others")
    assert decide(misnamed, LIMITS).failed == ("source",)


HOME = Home(
    digest="e" * 64,
    aucs={"any": Compared(candidate=0.80, other=0.84), "mean": Compared(candidate=0.54, other=0.85)},
)


def test_a_candidate_that_is_worse_at_the_champions_home_is_refused():
    facts = against(home=HOME)
    assert decide(facts, LIMITS).failed == ("home",)
    # 0.54 - 0.85 is 0.31 lower; of any 0.04, which 0.05 allows
    assert gate("home", facts).said == (
        "on the champion's own test set eeeeeeeeeeee: AUC lower by more than 0.05: mean 0.5400 against 0.8500 (-0.3100)"
    )
    passed = gate("home", facts, Limits(label_margin=0.4))
    assert passed.passed
    assert passed.said == (
        "on the champion's own test set eeeeeeeeeeee: any 0.8000 against 0.8400 (-0.0400), mean 0.5400 against 0.8500 "
        "(-0.3100)"
    )


def test_a_candidate_that_has_seen_the_patients_of_the_champions_home_is_refused():
    home = replace(HOME, seen="the candidate has learned from some of them", aucs={})
    assert not gate("home", against(home=home)).passed
    assert gate("home", against(home=home), Limits(same_data=False)).passed


def test_a_home_that_is_not_at_hand_is_said_and_passes():
    home = Home(why_not="the champion's own test set is not at hand: elsewhere is missing")
    assert gate("home", against(home=home)).passed
    assert "not at hand" in gate("home", against(home=home)).said


def test_a_champion_that_can_not_be_read_refuses_until_it_is_replaced():
    facts = replace(
        FIRST, champion="ich-5class/1", champion_source="rsna", unreadable="train the model again"
    )
    decision = decide(facts, LIMITS)
    assert decision.failed == ("champion",)
    assert decision.why() == (
        "champion: ich-5class/1 can't be read, so nothing is compared with it: train the model again; replace=true "
        "promotes without that comparison"
    )
    replaced = decide(facts, LIMITS, replace=True)
    assert (replaced.promote, replaced.replaced) == (True, ("champion",))
    nothing_learned = replace(facts, over_null_models=())
    assert not decide(nothing_learned, LIMITS, replace=True).promote


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(FACTS, trained_digest="e" * 64), "the candidate was trained on eeeeeeeeeeee"),
        (
            against(seen="the champion has learned from some of them"),
            "the champion has learned from some",
        ),
        (replace(FACTS, seen="that the candidate has not is not known"), "that the candidate has not"),
        (replace(FIRST, seen="that the candidate has not is not known"), "that the candidate has not"),
        (replace(against(seen="the other"), seen="the one"), "the one; the other"),
    ],
)
def test_the_test_patients_must_be_new_to_both(facts, said):
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
    facts = against(auc=replace(VERSUS.auc, low=-0.5), seen="not known")
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
    assert lines[12] == "FAILED  size         999.0 MB, expected at most 200 (max_size_mb=)"
    assert {line[8 + 11 : 8 + 13] for line in lines} == {"  "}
