"""The whole job as users type it: the bare `mlflow run` on a copy of the project, without conda."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.printed import check_printed_commands

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what `mlflow run` needs, where it keeps its database too."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("MLproject", "conda.yaml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    for name in ("entrypoints", "ich_mlflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _mlflow_run(project, *arguments):
    hidden = (
        "CONDA_EXE",
        "MLFLOW_CONDA_HOME",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_ID",
    )
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    # Nothing but this environment's tools and the system's: no conda.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    return subprocess.run(
        [sys.executable, "-m", "mlflow", "run", ".", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def _runs(project, query):
    with sqlite3.connect(project / "mlflow.db") as database:
        return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def done(project):
    """The whole job on three patients, one for each split: here alone EfficientNet-B0 is trained.

    Of one test patient nothing can be told, so the model stays a candidate.
    """
    options = "exams=3 bleeds=1 workers=1 image_size=32 epochs=1 batch_size=32 weights=random num_classes=4"
    arguments = [part for option in options.split() for part in ("-P", option)]
    return _mlflow_run(project, *arguments)


def test_the_bare_command_runs_without_conda_and_says_so_in_one_line(done):
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stderr.splitlines() if "no conda on this machine" in line]
    assert len(lines) == 1


def test_it_ends_with_the_commands_that_look_and_serve(done):
    assert "mlflow ui" in done.stdout
    assert "FAILED  null models" in done.stdout
    serve = "mlflow models serve -m models:/ich-4class-phantom@candidate -p 5001 --env-manager local"
    assert f"Serve the candidate: {serve}   (version 1)" in done.stdout
    assert len(check_printed_commands(done.stdout)) == 2


def test_the_stages_are_children_of_one_parent_in_the_projects_experiment(done, project):
    parents = _runs(
        project,
        "select parent.value, stage.value from tags parent join tags stage on parent.run_uuid = stage.run_uuid "
        "where parent.key = 'mlflow.parentRunId' and stage.key = 'ich.stage'",
    )
    stages = sorted(stage for _, stage in parents)
    assert stages == ["evaluate", "preprocess", "promote", "train"]
    statuses = _runs(project, "select distinct status from runs")
    assert statuses == [("FINISHED",)]
    names = _runs(project, "select distinct e.name from runs r join experiments e using (experiment_id)")
    assert sorted(names) == [("ich_mlflow",), ("ich_mlflow_promotions",)]
    stage_of_parent = dict(_runs(project, "select run_uuid, value from tags where key = 'ich.stage'"))
    assert {stage_of_parent[parent] for parent, _ in parents} == {"main"}


def test_a_users_mistake_is_one_line_an_exit_code_and_a_failed_run(done, project):
    failed = _mlflow_run(project, "-e", "train", "-P", "num_classes=7")
    assert failed.returncode != 0
    assert "error: num_classes is 7, expected 4, 5 or 6" in failed.stderr
    assert "Traceback" not in failed.stderr
    newest = _runs(project, "select status from runs order by start_time desc limit 1")
    assert newest == [("FAILED",)]
