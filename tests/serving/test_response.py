import json
from dataclasses import replace

import numpy as np
import pytest

from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.evaluation.calibration import Calibration
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.operating_point import RULES, OperatingPoint
from ich_mlflow.labels import class_scheme, findings_of
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.refusal import Refusal
from ich_mlflow.serving.request import Asked, param_schema
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.serving.rows import Fault, Row

THRESHOLDS = {"max_f1": 0.5, "sensitivity_95": 0.1}


def point(label, threshold, rule="max_f1", *, patients=20):
    """An operating point chosen on that many patients of either kind."""
    return OperatingPoint(
        label=label, threshold=threshold, sensitivity=1.0, specificity=1.0, sensitivity_low=0.8, sensitivity_high=1.0,
        rule=rule, num_positive=100, num_negative=100, positive_patients=patients, negative_patients=patients,
    )  # fmt: skip


def _chosen(labels, thresholds, *, any_threshold=None, method="platt", patients=20):
    """Points of every rule, at .3 where the thresholds say none; any's own, if given. Calibrations change nothing."""
    points = {
        rule: tuple(
            point(
                one,
                any_threshold if one == "any" and any_threshold else thresholds.get(rule, 0.3),
                rule,
                patients=patients,
            )
            for one in findings_of(labels)
        )
        for rule in RULES
    }
    return Chosen(
        calibrations=tuple(Calibration(label=one, method=method) for one in findings_of(labels)),
        operating_points=points,
    )


def _answerer(
    num_classes=4,
    *,
    context=0,
    smoothing="none",
    aggregation="max",
    any_threshold=None,
    family="slice_cnn",
    abstention=None,
    **chosen,
):
    labels = class_scheme(num_classes).labels
    exams = {**THRESHOLDS, "max_f1": 0.85}
    specification = Specification(
        labels=labels, slices=_chosen(labels, THRESHOLDS, any_threshold=any_threshold, **chosen),
        exams=_chosen(labels, exams, any_threshold=any_threshold, **chosen),
        aggregation=aggregation, null_models={}, exam_null_model=None, run_id="0123456789abcdef", trained_on="phantom",
        data_digest="d", weights="random", recipe="demo", context=context,
        series_smoothing=smoothing, family=family, abstention=abstention,
    )  # fmt: skip
    return Answerer(specification=specification, version=ModelVersion("ich-4class", "3"))


def _row(study="", *warnings, series=None):
    return Row(
        hu=np.zeros((256, 256), np.int16),
        series=study if series is None else series,
        study=study,
        position_mm=0,
        warnings=warnings,
    )


ASKED = Asked(operating_point="max_f1")


def test_a_slice_gets_probabilities_decisions_scores_and_whose_they_are():
    (line,) = _answerer().slices([_row("a", "doubtful")], np.array([[0.2, 0.5, 0.4, 0.1]]), ASKED, [])
    said = {
        "intraparenchymal": 0.2,
        "intraventricular": 0.5,
        "subarachnoid": 0.4,
        "subdural": 0.1,
        "any": 0.5,
    }
    assert line == {
        **{f"probability_{label}": pytest.approx(value) for label, value in said.items()},
        **{f"decision_{label}": label in ("intraventricular", "any") for label in said},
        **{f"score_{label}": value for label, value in said.items()},
        "operating_point": "max_f1", "model_name": "ich-4class", "model_version": "3", "warnings": ["doubtful"],
        "caveats": [], "error": "",
    }  # fmt: skip


def test_any_is_decided_by_its_own_threshold_and_not_by_the_subtypes():
    said = np.array([[0.2, 0.5, 0.4, 0.1], [0.2, 0.6, 0.4, 0.1]])
    lines = _answerer(any_threshold=0.55).slices([_row("a"), _row("a")], said, ASKED, [])
    assert [line["decision_intraventricular"] for line in lines] == [True, True]
    assert [line["decision_any"] for line in lines] == [False, True]


def test_a_probability_is_calibrated_and_a_score_is_what_the_network_said():
    answerer = _answerer()
    half = replace(
        answerer.specification.slices,
        calibrations=tuple(
            Calibration(label=one, method="isotonic", x=(0.0, 1.0), y=(0.0, 0.5))
            for one in answerer.specification.findings
        ),
    )
    answerer = replace(answerer, specification=replace(answerer.specification, slices=half))
    (line,) = answerer.slices([_row()], np.array([[0.2, 0.6, 0.4, 0.1]]), ASKED, [])
    assert (line["probability_any"], line["score_any"]) == (pytest.approx(0.3), 0.6)
    assert line["decision_any"] is False


def test_what_validation_was_too_small_for_is_said_in_every_answer_of_a_slice_or_an_exam():
    answerer = _answerer(method="shrunk", patients=9)
    (line,) = answerer.slices([_row()], np.array([[0.2, 0.6, 0.4, 0.1]]), ASKED, [])
    drawn, few = line["caveats"]
    assert drawn.startswith("probabilities of slices (intraparenchymal")
    assert "any 9 with, 9 without, sensitivity 1.00 (0.80 to 1.00)" in few
    (exam,) = answerer.exams([_row()], np.array([[0.2, 0.6, 0.4, 0.1]]), replace(ASKED, aggregate="exam"))
    assert exam["caveats"][0].startswith("probabilities of exams")


