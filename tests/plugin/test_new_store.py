import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ich_mlflow_plugin.new_store import made_by_one

ROOT = Path(__file__).parents[2]


def test_two_first_commands_at_once_make_one_store_and_all_end_well(tmp_path):
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("entrypoints", "ich_mlflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    hidden = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", "-e", "promote"]
    commands = [
        subprocess.Popen(
            [*command, "-P", "history=true"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for one in commands:
        said, _ = one.communicate(timeout=300)
        assert one.returncode == 0, said[-3000:]
        assert "no promotion, refusal or rollback is recorded yet" in said
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select status, count(*) from runs group by status").fetchall() == [
            ("FINISHED", 2)
        ]
    assert not list(tmp_path.glob("mlflow.db-lock"))


def test_the_second_waits_until_the_first_has_made_the_file(tmp_path):
    done = []
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"

    def second():
        with made_by_one(uri):
            done.append("second")

    with made_by_one(uri):
        (tmp_path / "new" / "mlflow.db").touch()  # half of it, so to speak
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.5)
        assert done == []
        done.append("first")
    waiting.join(10)
    assert done == ["first", "second"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mlflow.db"]


def test_where_the_first_was_killed_half_way_the_next_makes_it(tmp_path):
    for name in ("mlflow.db", "mlflow.db-lock"):
        (tmp_path / name).touch()
    with made_by_one(f"sqlite:///{tmp_path / 'mlflow.db'}"):
        assert (tmp_path / "mlflow.db-lock").exists()
    assert not (tmp_path / "mlflow.db-lock").exists()


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "postgresql://u@h/n", "http://h:5000", "mlruns"]
)
def test_what_is_no_sqlite_file_is_left_alone(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    with made_by_one(uri):
        assert not list(tmp_path.iterdir())


def test_a_store_that_is_there_is_opened_without_a_lock(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with made_by_one(f"sqlite:///{tmp_path / 'mlflow.db'}"):
        assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
