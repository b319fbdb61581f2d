import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.evaluation.abstention import Abstention
from ich_mlflow.prediction import tables
from ich_mlflow.prediction.pictures import choose_slices
from ich_mlflow.prediction.verdict import in_order, judge
from ich_mlflow.serving.request import Asked
from ich_mlflow.serving.rows import Row
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


def test_what_was_read_with_care_is_said_and_doubts_no_result():
    comma, padding = "read with care: decimal commas", "read with care: padding"
    result = judged(LOW, LOW, LOW, warnings=[(comma, padding), (comma,), (comma,)])
    assert (result.status, result.reasons) == ("not flagged", (comma, f"{padding} (1 of 3 slices)"))
    assert judged(HIGH, warnings=[(comma,)]).status == "flagged"


def test_what_is_not_like_a_head_is_not_flagged_whatever_the_network_says():
    chest = ("not like a head CT: 33 % of the body is air, as where there are lungs",)
    result = judged(HIGH, HIGH, HIGH, warnings=[chest, chest, ()])
    assert (result.status, result.reasons) == ("review", ("2 of 3 slices not like a head CT",))
    assert judged(HIGH, LOW, warnings=[chest, ()]).status == "flagged"  # half of them: a mastoid, a mouth


def test_a_study_without_anything_to_score_says_why():
    empty = judge(study(why="contrast, by its name"), {}, ANSWERER, ASKED)
    assert (empty.status, empty.said, empty.reasons) == (
        "review", {}, ("no non-contrast head CT in it: contrast, by its name",),
    )  # fmt: skip
    unreadable = judged((), ())
    assert unreadable.reasons == ("none of the 2 slices of its series can be read",)
    assert unreadable.probability == 0


def test_any_flags_by_its_own_threshold_and_subtypes_at_theirs_are_named_all_the_same():
    # any's own output is .5, below .85; subdural's .95 is not
    result = judge(
        study(planned(slices=1)), {"k": score((0.1, 0.1, 0.1, 0.1, 0.95, 0.5))}, _answerer(6), ASKED
    )
    assert (result.status, result.positive) == ("not flagged", ("subdural",))
    assert result.probability == pytest.approx(0.5)


def test_any_alone_is_named_where_no_subtype_reaches_its_threshold():
    result = judge(
        study(planned(slices=1)),
        {"k": score((0.1, 0.5, 0.1, 0.1, 0.1))},
        _answerer(5, any_threshold=0.4),
        ASKED,
    )
    assert (result.status, result.positive) == ("flagged", ("any",))


def test_two_reconstructions_of_a_head_are_no_two_heads():
    # the means of two are .5 and .3; pooled the two highest slices would give .55
    of = {
        "a": score((0.1, 0.6, 0.1, 0.1, 0.1), (0.1, 0.4, 0.1, 0.1, 0.1)),
        "b": score((0.1, 0.5, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, 0.1, 0.1)),
    }
    result = judge(
        study(planned("a", slices=2), planned("b", slices=2)),
        of,
        _answerer(5, aggregation="mean_of_2"),
        ASKED,
    )
    assert result.said["probability_intraparenchymal"] == pytest.approx(0.5)


def test_a_study_is_the_exam_that_the_server_makes_of_its_rows():
    of = {"a": score(LOW, HIGH), "b": score((0.1, 0.3, 0.6, 0.1, 0.1))}
    answerer = _answerer(5, aggregation="mean_of_2")
    result = judge(study(planned("a", slices=2), planned("b", slices=1)), of, answerer, ASKED)
    rows = [
        Row(hu=np.zeros((256, 256), np.int16), series=key, study="s", position_mm=0, warnings=())
        for key in ("a", "a", "b")
    ]
    outputs = np.concatenate([one.of_usable() for one in of.values()])
    (line,) = answerer.exams(rows, outputs, Asked(operating_point="max_f1", aggregate="exam"))
    assert {name: line[name] for name in result.said} == dict(result.said)


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