def test_any_is_a_six_class_models_own_label():
    (line,) = _answerer(6).slices([_row()], np.array([[0.2, 0.9, 0.1, 0.1, 0.1, 0.3]]), ASKED, [])
    assert (line["score_any"], line["decision_any"]) == (0.3, False)


def test_another_operating_point_decides_otherwise():
    asked = Asked(operating_point="sensitivity_95")
    (line,) = _answerer().slices([_row()], np.array([[0.2, 0.05, 0.4, 0.1]]), asked, [])
    assert [line[f"decision_{label}"] for label in class_scheme(4).labels] == [True, False, True, True]
    assert line["operating_point"] == "sensitivity_95"


def test_a_bad_row_keeps_its_place_with_its_error_and_no_numbers():
    rows = [Fault("row 0: bad"), _row()]
    bad, good = _answerer().slices(rows, np.array([[0.2, 0.5, 0.4, 0.1]]), ASKED, [["png"] * 4])
    assert bad["error"] == "row 0: bad"
    assert bad["probability_any"] is bad["decision_any"] is None
    assert good["probability_any"] == pytest.approx(0.5)
    assert good["heat_map_subdural"] == "png"
    assert "NaN" not in json.dumps([bad, good])


def test_slices_of_a_study_are_one_exam_decided_as_exams_are():
    rows = [_row("a", "w"), _row("b"), Fault("row 2: bad"), _row("a"), _row()]
    said = np.array([[0.2, 0.5, 0.4, 0.1], [0.9, 0.0, 0.0, 0.0], [0.8, 0.1, 0.1, 0.1], [0.3, 0.3, 0.3, 0.3]])
    lines = _answerer().exams(rows, said, Asked(operating_point="max_f1", aggregate="exam"))
    assert [line["rows"] for line in lines] == [[0, 3], [1], [4], [2]]
    assert [line["score_intraparenchymal"] for line in lines] == [0.8, 0.9, 0.3, None]
    assert [line["decision_intraparenchymal"] for line in lines] == [False, True, False, None]
    assert lines[0]["warnings"][0] == "row 0: w"
    assert lines[0]["warnings"][1:] == lines[1]["warnings"]  # one row is lost, and nobody knows whose
    assert lines[3]["error"] == "row 2: bad"


def test_several_series_of_a_study_are_the_highest_of_them_and_not_pooled():
    # two slices each: the means of two are .5 and .3; pooled the two highest would give .55
    said = np.zeros((4, 4))
    said[:, 0] = [0.6, 0.4, 0.5, 0.1]
    rows = [_row("study", series=name) for name in ("soft", "soft", "bone", "bone")]
    asked = Asked(operating_point="max_f1", aggregate="exam")
    (line,) = _answerer(aggregation="mean_of_2").exams(rows, said, asked)
    assert line["probability_intraparenchymal"] == pytest.approx(0.5)


def test_a_model_with_context_warns_where_no_neighbour_was_sent():
    said = np.full((3, 4), 0.1)
    rows = [replace(_row("a"), position_mm=5.0), _row("a"), _row("b")]
    lines = _answerer(context=1).slices(rows, said, ASKED, [])
    assert [bool(line["warnings"]) for line in lines] == [False, False, True]


def test_so_does_one_that_smooths_along_the_series_and_one_whose_order_is_not_known():
    said = np.full((3, 4), 0.1)
    lines = _answerer(smoothing="15mm").slices([_row("a"), _row("a"), _row("b")], said, ASKED, [])
    assert [line["warnings"] for line in lines] == [
        ["all slices of its series are at one position: their order is not known"],
        ["all slices of its series are at one position: their order is not known"],
        ["no neighbouring slice of its series was sent: it stands in for them"],
    ]
    assert _answerer().slices([_row("a")], said[:1], ASKED, [])[0]["warnings"] == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"operating_point": "best"},
            "params: operating_point is none of max_f1, youden, sensitivity_90, "
            "sensitivity_95, specificity_90",
        ),
        ({"aggregate": "study"}, "params: aggregate is none of slice, exam"),
        ({"on_error": "ignore"}, "params: on_error is none of fail, skip"),
        ({"explain": True, "aggregate": "exam"}, "params: explain is of slices, ask without aggregate=exam"),
    ],
)
def test_params_that_are_none_are_refused_without_repeating_them(params, said):
    with pytest.raises(Refusal) as refused:
        Asked.of(params, decides_by="max_f1")
    assert refused.value.message == said


def test_without_params_the_model_decides_as_it_was_made_to():
    assert Asked.of(None, decides_by="youden") == Asked(operating_point="youden")
    assert {one.name: one.default for one in param_schema("youden").params} == {
        "operating_point": "youden", "explain": False, "aggregate": "slice", "on_error": "fail", "abstain": True,
    }  # fmt: skip


