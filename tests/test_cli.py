import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from ich_mlflow.cli import launch, parse
from ich_mlflow.errors import OptionError
from ich_mlflow.options import PredictOptions, PreprocessOptions, PromoteOptions, TrainOptions
from tests.test_project import ENTRY_POINTS

ROOT = Path(__file__).parents[1]


def test_flags_are_built_from_the_dataclass_and_converted_to_its_types():
    options = parse(PreprocessOptions, ["--exams", "7", "--test_fraction", "0.2", "--source", "rsna"])
    assert (options.exams, options.test_fraction, options.source) == (7, 0.2, "rsna")
    assert options.fractions == pytest.approx((0.65, 0.15, 0.2))


def test_what_is_not_said_keeps_the_default():
    assert parse(TrainOptions, []) == TrainOptions()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exams", "many"], "exams"),
        (["--foo", "1"], "--foo"),
        (["--source", "kaggle"], "kaggle"),
        (["--validation_fraction", "0.6", "--test_fraction", "0.5"], "test_fraction"),
        (["--seed", "-1"], "seed"),
        (["--source", "rsna-test"], "external is 'false', expected true with source=rsna-test"),
    ],
)
def test_a_wrong_option_is_refused_by_name(arguments, said):
    with pytest.raises(OptionError, match=said):
        parse(PreprocessOptions, arguments)


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize("options", ENTRY_POINTS.values())
def test_an_empty_value_is_refused_for_every_option(options, value):
    for field in fields(options):
        with pytest.raises(
            OptionError, match=rf"^{field.name} is empty, expected .*: pass -P {field.name}=<value>"
        ):
            parse(options, [f"--{field.name}", value])
        with pytest.raises(OptionError, match="is empty"):
            parse(options, [f"--{field.name}={value}"])


def test_an_unset_variable_is_no_folder_to_predict_in(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict", "--input", ""])
    assert launch(PredictOptions, "ich_mlflow.workflows.predict:predict") == 1
    assert capsys.readouterr().err == (
        "error: input is empty, expected a value (the default is auto): pass -P input=<value> or leave it out\n"
    )


def test_external_data_cannot_be_trained_on():
    with pytest.raises(OptionError, match="external is 'true', expected false: all of external data is in"):
        TrainOptions(source="rsna", data="x", external="true")


@pytest.mark.parametrize("source", ["cq500", "rsna-test"])
def test_a_source_without_a_label_a_slice_cannot_be_trained_on(source):
    with pytest.raises(OptionError, match="expected auto, or one with a label a slice: rsna, ctich, phantom"):
        TrainOptions(source=source, data="x", external="true")


def test_a_users_mistake_is_one_line_and_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["promote", "--num_classes", "five"])
    assert launch(PromoteOptions, "ich_mlflow.workflows.promote:promote") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "five" in error
    assert error.count("\n") == 1


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])
    assert launch(_Nothing, "tests.test_cli:_interrupted") == 130


def test_help_explains_every_option_without_tensorflow_or_mlflow():
    code = (
        "import sys; sys.argv = ['train', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('entrypoints.train', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'mlflow'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--num_classes" in done.stdout
    assert "not a medical device" in done.stdout


@dataclass(frozen=True, kw_only=True)
class _Nothing:
    """No options."""


def _interrupted(options):
    raise KeyboardInterrupt
