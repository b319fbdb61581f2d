"""The stage on logs that were drawn: the drill, silence without a change, and each mistake in one line."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import mlflow
import numpy as np
import pandas as pd
import pytest

from benchmarks.drawn_exams import SITE, START, drawn
from ich_mlflow.cli import launch
from ich_mlflow.errors import DataError, DriftFound, OptionError
from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.drift import NO_TEST
from ich_mlflow.monitoring.reference import reference_text
from ich_mlflow.stages.monitor.monitor import monitor, watch
from ich_mlflow.stages.monitor.options import MonitorOptions
from ich_mlflow.stages.monitor.times import parse_time
from ich_mlflow.stages.monitor.windows import windows_of
from tests.monitoring.logs import drill, write_log
from tests.printed import check_printed_commands


@pytest.fixture(scope="module")
def own_store(workspace):
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'monitors.db'}")
    mlflow.set_experiment("monitors")
    yield
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    mlflow.set_experiment("tests")


@pytest.fixture(scope="module")
def drilled(own_store, tmp_path_factory):
    """The drill's logs, and what was found in them."""
    folder = write_log(tmp_path_factory.mktemp("logs") / "drill", drill(np.random.default_rng(0)))
    return folder, watch(MonitorOptions(logs=str(folder)))


@pytest.fixture(scope="module")
def quiet(own_store, tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("logs") / "quiet", drawn(400, np.random.default_rng(0)))


def test_the_drill_is_seen_and_its_signals_are_named_with_exit_code_3(drilled, capsys):
    folder, _ = drilled
    assert launch("monitor", ["--logs", str(folder)]) == 3
    out, err = capsys.readouterr()
    assert err.startswith("error: drift of ")
    assert err.count("\n") == 1
    assert all(name in err for name in ("kernel", "soft tissue HU", "200 exams of ich-5class/3"))
    assert "kernel: STANDARD 65%, Hr40f 35% -> FC26 100%" in out
    assert out.rstrip().endswith(
        "viewStateShareKey=ichmonitor"
    )  # where it can be looked at, as after any other


def test_400_exams_without_a_change_are_silent(quiet, capsys):
    assert launch("monitor", ["--logs", str(quiet)]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert "no drift: 200 exams of ich-5class/3, 2026-01-13 to 2026-01-21, 14 signals tested" in out


def test_a_run_a_window_has_the_page_the_table_pictures_and_metrics_that_chart(drilled):
    _, found = drilled
    run = mlflow.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["ich.answer"] == found.answer
    assert run.data.metrics["monitor/exams"] == 200
    assert run.data.metrics["monitor/drifted"] == len(found.drifted)
    assert run.data.metrics["effect/soft_tissue_HU"] > 0.8
    (point,) = mlflow.MlflowClient().get_metric_history(found.run_id, "monitor/flag_rate")
    assert point.step == 20260121
    page = mlflow.artifacts.load_text(f"runs:/{found.run_id}/monitor.html")
    assert all(text in page for text in ("soft tissue HU", "FC26", "data:image/png", "Drift of"))
    table = json.loads(mlflow.artifacts.load_text(f"runs:/{found.run_id}/tables/signals.json"))
    assert "p_corrected" in table["columns"]
    (words,) = check_printed_commands(page.replace("&#39;", "'"))
    assert "model=ich-5class/3" in words


def test_the_window_is_the_last_exams_or_a_time_and_the_reference_the_first_or_a_time(quiet):
    logs = str(quiet)
    last = watch(MonitorOptions(logs=logs, exams=50))
    assert (len(last.windows.reference), len(last.windows.window)) == (200, 50)
    timed = watch(
        MonitorOptions(
            logs=logs, reference="2026-01-05..2026-01-08", since="2026-01-10", until="2026-01-12T12:00"
        )
    )
    assert len(timed.windows.reference) == 64
    assert len(timed.windows.window) == 60
    assert min(one.time for one in timed.windows.window) == datetime(2026, 1, 10, tzinfo=UTC)


def test_a_window_begins_after_the_reference_and_says_so():
    records = drawn(100, np.random.default_rng(0))
    found = windows_of(records, reference="60", since="2026-01-05", until="auto", exams=0)
    assert len(found.window) == 40
    assert found.notes[0].startswith("the window begins after the reference's last exam, 2026-01-07 19:00")


def test_so_many_days_ago():
    assert parse_time("7d", now=START) == START - timedelta(days=7)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"since": "monday"}, "since is 'monday', expected auto, or a day as"),
        ({"since": "2026-13-01"}, "since is '2026-13-01', expected a day"),
        ({"reference": "2026-02-01..2026-01-01"}, "whose end is later"),
        ({"reference": "many"}, "expected auto or version, or a number of exams"),
        ({"alarms": 0.0}, "alarms is 0.0, expected 0.002 to 0.5"),
        ({"model": "??"}, "model is"),
    ],
)
def test_a_wrong_option_is_refused_by_name(said, what):
    with pytest.raises(OptionError, match=what):
        MonitorOptions(**said)