def test_the_slice_where_any_bleed_is_most_probable_is_shown_first():
    # any is most probable where the epidural output, which no threshold takes for positive, is highest
    result = judge(
        study(planned(slices=2)),
        {"k": score((0.1, 0.9, 0.1, 0.1, 0.1, 0.86), (0.3, 0.1, 0.1, 0.1, 0.1, 0.95))},
        _answerer(6),
        ASKED,
    )
    assert result.positive == ("intraparenchymal",)
    assert [(one.slice.place, one.label) for one in choose_slices(result, 4)] == [
        (1, "any"),
        (0, "intraparenchymal"),
    ]


def test_predictions_are_an_exam_and_then_its_slices():
    frame = tables.predictions([judged(LOW, ())], ANSWERER, ASKED)
    assert frame["level"].tolist() == ["exam", "slice", "slice"]
    assert frame["sop_uid"].tolist()[1:] == ["k.0", "k.1"]
    assert frame["slice"].tolist()[1:] == [1, 2]
    assert frame["probability_intraparenchymal"].tolist()[:2] == [pytest.approx(0.2)] * 2
    assert frame["error"].tolist() == ["", "", "is cut short"]
    assert frame["warnings"][0] == "1 of 2 slices can't be read"
    assert frame["decision_any"].isna().tolist() == [False, False, True]
    assert set(frame["model_version"]) == {"3"}


def test_what_is_doubtful_about_the_model_stands_in_every_row_that_it_says_something_in():
    few = _answerer(5, patients=9)
    frame = tables.predictions([judged(LOW)], few, ASKED)
    assert frame["caveats"][0].startswith("decisions on exams go by thresholds from fewer than 10 patients")
    assert frame["caveats"][1].startswith("decisions on slices go by thresholds from fewer than 10 patients")
    empty = judge(study(number=3), {}, few, ASKED)
    listed = tables.worklist([judged(LOW), empty], {}, caveats=few.caveats(ASKED, unit="exams"))
    assert listed["caveats"].tolist() == [frame["caveats"][0], ""]
    assert tables.predictions([judged(LOW)], ANSWERER, ASKED)["caveats"].tolist() == ["", ""]


def test_the_worklist_names_the_surest_slice():
    frame = tables.worklist([judged(LOW, HIGH)], {1: 2})
    row = frame.iloc[0]
    assert (row["rank"], row["status"], row["findings"]) == (1, "flagged", "intraparenchymal, subdural")
    assert (row["most_probable_slice"], row["most_probable_file"]) == ("k.1", "k/1.dcm")
    assert row["dicom"] == "dicom/study-0001"
    assert tables.worklist([judge(study(), {}, ANSWERER, ASKED)], {}).iloc[0]["most_probable_file"] == ""


def test_millilitres_are_areas_times_steps_of_slices():
    # 5 mm apart: (200 + 400) mm2 x 5 mm are 3 ml, of them 1 ml intraparenchymal on the first slice
    areas = [(200.0, 0, 200.0, 0, 0, 0), (400.0, 0, 0, 0, 0, 400.0)]
    result = judged(LOW, HIGH, blood_mm2=areas)
    assert result.blood_ml["any"] == pytest.approx(3)
    assert (result.blood_ml["intraparenchymal"], result.blood_ml["subdural"]) == (1, 2)
    listed = tables.worklist([result], {}, measures_blood=True)
    assert listed["blood_ml"].tolist() == [3.0]
    frame = tables.predictions([result], ANSWERER, ASKED, measures_blood=True)
    assert frame["blood_ml_subdural"].isna().tolist() == [False, True, True]  # an exam's, not a slice's
    assert frame["blood_ml_subdural"][0] == 2
    assert "blood_ml" not in tables.worklist([result], {})
    assert "blood_ml_any" not in tables.predictions([result], ANSWERER, ASKED)


def test_a_slice_that_cannot_be_read_is_stood_for_by_its_neighbours():
    # slices at 0 and 10 mm stand for 10 mm each
    result = judged(LOW, (), LOW, blood_mm2=[(100.0, 0, 0, 0, 0, 100.0), (), (0.0,) * 6])
    assert result.blood_ml["any"] == pytest.approx(1)


