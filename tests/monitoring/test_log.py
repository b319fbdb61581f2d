"""Logs that are bounded, that several processes write, and that never stand in an answer's way."""

import logging
import os
import threading
import time

import numpy as np
import pytest

from benchmarks.drawn_exams import drawn
from benchmarks.monitoring import waiting
from ich_mlflow.errors import DataError
from ich_mlflow.monitoring import log as module
from ich_mlflow.monitoring.log import FOLDER_VARIABLE, KEY_FILE, KEY_VARIABLE, LogFolder, log_files, site_of
from ich_mlflow.monitoring.reader import read_logs
from ich_mlflow.monitoring.recorder import Recorder, recorder_from_environment


@pytest.fixture
def records():
    return drawn(40, np.random.default_rng(0))


def test_a_log_rotates_by_size_and_the_folder_stays_within_its_bound(tmp_path, records):
    size = len(records[0].to_line()) + 100
    folder = LogFolder(tmp_path, max_file_bytes=5 * size, max_folder_bytes=20 * size)
    for number in range(10):
        for one in records:
            folder.append([one])
        files = log_files(tmp_path)
        assert max(one.stat().st_size for one in files) <= 5 * size
        assert sum(one.stat().st_size for one in files) <= 20 * size
        assert len(files) > 1 or number == 0
    kept = read_logs(tmp_path).records  # the newest
    assert kept[-1] == records[-1]


def test_two_processes_have_a_file_each_and_one_key(tmp_path, records):
    first, second = LogFolder(tmp_path), LogFolder(tmp_path)
    first.append(records[:20])
    second.append(records[20:])
    assert len(log_files(tmp_path)) == 2
    assert first.site == second.site
    assert len(read_logs(tmp_path).records) == 40
    if os.name == "posix":
        assert all(one.stat().st_mode & 0o077 == 0 for one in tmp_path.iterdir())


def test_a_key_is_made_once_is_taken_from_the_environment_and_must_be_long(tmp_path, monkeypatch):
    made = site_of(tmp_path)
    assert site_of(tmp_path) == made
    monkeypatch.setenv(KEY_VARIABLE, "a key of the environment")
    assert site_of(tmp_path) != made
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(DataError, match="has 5 characters, expected 16 or more"):
        site_of(tmp_path)
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(DataError, match=f"has no {KEY_FILE}"):
        site_of(tmp_path, make=False)


def test_a_recorder_writes_what_it_took_in_its_own_thread(tmp_path, records):
    recorder = Recorder(LogFolder(tmp_path))
    for one in records:
        recorder.put(lambda one=one: lambda site: [one])
    recorder.flush()
    assert read_logs(tmp_path).records == tuple(records)
    assert threading.current_thread().name != "monitor"


def test_a_full_disk_costs_notes_and_no_answer_and_the_log_says_how_many(
    tmp_path, records, monkeypatch, caplog
):
    recorder = Recorder(LogFolder(tmp_path))
    recorder.put(lambda: lambda site: records[:1])
    recorder.flush()
    real = os.open

    def full(path, *arguments, **named):
        if str(path).endswith(".jsonl"):
            raise OSError(28, "No space left on device")
        return real(path, *arguments, **named)

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(module.os, "open", full)
        for one in records[1:6]:
            recorder.put(lambda one=one: lambda site: [one])
        recorder.flush()
    assert recorder.lost == 5
    assert [one.message for one in caplog.records] == [
        "what is seen can't be noted for the monitor (No space left on device): answers go on without; check "
        "ICH_MONITOR_DIR"
    ]
    recorder.put(lambda: lambda site: records[6:7])
    recorder.flush()
    logs = read_logs(tmp_path)
    assert logs.records == (records[0], records[6])
    assert logs.notes == ("5 answers not in the logs: the disk or folder could not be written",)


def test_a_folder_that_cannot_be_made_a_mistake_of_ours_and_a_full_queue_are_no_errors(tmp_path, records):
    (tmp_path / "file").touch()
    recorder = Recorder(LogFolder(tmp_path / "file" / "below"))
    recorder.put(lambda: lambda site: records)
    recorder.flush()
    assert recorder.lost == 1

    def mistaken():
        raise KeyError("a mistake")

    recorder.put(mistaken)
    assert recorder.lost == 2
    stuck = threading.Event()
    slow = Recorder(LogFolder(tmp_path / "slow"), max_waiting=3)
    slow.put(lambda: lambda site: stuck.wait(10) and [])
    time.sleep(0.05)
    for _ in range(10):
        slow.put(lambda: lambda site: [])
    assert slow.lost == 7
    stuck.set()


def test_without_the_variable_nothing_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert recorder_from_environment() is None
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "seen"))
    assert recorder_from_environment() is not None


def test_an_answer_waits_less_than_a_millisecond_for_its_note():
    middle = float(waiting(answers=100).split(" waits ")[1].split()[0])
    assert middle < 1