def test_logs_must_be_named_and_be_there(tmp_path, capsys):
    assert launch("monitor", []) == 1
    assert "logs is 'auto', expected a folder of logs" in capsys.readouterr().err
    assert launch("monitor", ["--logs", str(tmp_path / "none")]) == 1
    assert "expected a file or folder that is there" in capsys.readouterr().err


def test_too_few_exams_are_one_line(tmp_path, own_store):
    folder = write_log(tmp_path, drawn(30, np.random.default_rng(0)))
    with pytest.raises(
        DataError, match="the reference has 15 exams of 30 in the logs, expected 20 or more: wait"
    ):
        monitor(MonitorOptions(logs=str(folder)))


def test_another_version_is_left_out_and_two_sites_are_refused(tmp_path, own_store, capsys):
    records = drawn(120, np.random.default_rng(0))
    folder = write_log(tmp_path, [replace(one, model_version="2") for one in records[:40]] + records[40:])
    found = monitor(MonitorOptions(logs=str(folder)))
    assert "note: 40 answers of other versions left out (ich-5class/2: 40)" in capsys.readouterr().out
    assert found.model == "ich-5class/3"
    assert watch(MonitorOptions(logs=str(folder), model="ich-5class/2")).model == "ich-5class/2"
    with pytest.raises(DataError, match="no exam of model ich-5class/7"):
        monitor(MonitorOptions(logs=str(folder), model="ich-5class/7"))
    write_log(tmp_path, [replace(one, site="0123abcd") for one in records])
    with pytest.raises(DataError, match="the logs are of 2 sites"):
        monitor(MonitorOptions(logs=str(folder)))
    assert not monitor(MonitorOptions(logs=str(folder), site=SITE.name)).drifted


class TestLabels:
    """Labels that came later."""

    @pytest.fixture
    def labelled(self, own_store, tmp_path):
        """Logs of exams whose label is whether their probability is above one half, but for every tenth."""
        records = drawn(200, np.random.default_rng(0))
        folder = write_log(tmp_path / "logs", records)
        rows = [
            (one.study, int((one.probabilities[ANY] > 0.5) != (number % 10 == 0)))
            for number, one in enumerate(records)
        ]

        def watched(rows, columns=("study", "any")):
            path = tmp_path / "labels.csv"
            pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
            return watch(MonitorOptions(logs=str(folder), labels=str(path)))

        return rows, watched, records

    def test_auc_sensitivity_and_specificity_have_intervals(self, labelled):
        rows, watched, records = labelled
        found = watched(rows)
        auc, sensitivity, _ = found.outcomes["window"]
        truth = np.array([label for _, label in rows[100:]], bool)
        flagged = np.array([ANY in one.positive for one in records[100:]])
        assert sensitivity.value == pytest.approx(flagged[truth].mean())
        assert auc.interval.low < auc.value < auc.interval.high
        assert mlflow.get_run(found.run_id).data.metrics["labelled/sensitivity"] == pytest.approx(
            sensitivity.value
        )

    def test_unknown_studies_are_counted_and_none_known_is_refused(self, labelled):
        rows, watched, _ = labelled
        found = watched([*rows, ("unknown", 1), ("other", 0)])
        assert "2 labelled studies not in the logs: left out" in found.notes
        with pytest.raises(DataError, match="has no study of the logs among 1 study"):
            watched([("unknown", 1)])

    def test_duplicates_that_contradict_are_refused(self, labelled):
        rows, watched, _ = labelled
        watched([*rows, rows[0]])
        with pytest.raises(DataError, match="contradicts itself: 1 study with 0 and 1"):
            watched([*rows, (rows[0][0], 1 - rows[0][1])])

    def test_one_class_only_is_said(self, labelled):
        rows, watched, _ = labelled
        found = watched([row for row in rows if row[1] == 0])
        assert "all labelled exams are without a bleed: AUC and sensitivity are not estimable" in found.notes
        assert np.isnan(found.outcomes["window"][0].value)

    @pytest.mark.parametrize(
        ("rows", "columns", "what"),
        [
            ([("a", 2)], ("study", "any"), "another label than 0 or 1 in row 2"),
            ([("a", 1)], ("exam", "any"), "has the columns exam, any, expected study"),
            ([("1.2.3", 1)], ("study_uid", "any"), "has no study of the logs"),
        ],
    )
    def test_another_table_is_refused(self, labelled, rows, columns, what):
        _, watched, _ = labelled
        with pytest.raises(DataError, match=what):
            watched(rows, columns)