def test_where_pixels_have_no_size_it_is_not_measured():
    result = judged(LOW, HIGH, blood_mm2=[(float("nan"),) * 6] * 2)
    assert result.blood_ml == {}
    assert tables.worklist([result], {}, measures_blood=True)["blood_ml"].isna().all()
    assert tables.predictions([result], ANSWERER, ASKED, measures_blood=True)["blood_ml_any"].isna().all()


def test_of_several_series_the_one_with_most_blood_counts():
    two = study(planned("a", slices=2), planned("b", slices=2))
    bled, none = [(100.0, 100.0, 0, 0, 0, 0)] * 2, [(0.0,) * 6] * 2
    scores = {"a": score(LOW, LOW, blood_mm2=none), "b": score(LOW, LOW, blood_mm2=bled)}
    assert judge(two, scores, ANSWERER, ASKED).blood_ml["epidural"] == pytest.approx(1)


def test_texts_of_strangers_are_no_formulas():
    frame = pd.DataFrame({"patient_id": ["=HYPERLINK(1)", "p1"], "probability_any": [-0.5, 0.5]})
    assert tables.as_csv(frame) == "\ufeffpatient_id,probability_any\n'=HYPERLINK(1),-0.5\np1,0.5\n"


def test_a_spreadsheet_leaves_identifiers_as_they_are():
    ids = ["0012345", "12345", "123456789012345678", "1E5", "1.2.840.10008", "20260101", "Müller"]
    text = tables.as_csv(pd.DataFrame({"patient_id": ids, "rank": range(7)}))
    assert text.encode("utf-8").startswith(b"\xef\xbb\xbf")  # or Excel takes ü for two letters
    said = [line.split(",")[0] for line in text.splitlines()[1:]]
    assert said == ["'0012345", "12345", "'123456789012345678", "'1E5", *ids[4:]]
    read = pd.read_csv(io.StringIO(text), dtype=str)["patient_id"].str.removeprefix("'")
    assert read.tolist() == ids


def test_names_that_steer_a_terminal_or_turn_text_are_made_harmless():
    frame = pd.DataFrame({"file": ["a\x1b[2Jb", "\u202egpj.exe", "two\nlines\tand é", "\x00\x9b"]})
    assert (
        tables.as_csv(frame) == '\ufefffile\na\ufffd[2Jb\n\ufffdgpj.exe\n"two\nlines\tand é"\n\ufffd\ufffd\n'
    )


RULE = Abstention(alpha=0.05, clear_below=0.15, bleeding_patients=40, far_from=1.5, patients=80)
ABSTAINS = _answerer(5, abstention=RULE)


def called(*of_slices, distance=1.0, remarks=(), asked=ASKED):
    series = planned(slices=len(of_slices), remarks=remarks)
    return judge(study(series), {"k": score(*of_slices, distance=distance)}, ABSTAINS, asked)


def test_an_exam_whose_bleed_cannot_be_excluded_is_uncertain():
    clear = (0.1, 0.14, 0.1, 0.1, 0.1)
    assert called(clear).status == "not flagged"
    result = called(clear, LOW)  # .2 is not below .15
    assert result.status == "uncertain"
    (why,) = result.reasons
    assert why.startswith("a bleed can't be excluded")


def test_an_exam_unlike_training_is_uncertain_and_a_flagged_one_says_so():
    clear = (0.1, 0.1, 0.1, 0.1, 0.1)
    assert called(clear, distance=1.6).status == "uncertain"
    flagged = called(HIGH, distance=1.6)
    assert flagged.status == "flagged"
    assert flagged.reasons[0].startswith("unlike what the model learned from")
    assert called(clear, distance=None).status == "not flagged"


def test_what_is_not_to_be_relied_on_stays_for_review_and_abstaining_can_be_declined():
    assert called(LOW, remarks=("less than a whole head",)).status == "review"
    assert called(LOW, distance=9, asked=replace(ASKED, abstain=False)).status == "not flagged"


def test_uncertain_comes_after_flagged_and_before_review():
    results = [
        called((0.1,) * 5), called(LOW, remarks=("less than a whole head",)), called(LOW), called(HIGH),
    ]  # fmt: skip
    assert [one.status for one in in_order(results)] == ["flagged", "uncertain", "review", "not flagged"]
