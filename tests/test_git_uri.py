"""The project run by its git URI, from an environment that has nothing but MLflow and uv."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "data", "mlruns", "mlflow.db*", "checkpoints", "predictions", "__pycache__", ".*_cache",
    "*.egg-info",
)  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A git repository with the working tree as its only commit."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-q", "-m", "all of it")):
        subprocess.run(["git", "-C", folder, *command], check=True, capture_output=True)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_a_git_uri_runs_with_nothing_but_mlflow_and_uv(repository, tmp_path):
    uv = str(Path(sys.executable).with_name("uv"))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "PYTHONPATH", "VIRTUAL_ENV"))
    }
    bare, caller = tmp_path / "bare", tmp_path / "caller"
    caller.mkdir()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, bare], check=True, env=environment)
    pins = [f"{name}=={version(name)}" for name in ("mlflow", "uv")]
    subprocess.run([uv, "pip", "install", "-q", "--python", bare, *pins], check=True, env=environment)
    environment["PATH"] = os.pathsep.join([str(bare / "bin"), environment["PATH"]])
    done = subprocess.run(
        [bare / "bin" / "mlflow", "run", f"file://{repository}", "-e", "demonstrate", "--env-manager", "uv"],
        cwd=caller, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "registered models:/ich-5class-ctich-demo/1" in done.stdout
    assert (caller / "mlflow.db").is_file()  # where the command was typed
