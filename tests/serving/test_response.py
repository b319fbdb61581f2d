import json

import numpy as np
import pytest

from ich_mlflow.evaluation.calibration import Calibration
from ich_mlflow.evaluation.chosen import Chosen
from ich_mlflow.evaluation.operating_point import RULES, OperatingPoint
from ich_mlflow.labels import class_scheme
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.refusal import Refusal
from ich_mlflow.serving.request import Asked, param_schema
from ich_mlflow.serving.response import Answerer, ModelVersion
from ich_mlflow.serving.rows import Fault, Row

THRESHOLDS = {"max_f1": 0.5, "sensitivity_95": 0.1, "youden": 0.3}


def _chosen(labels, thresholds):
    points = {
        rule: tuple(
            OperatingPoint(label=one, threshold=thresholds[rule], sensitivity=1.0, specificity=1.0, rule=rule)
            for one in labels
        )
        for rule in RULES
    }
    return Chosen(
        calibrations=tuple(Calibration(label=one, method="none") for one in labels), operating_points=points
    )


def _answerer(num_classes=4, *, context=0, aggregation="max"):
    labels = class_scheme(num_classes).labels
    specification = Specification(
        labels=labels, slices=_chosen(labels, THRESHOLDS), exams=_chosen(labels, {**THRESHOLDS, "max_f1": 0.85}),
        aggregation=aggregation, null_models={}, exam_null_model=None, run_id="0123456789abcdef", trained_on="phantom",
        data_digest="d", weights="random", recipe="demo", context=context,
    )  # fmt: skip
    return Answerer(specification=specification, version=ModelVersion("ich-4class", "3"))


def _row(series="", *warnings):
    return Row(
        hu=np.zeros((256, 256), np.int16), series=series, study=series, position_mm=0, warnings=warnings
    )


ASKED = Asked(operating_point="max_f1")


def test_a_slice_gets_probabilities_decisions_and_whose_they_are():
    (line,) = _answerer().slices([_row("a", "doubtful")], np.array([[0.2, 0.5, 0.4, 0.1]]), ASKED, [])
    assert line == {
        "probability_intraparenchymal": 0.2, "probability_intraventricular": 0.5, "probability_subarachnoid": 0.4,
        "probability_subdural": 0.1, "probability_any": 0.5, "decision_intraparenchymal": False,
        "decision_intraventricular": True, "decision_subarachnoid": False, "decision_subdural": False,
        "decision_any": True, "operating_point": "max_f1", "model_name": "ich-4class", "model_version": "3",
        "warnings": ["doubtful"], "error": "",
    }  # fmt: skip


def test_any_is_a_six_class_models_own_label():
    (line,) = _answerer(6).slices([_row()], np.array([[0.2, 0.9, 0.1, 0.1, 0.1, 0.3]]), ASKED, [])
    assert (line["probability_any"], line["decision_any"]) == (0.3, False)


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
    assert good["probability_any"] == 0.5
    assert good["heat_map_subdural"] == "png"
    assert "NaN" not in json.dumps([bad, good])


def test_slices_of_a_study_are_one_exam_decided_as_exams_are():
    rows = [_row("a", "w"), _row("b"), Fault("row 2: bad"), _row("a"), _row()]
    said = np.array([[0.2, 0.5, 0.4, 0.1], [0.9, 0.0, 0.0, 0.0], [0.8, 0.1, 0.1, 0.1], [0.3, 0.3, 0.3, 0.3]])
    lines = _answerer().exams(rows, said, Asked(operating_point="max_f1", aggregate="exam"))
    assert [line["rows"] for line in lines] == [[0, 3], [1], [4], [2]]
    assert [line["probability_intraparenchymal"] for line in lines] == [0.8, 0.9, 0.3, None]
    assert [line["decision_intraparenchymal"] for line in lines] == [False, True, False, None]
    assert lines[0]["warnings"] == ["row 0: w"]
    assert lines[3]["error"] == "row 2: bad"


def test_noisy_or_puts_slices_together_as_the_model_says():
    said = np.array([[0.5, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    asked = Asked(operating_point="max_f1", aggregate="exam")
    (line,) = _answerer(aggregation="noisy_or").exams([_row("a"), _row("a")], said, asked)
    assert line["probability_intraparenchymal"] == pytest.approx(0.75)


def test_a_model_with_context_warns_where_no_neighbour_was_sent():
    said = np.full((3, 4), 0.1)
    lines = _answerer(context=1).slices([_row("a"), _row("a"), _row("b")], said, ASKED, [])
    assert [bool(line["warnings"]) for line in lines] == [False, False, True]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"operating_point": "best"}, "params: operating_point is none of max_f1, sensitivity_95, youden"),
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
        "operating_point": "youden", "explain": False, "aggregate": "slice", "on_error": "fail",
    }  # fmt: skip
