"""What a command ends with: 0 done, 1 a user's mistake, 130 Ctrl-C. 3, a refusal, is in test_runs.py."""

import signal
import time

from tests.public_surface.adapter import ROOT, command, start


def test_a_command_that_did_what_was_asked_ends_with_0():
    assert command("promote", "--help", folder=ROOT)[0] == 0


def test_a_users_mistake_ends_with_1_and_one_line(tmp_path):
    code, _, errors = command("train", "--source", "kaggle", folder=tmp_path)
    assert code == 1
    assert errors.startswith("error: source is 'kaggle', expected ")
    assert errors.count("\n") == 1


def test_ctrl_c_ends_with_130(tmp_path):
    preprocess = start("preprocess", "--exams", "500", "--workers", "1", folder=tmp_path)
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("data/*.partial")) and preprocess.poll() is None:
        assert time.monotonic() < deadline, "no cohort was begun"
        time.sleep(0.1)
    preprocess.send_signal(signal.SIGINT)
    _, errors = preprocess.communicate(timeout=180)
    assert preprocess.returncode == 130, errors
    assert errors.splitlines()[-1] == "stopped"
