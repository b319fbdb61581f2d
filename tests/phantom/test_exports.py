"""Studies as hospitals export them, and which of their series predict would take."""

import pytest

from benchmarks.choice import NEEDLESS, RIGHT, SILENT, outcome
from ich_mlflow.errors import OptionError
from ich_mlflow.intake.files import files_of
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.plan import plan
from ich_mlflow.intake.survey import survey
from ich_mlflow.phantom.exports import CASES, Export, write_exports


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """By case, the export and the studies that were planned of it."""
    folder = tmp_path_factory.mktemp("exports") / "studies"
    exports = write_exports(folder, studies=len(CASES), seed=3, rows=64)
    planned = {}
    for study in plan(survey(files_of(folder)).studies, look=why_no_head, ends=why_cut):
        planned.setdefault(study.study_uid, []).append(study)
    return {one.case: (one, planned.get(one.study_uid, [])) for one in exports}


@pytest.mark.parametrize("case", CASES)
def test_the_right_series_is_taken_and_what_is_doubtful_is_said(outcomes, case):
    assert outcome(*outcomes[case]) == RIGHT


@pytest.mark.parametrize(
    ("case", "remark"),
    [
        ("two_passes", "another scan of the head is in the study and was not scored: series=all scores it"),
        ("repeated_slices", "5 slices taken again and not scored"),
        ("two_patient_ids", "its images bear 2 different PatientIDs"),
        ("slice_location", "slices without a position: in the order of SliceLocation"),
    ],
)
def test_the_remark_says_what_it_is(outcomes, case, remark):
    _, (study,) = outcomes[case]
    assert study.series[0].remarks == (remark,)


def test_an_outcome_is_silent_only_where_nothing_is_said(outcomes):
    export, studies = outcomes["ordinary"]
    (series,) = studies[0].series
    assert outcome(export, studies) == RIGHT
    assert outcome(Export(**{**vars(export), "needs_remark": True}), studies) == SILENT
    assert outcome(Export(**{**vars(export), "right": "another"}), studies) == SILENT
    assert outcome(export, studies * 2) == SILENT
    export, studies = outcomes["two_passes"]
    assert outcome(Export(**{**vars(export), "needs_remark": False}), studies) == NEEDLESS
    assert series.series_uid


def test_no_study_and_an_unknown_case_are_refused(tmp_path):
    with pytest.raises(OptionError, match="studies is 0"):
        write_exports(tmp_path, studies=0)
    with pytest.raises(OptionError, match="nowhere"):
        write_exports(tmp_path, studies=1, cases=("nowhere",))
