from collections import Counter
from dataclasses import replace

import pytest

from ich_mlflow.intake.survey import StudyWithoutCT
from ich_mlflow.prediction.page import of_blood, worklist_page
from ich_mlflow.prediction.verdict import judge
from ich_mlflow.report.render import worklist_html
from ich_mlflow.report.worklist import Shown
from ich_mlflow.serving.request import Asked
from tests.prediction.results import planned, score, study
from tests.serving.test_response import _answerer

ANSWERER, ASKED = _answerer(5), Asked(operating_point="max_f1")
SPECIFICATION = ANSWERER.specification
HIGH = (0.1, 0.9, 0.1, 0.1, 0.1)
BLED = [(200.0, 0, 200.0, 0, 0, 0)] * 2


def page(*, measures_blood, blood_mm2=BLED, without_ct=()):
    result = judge(study(planned(slices=2)), {"k": score(HIGH, HIGH, blood_mm2=blood_mm2)}, ANSWERER, ASKED)
    empty = judge(study(number=2), {}, ANSWERER, ASKED)
    return worklist_page(
        [result, empty],
        {1: [Shown(caption="c", jpeg=b"")]},
        Counter(),
        specification=SPECIFICATION,
        version=ANSWERER.version,
        operating_point="max_f1",
        notice="n",
        caveats=(),
        made_by="m",
        has_heat_maps=True,
        measures_blood=measures_blood,
        without_ct=without_ct,
    )


def test_a_model_with_a_map_says_millilitres_in_the_list_and_of_each_finding():
    made = page(measures_blood=True)
    # 200 mm2 on two slices 5 mm apart
    assert [row.blood for row in made.rows] == ["2.0", ""]
    cells = {row[0]: row[-1] for row in made.sections[0].labels.rows}
    assert (cells["any"], cells["intraparenchymal"], cells["subdural"]) == ("2.0", "2.0", "0.0")
    html = worklist_html(made)
    assert html.count("Blood, mL") == 2
    assert "an estimate of a research model" in html
    assert "A heat map shows" not in html


def test_studies_without_a_ct_image_are_on_the_page_and_open():
    other = StudyWithoutCT(patient_id="p7", study_uid="1.2.3", modalities=("MR",), num_files=32)
    html = worklist_html(page(measures_blood=False, without_ct=[other]))
    assert "Not scored, since there is no CT image: 1 study" in html
    assert "p7" in html
    assert "no CT image" not in worklist_html(page(measures_blood=False))


def test_what_has_no_size_is_called_not_measured():
    made = page(measures_blood=True, blood_mm2=[(float("nan"),) * 6] * 2)
    assert made.rows[0].blood == "not measured"
    assert {row[-1] for row in made.sections[0].labels.rows} == {"not measured"}


def test_a_model_without_a_map_says_nothing_of_it():
    html = worklist_html(page(measures_blood=False))
    assert "Blood, mL" not in html
    assert "illilitres" not in html
    assert "A heat map shows" in html


@pytest.mark.parametrize(
    ("chosen", "patients", "said"),
    [
        (0.35, 12, "reaches 0.35, chosen on masks of 12 validation patients,"),
        (None, 0, "reaches one half, since validation had no masks to choose it by,"),
    ],
)
def test_the_words_say_where_the_threshold_comes_from(chosen, patients, said):
    assert said in of_blood(replace(SPECIFICATION, blood_threshold=chosen, blood_patients=patients))