def test_a_drift_is_no_failure_of_the_run(drilled):
    folder, _ = drilled
    with pytest.raises(DriftFound) as caught:
        monitor(MonitorOptions(logs=str(folder)))
    assert caught.value.exit_code == 3
    (last,) = mlflow.search_runs(max_results=1, output_format="list")
    assert last.info.status == "FINISHED"


def of_version(monkeypatch, text):
    monkeypatch.setattr("ich_mlflow.stages.monitor.monitor.reference_text_of", lambda uri: text)


def test_the_reference_of_the_version_is_compared_with_all_exams_in_what_it_knows(quiet, monkeypatch):
    validated = [
        replace(
            one, study="", manufacturer="", kernel="", syntax="", spacing_mm=None, warnings=(), unusable=0
        )
        for one in drawn(300, np.random.default_rng(5))
    ]
    of_version(monkeypatch, reference_text(validated))
    found = watch(MonitorOptions(logs=str(quiet), reference="version", alarms=0.002))
    assert len(found.windows.reference) == 300
    assert len(found.windows.window) > 380  # of 400, but for those without a score
    tested = {one.name for one in found.signals if one.test != NO_TEST}
    assert "probability any" in tested
    assert not tested & {"kernel", "manufacturer", "transfer syntax", "warnings", "spacing mm", "review rate"}
    assert not found.drifted
    page = mlflow.artifacts.load_text(f"runs:/{found.run_id}/monitor.html")
    assert "the version&#39;s own validation exams" in page
    (words,) = check_printed_commands(page.replace("&#39;", "'"))
    assert "reference=version" in words


def test_decisions_by_another_operating_point_are_not_compared(quiet, monkeypatch):
    others = [replace(one, operating_point="sensitivity_95") for one in drawn(60, np.random.default_rng(5))]
    of_version(monkeypatch, reference_text(others))
    found = watch(MonitorOptions(logs=str(quiet), reference="version"))
    assert any("several operating points" in text for text in found.notes)
    assert "flag rate" not in {one.name for one in found.signals if one.test != NO_TEST}


def test_a_change_from_what_was_validated_is_drift(quiet, monkeypatch):
    darker = [
        replace(one, soft_tissue_hu=one.soft_tissue_hu - 5) for one in drawn(300, np.random.default_rng(5))
    ]
    of_version(monkeypatch, reference_text(darker))
    with pytest.raises(DriftFound, match="soft tissue HU"):
        monitor(MonitorOptions(logs=str(quiet), reference="version"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "carries no reference"),
        ("{}\n", "is not as this version of ich_mlflow writes it"),
        (reference_text(drawn(5, np.random.default_rng(0))), "reference has 5 exams, expected 20 or more"),
    ],
)
def test_a_version_without_a_reference_that_can_be_used_is_one_line(quiet, monkeypatch, capsys, text, what):
    of_version(monkeypatch, text)
    assert launch("monitor", ["--logs", str(quiet), "--reference", "version"]) == 1
    err = capsys.readouterr().err
    assert what in err
    assert err.count("\n") == 1


def test_slices_that_were_answered_one_by_one_are_not_compared_with_exams(own_store, tmp_path, monkeypatch):
    records = [replace(one, unit="slices") for one in drawn(60, np.random.default_rng(0))]
    of_version(monkeypatch, reference_text(drawn(30, np.random.default_rng(1))))
    folder = write_log(tmp_path / "slices", records)
    with pytest.raises(DataError, match="expected answers with aggregate=exam"):
        watch(MonitorOptions(logs=str(folder), reference="version"))
