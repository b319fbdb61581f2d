"""The promises outside Python: MLproject, conda.yaml, pyproject.toml and README say what the code does."""

import re
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ich_mlflow import options

ROOT = Path(__file__).parents[1]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
ENTRY_POINTS = {
    "main": options.MainOptions,
    "preprocess": options.PreprocessOptions,
    "train": options.TrainOptions,
    "tune": options.TuneOptions,
    "evaluate": options.EvaluateOptions,
    "predict": options.PredictOptions,
    "promote": options.PromoteOptions,
    "pretrain": options.PretrainOptions,
    "demonstrate": options.DemonstrateOptions,
}


def test_mlproject_has_exactly_the_entry_points_there_are():
    assert set(MLPROJECT["entry_points"]) == set(ENTRY_POINTS)
    assert {path.stem for path in (ROOT / "entrypoints").glob("[a-z]*.py")} == set(ENTRY_POINTS)
    for name in ENTRY_POINTS:
        assert (ROOT / "ich_mlflow" / "workflows" / f"{name}.py").is_file()


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_mlproject_names_and_defaults_are_those_of_the_options(name):
    declared = MLPROJECT["entry_points"][name]["parameters"]
    expected = {field.name: field.default for field in fields(ENTRY_POINTS[name])}
    assert {parameter: entry["default"] for parameter, entry in declared.items()} == expected


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_mlproject_hands_every_parameter_on(name):
    command = MLPROJECT["entry_points"][name]["command"]
    assert command.startswith(f"python -m entrypoints.{name} ")
    passed = re.findall(r"--(\w+) \{(\w+)\}", command)
    assert all(flag == parameter for flag, parameter in passed)
    assert {flag for flag, _ in passed} == {field.name for field in fields(ENTRY_POINTS[name])}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_pretrain_does_not_begin_anew_what_it_had_finished(tmp_path):
    def told():
        command = ["make", "-n", "pretrain", f"PRETRAINED={tmp_path}"]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    runs = re.findall(r"mlflow run \. -e pretrain(.*)", told())
    assert [("lite0" in run) for run in runs] == [False, True]
    (tmp_path / ".b0-made").touch()
    (left,) = re.findall(r"mlflow run \. -e pretrain(.*)", told())
    assert "-P backbone=efficientnet-lite0 -P weights=imagenet" in left


def test_conda_and_pyproject_read_the_same_pins():
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    assert conda["dependencies"][:2] == ["python=3.11", "pip"]
    assert conda["dependencies"][2] == {"pip": ["-r requirements.txt"]}
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    tensorflow = re.search(r"^tensorflow==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    gpu = pyproject["project"]["optional-dependencies"]["gpu"]
    assert gpu[0] == f"tensorflow[and-cuda]=={tensorflow.group(1)}"


def test_every_requirement_is_pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[\w-]+==[\w.]+(; sys_platform != \"win32\")?", line), (
            line
        )


def test_every_python_that_the_package_allows_is_resolved_by_ci_and_named_in_the_readme():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["requires-python"] == ">=3.11,<3.14"
    assert "for python in 3.11 3.12 3.13; do" in (ROOT / ".ci" / "resolves").read_text(encoding="utf-8")
    assert ".ci/resolves" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_test_command_that_the_readme_gives():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3\.11 -m venv .*$", readme, re.MULTILINE)
    main_job, tests = commands
    assert main_job.endswith("mlflow run .")
    assert tests.endswith("python -m pytest")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_readme_commands_name_entry_points_and_parameters_that_exist():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    commands = [
        command
        for document in documents
        for command in re.findall(r"^(?:.* && )?(mlflow run \..*)$", document.read_text(), re.MULTILINE)
    ]
    assert commands
    for command in commands:
        entry = re.search(r"-e (\w+)", command)
        name = entry.group(1) if entry else "main"
        known = {field.name for field in fields(ENTRY_POINTS[name])}
        assert set(re.findall(r"-P (\w+)=", command)) <= known, command


def test_readme_says_that_this_is_no_medical_device():
    assert "not a medical device" in (ROOT / "README.md").read_text()
