from pathlib import Path

import mlflow  # noqa: F401  first, since it loads the plugin while it is imported itself
import pytest
from mlflow.projects._project_spec import load_project

from ich_mlflow_plugin import choose_env_manager, is_project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_conda(monkeypatch):
    monkeypatch.delenv("CONDA_EXE", raising=False)
    monkeypatch.delenv("MLFLOW_CONDA_HOME", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)


def test_without_conda_this_project_runs_in_the_current_environment(no_conda):
    assert choose_env_manager(str(ROOT), None) == "local"
    assert choose_env_manager(ROOT.as_uri(), None) == "local"


def test_with_conda_mlflow_decides(no_conda, monkeypatch):
    monkeypatch.setenv("CONDA_EXE", "/opt/conda/bin/conda")
    assert choose_env_manager(str(ROOT), None) is None


@pytest.mark.parametrize("named", ["uv", "virtualenv", "conda", "local"])
def test_a_named_env_manager_is_left_alone(no_conda, named):
    assert choose_env_manager(str(ROOT), named) == named


def test_another_project_is_left_alone(no_conda, tmp_path):
    (tmp_path / "MLproject").write_text("name: another\nconda_env: conda.yaml\n")
    assert choose_env_manager(str(tmp_path), None) is None
    assert not is_project(tmp_path / "missing")
    assert is_project(ROOT)


def test_a_run_shows_what_was_typed_and_the_command_has_the_defaults_too(tmp_path):
    train = load_project(str(ROOT)).get_entry_point("train")
    typed = {"recipe": "model-2", "dropout": "0.4"}
    logged = train.compute_parameters(typed, storage_dir=None)
    assert logged == ({"recipe": "model-2"}, {"dropout": "0.4"})
    assert train.compute_parameters(None, storage_dir=None) == ({}, {})
    command = train.compute_command(typed, str(tmp_path))
    assert command.endswith("--dropout 0.4")
    assert "--recipe model-2 --num_classes auto" in command


def test_a_run_of_another_project_shows_what_mlflow_would(tmp_path):
    entry_points = "entry_points: {main: {parameters: {a: {type: string, default: b}}, command: 'echo {a}'}}"
    (tmp_path / "MLproject").write_text(f"name: another\n{entry_points}\n")
    main = load_project(str(tmp_path)).get_entry_point("main")
    assert main.compute_parameters({}, storage_dir=None) == ({"a": "b"}, {})
