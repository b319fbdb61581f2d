"""A team on one server: PostgreSQL, artifacts through the server, users with passwords, known by its URI alone."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest

from ich_mlflow.stages.promote.examination import phantom_dicom
from tests.factories import training_process

pytest.importorskip("flask_wtf", reason="MLflow's users need mlflow[auth], which the extra dev has")

GRANT = "/api/3.0/mlflow/users/permissions/grant"
PASSWORD = "a long password for a test"
TRAINING = {
    "image_size": "32", "epochs": "6", "batch_size": "8", "weights": "random", "series_smoothing": "none",
}  # fmt: skip
STARTS_S, ENDS_S = 120, 300


@dataclass
class Server:
    """`mlflow server`, which can be killed and started again on the same port."""

    folder: Path
    store: str
    port: int
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = os.environ | {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for a test",
            # seven processes for language models, which nothing here asks for
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
            environment.pop(name, None)
        command = [
            *(sys.executable, "-m", "mlflow", "server", "-h", "127.0.0.1", "-p", str(self.port)),
            *("--workers", "1", "--app-name", "basic-auth", "--backend-store-uri", self.store),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        for _ in range(STARTS_S * 4):
            with suppress(OSError):
                if urllib.request.urlopen(f"{self.uri}/health", timeout=2).status == 200:
                    return
            time.sleep(0.25)
        pytest.fail((self.folder / "log").read_text()[-3000:])

    def kill(self) -> None:
        """-9, with its workers, which are in groups of their own and would keep the port."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                server = psutil.Process(self.process.pid)
                for process in (*server.children(recursive=True), server):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            self.process.wait(30)

    def asked(self, path: str, body: dict, *, user: str = "admin") -> dict:
        """MLflow's REST API, as that user."""
        token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.uri}{path if path.startswith('/') else f'/api/2.0/mlflow/{path}'}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {token}"},
        )
        return json.loads(urllib.request.urlopen(request, timeout=30).read() or b"{}")


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\nauth_cache_ttl_seconds = 300\n"
        f"database_uri = sqlite:///{folder / 'users.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run(
        [shutil.which("psql") or "psql", postgres, "-c", "create database team"],
        check=True,
        capture_output=True,
    )
    store = postgres.replace("postgresql://", "postgresql+psycopg://").replace("/postgres", "/team")
    found = Server(folder, store, port)
    try:
        found.start()
        for user in ("ann", "ben", "eva"):
            found.asked("users/create", {"username": user, "password": PASSWORD})
        yield found
    finally:
        found.kill()


@pytest.fixture
def as_user(server, monkeypatch):
    """Processes that are started then know the server by its URI, and who asks."""

    def become(user: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)

    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    return become


def stage(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    """`ich-mlflow <stage> …` in a folder of another machine."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ich_mlflow.cli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=ENDS_S, check=False
    )


def run_of(output: str) -> str:
    """The id of the run that a training process printed."""
    return next(line.split()[1] for line in output.splitlines() if line.startswith("RUN "))


def finished(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=ENDS_S)
    assert process.returncode == 0, output[-3000:]
    return output


def epochs_of(server: Server, experiment: str, user: str) -> int:
    """Of the newest run there, how many epochs have ended."""
    try:
        found = server.asked("runs/search", {"experiment_ids": [experiment], "max_results": 1}, user=user)
    except (OSError, urllib.error.HTTPError):
        return 0
    runs = found.get("runs", [])
    metrics = runs[0]["data"].get("metrics", []) if runs else []
    return max((int(one["step"]) + 1 for one in metrics if one["key"] == "epoch/loss"), default=0)


def test_two_train_at_once_and_the_server_is_killed_meanwhile(server, as_user, stored_set, tmp_path):
    """Then one promotes, and others predict and read: each in a folder of its own."""
    as_user("ann")
    told = {**TRAINING, "data": str(stored_set.path)}
    experiment = server.asked("experiments/create", {"name": "tests"}, user="ann")["experiment_id"]
    server.asked(
        GRANT,
        {"username": "ben", "resource_type": "experiment", "resource_id": experiment, "permission": "EDIT"},
    )
    (tmp_path / "ann").mkdir()
    (tmp_path / "ben").mkdir()
    of_ann = training_process(tmp_path / "ann", server.uri, told)
    as_user("ben")
    of_ben = training_process(tmp_path / "ben", server.uri, {**told, "seed": 1})
    for _ in range(ENDS_S * 5):
        if epochs_of(server, experiment, "ann"):
            break
        time.sleep(0.2)
    server.kill()
    time.sleep(2)
    server.start()
    runs = [run_of(finished(one)) for one in (of_ann, of_ben)]
    for run_id in runs:
        run = server.asked("runs/search", {"experiment_ids": [experiment]}, user="eva")["runs"]
        (found,) = (one for one in run if one["info"]["run_id"] == run_id)
        assert found["info"]["status"] == "FINISHED"
        metrics = {one["key"]: one for one in found["data"]["metrics"]}
        assert int(metrics["epoch/loss"]["step"]) >= 2
        assert "any_auc_val" in metrics  # what is logged last, with the model

    as_user("ann")
    evaluated = stage(
        tmp_path / "elsewhere", "evaluate", "--model", runs[0], "--resamples", 200, "--heat_maps", 0
    )
    assert evaluated.returncode == 0, evaluated.stderr
    assert f"{server.uri}/#/experiments/" in evaluated.stdout
    promoted = stage(
        tmp_path / "elsewhere", "promote", "--run", runs[0], "--resamples", 200, "--smoke", "false"
    )
    assert promoted.returncode in (0, 3), promoted.stderr  # 18 patients need not be enough
    assert "ich-5class" in promoted.stdout

    as_user("eva")
    (tmp_path / "slice.dcm").write_bytes(phantom_dicom())
    predicted = stage(
        *(tmp_path / "reader", "predict", "--input", tmp_path / "slice.dcm"),
        *("--model", "ich-5class/1", "--pictures", 0),
    )
    # eva may read models and log nowhere
    assert predicted.returncode == 1
    assert predicted.stderr.strip().count("\n") == 0, predicted.stderr
    assert predicted.stderr.startswith("error: ")
    assert "ermission" in predicted.stderr
    for one in server.asked("experiments/search", {"max_results": 100})["experiments"]:
        right = {"resource_type": "experiment", "resource_id": one["experiment_id"], "permission": "EDIT"}
        if one["experiment_id"] != experiment:  # which he has
            server.asked(GRANT, {"username": "ben", **right})
    as_user("ben")
    predicted = stage(
        *(tmp_path / "ward", "predict", "--input", tmp_path / "slice.dcm"),
        *("--model", "ich-5class/1", "--pictures", 0),
    )
    assert predicted.returncode == 0, predicted.stderr
    assert list((tmp_path / "ward").rglob("worklist.csv"))


def test_a_wrong_password_is_one_line(server, as_user, monkeypatch, tmp_path):
    as_user("ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
    refused = stage(tmp_path, "demonstrate")
    assert refused.returncode == 1
    assert refused.stderr.strip().count("\n") == 0, refused.stderr
    assert refused.stderr.startswith("error: ")
    assert mlflow.get_tracking_uri() != server.uri  # this process has its own