def _slice(series, position_mm=0.0):
    return Row(
        hu=np.zeros((2, 2), np.int16), series=series, study="study", position_mm=position_mm, warnings=()
    )


def test_a_model_that_reads_exams_says_of_each_slice_what_it_says_of_its_series():
    answerer = _answerer(family="exam_sequence", aggregation="model")
    rows = [_slice("a"), _slice("a", 5.0), Fault("row 2: broken")]
    outputs = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.2]])
    of_series = np.array([[0.9, 0.1, 0.2, 0.3]] * 2)
    asked = Asked(operating_point="max_f1")
    first, second, broken = answerer.slices(rows, outputs, asked, [], of_series)
    label = answerer.specification.labels[0]
    assert first[f"series_score_{label}"] == second[f"series_score_{label}"] == 0.9
    assert broken[f"series_score_{label}"] is None
    assert set(broken) == set(first)
    # the exam is what the model says of the series, and none of its slices: any is its highest label
    (exam, _) = answerer.exams(rows, outputs, asked, of_series)
    assert (exam[f"score_{label}"], exam["score_any"]) == (0.9, 0.9)


def test_a_model_of_slices_says_nothing_of_series():
    (line,) = _answerer().slices([_slice("a")], np.full((1, 4), 0.2), Asked(operating_point="max_f1"), [])
    assert not any(name.startswith("series_score") for name in line)


def test_a_lone_slice_of_a_model_that_reads_exams_is_warned_about():
    answerer = _answerer(family="exam_sequence", aggregation="model")
    (line,) = answerer.slices(
        [_slice("a")], np.full((1, 4), 0.2), Asked(operating_point="max_f1"), [], np.full((1, 4), 0.2)
    )
    assert line["warnings"] == ["no neighbouring slice of its series was sent: it stands in for them"]


def _exams(answerer, *scores, distance=None, abstain=True):
    rows = [_row(f"study {number}") for number in range(len(scores))]
    outputs = np.array([[one, 0.0, 0.0, 0.0] for one in scores])
    asked = Asked(operating_point="max_f1", aggregate="exam", abstain=abstain)
    return answerer.exams(rows, outputs, asked, None, distance)


def test_an_exam_has_a_status_and_why_it_is_uncertain():
    rule = Abstention(alpha=0.05, clear_below=0.3, bleeding_patients=30, far_from=2.0, patients=50)
    answerer = _answerer(abstention=rule)
    lines = _exams(answerer, 0.9, 0.4, 0.1, 0.1, distance=np.array([1.0, 1.0, 1.0, 2.5]))
    assert [one["status"] for one in lines] == ["flagged", "uncertain", "not flagged", "uncertain"]
    assert [len(one["uncertain_because"]) for one in lines] == [0, 1, 0, 1]
    assert not any("uncertain" in text for one in lines for text in one["caveats"])
    lines = _exams(answerer, 0.4, abstain=False)
    assert (lines[0]["status"], lines[0]["uncertain_because"]) == ("not flagged", [])


def test_a_version_that_cannot_abstain_says_so_beside_every_exam():
    (line,) = _exams(_answerer(), 0.4)
    assert line["status"] == "not flagged"
    assert "packed without abstention" in line["caveats"][-1]
    few = Abstention(alpha=0.05, bleeding_patients=4, patients=9)
    (line,) = _exams(_answerer(abstention=few), 0.4)
    assert line["status"] == "not flagged"
    assert sum("there were" in text for text in line["caveats"]) == 2


def test_an_exam_of_a_request_with_rows_that_cannot_be_used_is_uncertain_unless_it_is_flagged():
    rule = Abstention(alpha=0.05, clear_below=0.3, bleeding_patients=30)
    answerer = _answerer(abstention=rule)
    rows = [_row("a"), Fault("row 1: cut short"), _row("b")]
    outputs = np.array([[0.1, 0, 0, 0], [0.9, 0, 0, 0]])
    asked = Asked(operating_point="max_f1", aggregate="exam", on_error="skip")
    clear, flagged, broken = answerer.exams(rows, outputs, asked)
    assert (clear["status"], flagged["status"], broken["status"]) == ("uncertain", "flagged", None)
    assert "an exam may be incomplete" in clear["uncertain_because"][0]
    assert "could not be used: 1" in clear["warnings"][-1]
    declined = answerer.exams(rows, outputs, replace(asked, abstain=False))[0]
    assert (declined["status"], declined["uncertain_because"]) == ("not flagged", [])
    assert "could not be used: 1" in declined["warnings"][-1]


def test_a_row_that_cannot_be_read_has_no_status():
    line = _answerer().exams([Fault("row 0: broken")], np.empty((0, 4)), Asked(operating_point="max_f1"))[0]
    assert (line["status"], line["uncertain_because"], line["error"]) == (None, None, "row 0: broken")
