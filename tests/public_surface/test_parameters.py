"""Every parameter of 0.1 is still taken by its name, with its default, by `mlflow run -P` and by the command."""

import re
import shlex
from functools import cache

import pytest
from mlflow.projects._project_spec import load_project

from tests.public_surface.adapter import ROOT, STAGES, command
from tests.public_surface.recorded import RECORDS, expect, read

#: Parameters of 0.1 that are refused on purpose now: stage -> name -> why.
DROPPED: dict[str, dict[str, str]] = {
    "tune": dict.fromkeys(
        (
            "source", "quirks", "out", "validation_fraction", "test_fraction", "folds", "external", "compress",
            "quarantine_limit", "strict", "engine", "spark_master",
        ),
        "a search takes a stored set that preprocess made",
    )
}  # fmt: skip
#: Defaults that are others on purpose now: stage -> name -> the new default, as --help has it.
#: A first champion must beat what doesn't look at the image, by an interval: 8 test patients of 60 exams can't tell.
_COHORT = {"exams": "120", "bleeds": "0.2"}
_MADE = {**_COHORT, "validation_fraction": "0", "test_fraction": "0"}
CHANGED_DEFAULTS: dict[str, dict[str, str]] = {
    "main": _MADE,
    "preprocess": _MADE,
    "train": _MADE,
    "tune": {"augmentation": "0..2, unless one of them is said", "monitor": "val_auc", **_COHORT},
}
#: What --help says where 0.1 said `auto` of a hyperparameter. `auto` is still taken.
THE_RECIPES = "the recipe's, "


@cache
def defaults(stage: str) -> dict[str, str]:
    """Name -> default, as the stage's --help has them."""
    code, output, _ = command(stage, "--help", folder=ROOT)
    assert code == 0
    # the help of a long name stands on the line after it
    found = re.findall(r"^ +(--\w+ \w+(?:, --\w+ \w+)*)(?:\n)? +.*\(default: (.*)\)$", output, re.MULTILINE)
    return {
        name: "auto" if default.startswith(THE_RECIPES) else default
        for names, default in found
        for name in re.findall(r"--(\w+)", names)
    }


def left(stage: str) -> dict[str, str]:
    """The recorded parameters but for those that were dropped, with today's defaults."""
    # 200.0 is said as 200
    plain = {
        name: re.sub(r"^(\d+)\.0$", r"\1", default) for name, default in read("parameters")[stage].items()
    }
    recorded = plain | CHANGED_DEFAULTS.get(stage, {})
    return {name: default for name, default in recorded.items() if name not in DROPPED.get(stage, {})}


def test_the_recording_has_every_stage():
    if RECORDS:
        expect("parameters", {stage: defaults(stage) for stage in STAGES})
    assert set(read("parameters")) == set(STAGES)
    assert min(len(names) for names in read("parameters").values()) >= 1


@pytest.mark.parametrize("stage", STAGES)
def test_every_parameter_has_the_default_that_it_had(stage):
    now = defaults(stage)
    assert {name: now.get(name) for name in left(stage)} == left(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_takes_every_parameter(stage):
    given = [text for name, default in left(stage).items() for text in (f"--{name}", default)]
    code, _, errors = command(stage, *given, "--no_such_parameter", "1", folder=ROOT)
    assert code == 1
    assert errors.count("\n") == 1
    assert "there is no parameter no_such_parameter" in errors


@pytest.mark.parametrize("stage", STAGES)
def test_mlflow_run_hands_every_parameter_on(stage, tmp_path):
    entry_point = load_project(str(ROOT)).get_entry_point(stage)
    given = {name: f"given-{number}" for number, name in enumerate(left(stage))}
    numbers = {name: str(float(number)) for number, name in enumerate(left(stage))}
    declared = {name: one.type for name, one in entry_point.parameters.items()}
    values = {name: numbers[name] if declared.get(name) == "float" else given[name] for name in given}
    words = shlex.split(entry_point.compute_command(values, str(tmp_path)))
    assert words[:3] == ["python", "-m", f"entrypoints.{stage}"]
    handed = dict(zip((word.removeprefix("--") for word in words[3::2]), words[4::2], strict=True))
    assert {name: handed.get(name) for name in values} == values


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_dropped_is_refused(stage):
    for name in DROPPED.get(stage, {}):
        assert name in read("parameters")[stage]
        code, _, errors = command(stage, f"--{name}", "1", folder=ROOT)
        assert (code, f"no parameter {name}" in errors) == (1, True)
