"""What is amiss in logs is a line each, and what is left is read."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.drawn_exams import drawn
from ich_mlflow.errors import DataError
from ich_mlflow.monitoring.log import log_files
from ich_mlflow.monitoring.reader import Logs, of_model, of_site, once_each, read_logs
from ich_mlflow.monitoring.record import EXAM, FLAGGED, NOT_FLAGGED, SLICES
from tests.monitoring.logs import write_log


@pytest.fixture
def records():
    return drawn(30, np.random.default_rng(0))


def test_a_last_line_that_was_cut_off_costs_one_exam(tmp_path, records):
    (path,) = log_files(write_log(tmp_path / "a", records))
    whole = path.read_bytes()
    for length in (len(whole) - 2, len(whole) - 100):
        path.write_bytes(whole[:length])
        logs = read_logs(tmp_path)
        assert logs.records == tuple(records[:-1])
        assert logs.notes == ("1 file cut off in the last line: that exam is left out",)


def test_lines_of_other_formats_are_counted(tmp_path, records):
    (path,) = log_files(write_log(tmp_path, records))
    other = json.dumps({**json.loads(records[0].to_line()), "format": 9})
    path.write_text(f"{path.read_text()}{other}\nnonsense\n[1]\n\n3\n")
    logs = read_logs(path)
    assert len(logs.records) == 30
    assert logs.notes == ("4 lines that can't be read left out: not of this format",)


def test_a_clock_that_went_back_is_said_and_exams_are_taken_by_their_times(tmp_path, records):
    turned = [
        replace(one, time=one.time - timedelta(days=2)) if number >= 20 else one
        for number, one in enumerate(records)
    ]
    write_log(tmp_path, turned)
    logs = read_logs(tmp_path)
    assert [one.time for one in logs.records] == sorted(one.time for one in turned)
    assert logs.notes == ("the clock went back 1 time: exams are taken in the order of their times",)


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(
        DataError, match=r"has no record of an exam in 0 files seen-\*\.jsonl: expected the folder"
    ):
        read_logs(tmp_path)


def test_logs_of_two_sites_are_refused_until_one_is_named(records):
    logs = Logs(records=(*records, *(replace(one, site="0123abcd") for one in records[:5])))
    with pytest.raises(
        DataError, match=rf"of 2 sites \({records[0].site}: 30, 0123abcd: 5\).*pass -P site={records[0].site}"
    ):
        of_site(logs, "")
    assert len(of_site(logs, "0123abcd").records) == 5
    with pytest.raises(DataError, match="no exam of site 9: expected one of"):
        of_site(logs, "9")


def test_another_version_s_logs_are_left_out_and_said(records):
    logs = Logs(records=(*(replace(one, model_version="2") for one in records[:7]), *records[7:]))
    found = of_model(logs, "")
    assert len(found.records) == 23
    assert found.notes == ("7 answers of other versions left out (ich-5class/2: 7)",)
    assert len(of_model(logs, "ich-5class/2").records) == 7
    with pytest.raises(
        DataError, match="no exam of model ich-5class/9: expected one of ich-5class/3: 23, ich-5class/2: 7"
    ):
        of_model(logs, "ich-5class/9")


def test_an_exam_that_was_scored_again_counts_once_and_a_contradiction_is_said(records):
    later = timedelta(hours=100)
    same = replace(records[0], time=records[0].time + later)
    flipped = NOT_FLAGGED if records[1].status == FLAGGED else FLAGGED
    other = replace(records[1], time=records[1].time + later, status=flipped)
    found = once_each(Logs(records=(*records, same, other)))
    assert len(found.records) == 30
    assert found.records[-1] == other
    assert found.notes == (
        "1 exam scored again with the same result: counted once",
        "1 exam scored again with another result: the last one counts",
    )


def test_exams_without_a_uid_are_an_exam_each(records):
    nameless = tuple(replace(one, study="") for one in records)
    assert once_each(Logs(records=nameless)).records == nameless


def test_slices_that_were_sent_one_by_one_are_put_together_as_their_exam(records):
    parts = tuple(
        replace(records[0], unit=SLICES, status=status, probabilities={"any": share}, slices=1)
        for share, status in ((0.1, NOT_FLAGGED), (0.8, FLAGGED), (0.3, NOT_FLAGGED))
    )
    (found,) = once_each(Logs(records=parts)).records
    assert (found.status, found.probabilities, found.slices) == (FLAGGED, {"any": 0.8}, 3)
    mixed = once_each(Logs(records=(*parts, *records[1:5])))
    assert {one.unit for one in mixed.records} == {EXAM}
    assert mixed.notes == ("3 answers by slices left out",)
