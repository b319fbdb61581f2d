import pandas as pd
import pytest

from ich_mlflow.prediction import tables
from ich_mlflow.prediction.pictures import choose_slices
from ich_mlflow.prediction.verdict import in_order, judge
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.response import ModelVersion
from tests.prediction.results import planned, score, study
from tests.serving.test_response import _answerer

#: Slices are decided from 0.5 up, exams from 0.85.
ANSWERER, ASKED = _answerer(5), Asked(operating_point="max_f1")
LOW, HIGH = (0.1, 0.2, 0.1, 0.1, 0.1), (0.1, 0.9, 0.1, 0.1, 0.88)


def judged(*of_slices, number=1, remarks=(), **options):
    series = planned(slices=len(of_slices), remarks=remarks)
    return judge(study(series, number=number), {"k": score(*of_slices, **options)}, ANSWERER, ASKED)


def test_an_exam_is_flagged_by_its_most_probable_slice():
    result = judged(LOW, HIGH, LOW)
    assert (result.status, result.positive) == ("flagged", ("intraparenchymal", "subdural"))
    assert result.probability == pytest.approx(0.9)
    assert [one.said["decision_any"] for one in result.slices] == [False, True, False]
    assert result.reasons == ()


def test_an_exam_below_its_operating_points_is_not_flagged_though_a_slice_is_positive():
    result = judged(LOW, (0.1, 0.7, 0.1, 0.1, 0.1))
    assert (result.status, result.positive) == ("not flagged", ())
    assert result.slices[1].said["decision_intraparenchymal"]


def test_a_slice_that_cannot_be_read_makes_the_rest_unsure_but_never_hides_a_bleed():
    result = judged(LOW, (), LOW)
    assert (result.status, result.reasons) == ("review", ("1 of 3 slices can't be read",))
    assert [bool(one.said) for one in result.slices] == [True, False, True]
    assert judged(HIGH, ()).status == "flagged"


def test_a_part_of_a_head_without_a_bleed_is_to_be_looked_at():
    assert judged(LOW, remarks=("less than a whole head",)).status == "review"
    assert judged(HIGH, remarks=("less than a whole head",)).status == "flagged"


def test_what_is_not_like_a_head_is_not_flagged_whatever_the_network_says():
    chest = ("not like a head CT: 33 % of the body is air, as where there are lungs",)
    result = judged(HIGH, HIGH, HIGH, warnings=[chest, chest, ()])
    assert (result.status, result.reasons) == ("review", ("2 of 3 slices are not like a head CT",))
    assert judged(HIGH, LOW, warnings=[chest, ()]).status == "flagged"  # half of them: a mastoid, a mouth


def test_a_study_without_anything_to_score_says_why():
    empty = judge(study(why="contrast, by its name"), {}, ANSWERER, ASKED)
    assert (empty.status, empty.said, empty.reasons) == (
        "review", {}, ("no non-contrast head CT in it: contrast, by its name",),
    )  # fmt: skip
    unreadable = judged((), ())
    assert unreadable.reasons == ("none of the 2 slices of its series can be read",)
    assert unreadable.probability == 0


def test_a_subtype_flags_also_where_a_model_decides_any_by_itself_and_does_not():
    result = judge(
        study(planned(slices=1)), {"k": score((0.1, 0.1, 0.1, 0.1, 0.95, 0.5))}, _answerer(6), ASKED
    )
    assert (result.status, result.positive) == ("flagged", ("subdural",))
    assert result.probability == pytest.approx(0.95)  # of any it is 0.5


def test_two_reconstructions_of_a_head_are_no_two_heads():
    one = {"a": score((0.1, 0.5, 0.1, 0.1, 0.1)), "b": score((0.1, 0.6, 0.1, 0.1, 0.1))}
    result = judge(
        study(planned("a", slices=1), planned("b", slices=1)),
        one,
        _answerer(5, aggregation="noisy_or"),
        ASKED,
    )
    assert result.said["probability_intraparenchymal"] == pytest.approx(0.6)  # together they would have 0.8


def test_several_series_are_one_exam():
    result = judge(
        study(planned("a", slices=1), planned("b", slices=2)),
        {"a": score(LOW), "b": score(LOW, HIGH)},
        ANSWERER,
        ASKED,
    )
    assert (result.status, len(result.slices)) == ("flagged", 3)


def test_the_worklist_puts_the_flagged_first_and_the_unknown_before_the_empty():
    results = [
        judged(LOW, number=1),
        judged(HIGH, number=2),
        judge(study(number=3), {}, ANSWERER, ASKED),
        judged((0.99, 0.1, 0.1, 0.1, 0.1), number=4),
        judged((0.3, 0.1, 0.1, 0.1, 0.1), number=5),
    ]
    assert [one.study.number for one in in_order(results)] == [4, 2, 3, 5, 1]


def test_pictures_are_of_each_positive_labels_surest_slices_in_turn():
    result = judged((0.1, 0.9, 0.1, 0.1, 0.95), (0.1, 0.8, 0.1, 0.1, 0.2), LOW, (0.1, 0.3, 0.1, 0.1, 0.6))
    chosen = choose_slices(result, 3)
    assert [(one.slice.place, one.label) for one in chosen] == [
        (0, "subdural"), (1, "intraparenchymal"), (3, "subdural"),
    ]  # fmt: skip
    assert chosen[0].caption == "subdural 0.95, slice 1 of 4 from below"
    assert len(choose_slices(result, 24)) == 4  # each slice once
    assert choose_slices(judged(LOW), 4) == []


def test_predictions_are_an_exam_and_then_its_slices():
    frame = tables.predictions(
        [judged(LOW, ())], ANSWERER.specification.labels, ModelVersion("ich", "3"), "max_f1"
    )
    assert frame["level"].tolist() == ["exam", "slice", "slice"]
    assert frame["sop_uid"].tolist()[1:] == ["k.0", "k.1"]
    assert frame["slice"].tolist()[1:] == [1, 2]
    assert frame["probability_intraparenchymal"].tolist()[:2] == [pytest.approx(0.2)] * 2
    assert frame["error"].tolist() == ["", "", "is cut short"]
    assert frame["warnings"][0] == "1 of 2 slices can't be read"
    assert frame["decision_any"].isna().tolist() == [False, False, True]
    assert set(frame["model_version"]) == {"3"}


def test_the_worklist_names_the_surest_slice():
    frame = tables.worklist([judged(LOW, HIGH)], {1: 2})
    row = frame.iloc[0]
    assert (row["rank"], row["status"], row["findings"]) == (1, "flagged", "intraparenchymal, subdural")
    assert (row["most_probable_slice"], row["most_probable_file"]) == ("k.1", "k/1.dcm")
    assert row["dicom"] == "dicom/study-0001"
    assert tables.worklist([judge(study(), {}, ANSWERER, ASKED)], {}).iloc[0]["most_probable_file"] == ""


def test_texts_of_strangers_are_no_formulas():
    frame = pd.DataFrame({"patient_id": ["=HYPERLINK(1)", "p1"], "probability_any": [-0.5, 0.5]})
    assert tables.as_csv(frame) == "patient_id,probability_any\n'=HYPERLINK(1),-0.5\np1,0.5\n"
