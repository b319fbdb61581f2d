"""The promises outside Python: MLproject, conda.yaml, pyproject.toml and README say what the code does."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from ich_mlflow.cli import STAGES, options_of
from ich_mlflow.parameters import parameters_of, text_of
from ich_mlflow.stages import reference
from ich_mlflow.stages.common.stored_sets import DATA_FOLDER
from ich_mlflow.stages.predict.job import PHANTOM_STUDIES, PREDICTIONS_FOLDER
from ich_mlflow_plugin.new_store import SUFFIX
from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())
ENTRY_POINTS = {stage: options_of(stage) for stage in STAGES}


def test_a_stage_has_one_name_in_four_places():
    assert set(MLPROJECT["entry_points"]) == set(STAGES)
    assert {path.stem for path in (ROOT / "entrypoints").glob("[a-z]*.py")} == set(STAGES)
    for name in STAGES:
        assert (ROOT / "ich_mlflow" / "stages" / name / f"{name}.py").is_file()
        assert (ROOT / "tests" / "stages" / name).is_dir()


@pytest.mark.parametrize("name", STAGES)
def test_mlproject_declares_a_few_parameters_with_the_defaults_of_the_code(name):
    declared = MLPROJECT["entry_points"][name]["parameters"]
    known = parameters_of(ENTRY_POINTS[name])
    assert 1 <= len(declared) <= 10
    for parameter, entry in declared.items():
        assert str(entry["default"]) == text_of(known[parameter].default)


@pytest.mark.parametrize("name", STAGES)
def test_mlproject_hands_on_every_parameter_that_it_declares(name):
    command = MLPROJECT["entry_points"][name]["command"]
    assert command.startswith(f"python -m entrypoints.{name} ")
    passed = re.findall(r"--(\w+) \{(\w+)\}", command)
    assert all(flag == parameter for flag, parameter in passed)
    assert [flag for flag, _ in passed] == list(MLPROJECT["entry_points"][name]["parameters"])


def test_the_page_of_parameters_is_what_the_code_declares():
    made = (ROOT / reference.PAGE).read_text(encoding="utf-8")
    assert made == reference.page(), "run `make reference`"


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
    assert re.search(r"^\.ci/resolves\b", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_test_command_that_the_readme_gives():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3\.11 -m venv .*$", readme, re.MULTILINE)
    main_job, tests = commands
    assert main_job.endswith("mlflow run .")
    assert tests.endswith("python -m pytest")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_git_ignores_every_folder_that_stages_write_to_by_default():
    """predictions/ holds patients' identifiers."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone of the repository")
    written = [
        str(DATA_FOLDER), str(PREDICTIONS_FOLDER), str(PHANTOM_STUDIES), ENTRY_POINTS["train"]().checkpoints,
        ENTRY_POINTS["pretrain"]().checkpoints, ENTRY_POINTS["pretrain"]().out, "mlruns", "mlartifacts",
    ]  # fmt: skip
    paths = [f"{folder}/any.file" for folder in written] + [
        "mlflow.db",
        "mlflow.db-wal",
        f"mlflow.db{SUFFIX}",
    ]
    told = subprocess.run(
        ["git", "check-ignore", "--stdin"], cwd=ROOT, input="\n".join(paths), capture_output=True, text=True
    )
    assert told.stdout.splitlines() == paths


def test_nothing_is_cited_that_a_reader_of_the_repository_does_not_have():
    """A folder beside the repository, or notes in it: the fact itself or a public source stands in their place."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone of the repository")
    # [d], so that this line is not found itself
    command = ["git", "grep", "-nIE", "(^|[^[:alnum:]_])share[d]/"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")


def test_readme_says_that_this_is_no_medical_device():
    assert "not a medical device" in (ROOT / "README.md").read_text()


def test_the_files_that_are_begun_first_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
