"""Troubles of the store, each by the real command: one line that says what, why and what to type."""

import http.server
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
EXPERIMENT = "ich_mlflow"


def command(
    *words: str, folder: Path, uri: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`python -m` those words in a folder, with a tracking URI or with what MLflow takes there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    kept |= {"PYTHONPATH": str(ROOT), **({"MLFLOW_TRACKING_URI": uri} if uri else {}), **environment}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=kept, text=True, capture_output=True, timeout=170,
        check=False,
    )  # fmt: skip


def history(folder: Path, uri: str | None = None) -> subprocess.CompletedProcess[str]:
    """The cheapest stage that asks the store something."""
    return command("ich_mlflow.cli", "promote", "--history", "true", folder=folder, uri=uri)


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that could not be done."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a store that has the experiment, and an artifact."""
    folder = tmp_path_factory.mktemp("made")
    code = (
        f"import mlflow; mlflow.set_experiment({EXPERIMENT!r})\n"
        "with mlflow.start_run(): mlflow.log_text('one', 'one.txt')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def store(made, tmp_path) -> Path:
    """A copy of it that knows where it is: its mlflow.db."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    done = command(
        "ich_mlflow.tracking.moved", "mlflow.db", str(made / "mlruns"), str(folder / "mlruns"), folder=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "mlflow.db"


def change(store: Path, statement: str) -> None:
    with sqlite3.connect(store) as database:
        database.execute(statement)
    database.close()


def test_a_store_that_is_sound_is_used(store):
    done = history(store.parent)
    assert (done.returncode, done.stdout) == (0, "no promotion, refusal or rollback is recorded yet\n")


def test_an_experiment_deleted_in_the_ui_is_said_with_what_brings_it_back(store):
    change(store, f"update experiments set lifecycle_stage = 'deleted' where name = '{EXPERIMENT}'")
    said = the_line(history(store.parent))
    assert "experiment ich_mlflow (id 1) was deleted in sqlite:///" in said
    assert "bring it back by mlflow experiments restore -x 1, or remove it" in said
    restored = command("mlflow", "experiments", "restore", "-x", "1", folder=store.parent)
    assert restored.returncode == 0, restored.stderr
    assert history(store.parent).returncode == 0


def test_mlflow_run_says_the_same_and_starts_nothing(store):
    shutil.copy(ROOT / "MLproject", store.parent)
    shutil.copy(ROOT / "conda.yaml", store.parent)
    change(store, f"update experiments set lifecycle_stage = 'deleted' where name = '{EXPERIMENT}'")
    done = command("mlflow", "run", ".", "-e", "preprocess", folder=store.parent)
    assert done.returncode == 1
    assert "=== experiment ich_mlflow (id 1) was deleted in" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (store.parent / "data").exists()


def test_a_folder_that_was_moved_is_said_and_the_store_follows_by_what_is_printed(store):
    was, now = store.parent, store.parent.with_name("moved here")
    was.rename(now)
    said = the_line(history(now))
    assert f"are kept in {was / 'mlruns'}, which is not there: was the folder of mlflow.db moved?" in said
    printed = said[said.index("python -m ich_mlflow.tracking.moved") :].strip()
    mended = subprocess.run(
        printed.replace("python", sys.executable, 1), shell=True, cwd=now, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert mended.returncode == 0, mended.stderr
    assert "places of" in mended.stdout
    assert history(now).stdout.startswith("no promotion")
    assert not was.exists()


def test_a_folder_that_was_copied_is_noted(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    done = history(tmp_path / "copy")
    assert done.returncode == 0
    assert done.stdout.startswith(
        f"note: the artifacts of experiment ich_mlflow go to {made / 'mlruns'} and not"
    )


def test_a_store_of_another_version_is_said(store):
    change(store, "update alembic_version set version_num = '0123456789ab'")
    said = the_line(history(store.parent))
    assert "its schema is another version's" in said
    assert f"take a backup of it, then type mlflow db upgrade sqlite:///{store}" in said


@pytest.mark.parametrize("uri", ["file:runs", "runs"])
def test_a_store_of_files_is_said_with_what_to_set(tmp_path, uri):
    said = the_line(history(tmp_path, uri))
    assert "it is a folder of files" in said
    assert "set MLFLOW_TRACKING_URI=sqlite:///mlflow.db" in said


def test_a_server_that_is_not_there_is_said_soon(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    said = the_line(history(tmp_path, f"http://me:secret@127.0.0.1:{port}"))
    assert time.monotonic() - began < 60
    assert "(connection refused): nothing answers there: start the server, or set MLFLOW_TRACKING_URI" in said
    assert "secret" not in said


def test_a_database_that_is_not_there_is_said_soon(tmp_path):
    began = time.monotonic()
    said = the_line(history(tmp_path, "postgresql://me:secret@127.0.0.1:1/runs"))
    assert time.monotonic() - began < 60
    assert "postgresql://me:***@127.0.0.1:1/runs (connection refused): nothing answers there" in said


@pytest.fixture
def answering():
    """A server that answers every request with the status it is given: its address by status."""
    servers = []

    def start(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>\nnothing of MLflow</html>")

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (401, "it does not know who asks: set MLFLOW_TRACKING_USERNAME"),
        (403, "this user may not do that: ask the server's administrator"),
        (200, "what answers there is no MLflow server"),
    ],
)
def test_a_server_that_refuses_is_said_with_what_to_set(answering, tmp_path, status, what):
    assert what in the_line(history(tmp_path, answering(status)))


def test_artifacts_that_cannot_be_written_are_said_before_anything_begins(store):
    shutil.rmtree(store.parent / "mlruns")
    (store.parent / "mlruns").touch()
    done = command("ich_mlflow.cli", "preprocess", folder=store.parent)
    said = the_line(done)
    assert f"which can't be made or written, since {store.parent / 'mlruns'} is a file" in said
    assert not (store.parent / "data").exists()


def test_a_store_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    said = the_line(history(tmp_path, f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"))
    assert f"can't be made, since {tmp_path / 'file'} is a file" in said


def test_mlflow_run_from_another_folder_leaves_everything_where_it_was_typed(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    done = command(
        "mlflow", "run", str(ROOT), "-e", "preprocess", "--env-manager", "local", "-P", "exams=3", "-P",
        "bleeds=0.9", "-P", "out=rel", folder=here,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (here / "rel" / "manifest.json").is_file()
    assert not (ROOT / "rel").exists()
    assert sorted(path.name for path in here.iterdir()) == ["data", "mlflow.db", "mlruns", "rel"]
    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"]
    assert not client.search_runs(["0"])


def test_a_run_that_was_killed_is_ended_by_the_next_command(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    killed = subprocess.Popen(
        [sys.executable, "-m", "ich_mlflow.cli", "preprocess", "--exams", "500", "--workers", "1"],
        cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while not list(tmp_path.glob("data/*.partial")) and killed.poll() is None:
        assert time.monotonic() < deadline, "no cohort was begun"
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    done = history(tmp_path)
    assert done.stdout.startswith("note: 1 run whose process was killed: ended as KILLED\n")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "KILLED"
    assert run.data.tags["ich.error"].startswith("killed")
