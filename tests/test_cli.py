import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ich_mlflow.cli import STAGES, as_typed, launch, main, options_of, parse
from ich_mlflow.errors import OptionError
from ich_mlflow.parameters import parameters_of
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.promote import promote as promote_module
from ich_mlflow.stages.train.options import TrainOptions

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
        (["--foo", "1"], "there is no parameter foo: expected"),
        (["--exam", "7"], r"no parameter exam \(did you mean exams\?\)"),
        (["7"], "'7' is no parameter"),
        (["--data", ""], "data is empty, expected a value: pass -P data=<value>, or leave it out"),
        (["--compress", "yes"], "compress is 'yes', expected true or false"),
        (["--test_fraction", "a"], "test_fraction is 'a', expected a number"),
        (["--source", "kaggle"], "kaggle"),
        (["--validation_fraction", "0.6", "--test_fraction", "0.5"], "test_fraction"),
        (["--seed", "-1"], "seed"),
        (["--source", "rsna-test"], "external is false, expected true with source=rsna-test"),
    ],
)
def test_a_wrong_option_is_refused_by_name(arguments, said):
    with pytest.raises(OptionError, match=said):
        parse(PreprocessOptions, arguments)


def test_external_data_cannot_be_trained_on():
    with pytest.raises(OptionError, match="external is true, expected false: all of external data is in"):
        TrainOptions(source="rsna", data="x", external=True)


@pytest.mark.parametrize("source", ["cq500", "rsna-test"])
def test_a_source_without_a_label_a_slice_cannot_be_trained_on(source):
    with pytest.raises(
        OptionError, match=r"expected auto, rsna, ctich, phantom or table \(those with a label a slice\)"
    ):
        TrainOptions(source=source, data="x", external=True)


def test_a_users_mistake_is_one_line_and_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["promote", "--num_classes", "five"])
    assert launch("promote") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "five" in error
    assert error.count("\n") == 1


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(promote_module, "promote", interrupted)
    assert launch("promote", []) == 130
    assert capsys.readouterr().err == "stopped\n"


HEAVY = {"tensorflow", "keras", "mlflow", "optuna", "pydicom", "sklearn", "matplotlib"}


def test_help_of_every_stage_explains_every_parameter_without_heavy_imports():
    code = (
        "import sys\n"
        "from ich_mlflow.cli import STAGES, main\n"
        "assert main([]) == 0\n"
        "for stage in STAGES:\n"
        "    print('stage', stage)\n"
        "    try: main([stage, '--help'])\n"
        "    except SystemExit as left: assert left.code == 0\n"
        "    assert main([stage, '--nothing', '1']) == 1\n"
        f"assert not {HEAVY} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    _, *pages = done.stdout.split("\nstage ")
    assert len(pages) == len(STAGES)
    for stage, page in zip(STAGES, pages, strict=True):
        assert page.startswith(stage)
        assert "not a medical device" in page
        for name in parameters_of(options_of(stage)):
            assert f"--{name} " in page, (stage, name)


@pytest.mark.parametrize(
    ("stage", "arguments", "said"),
    [
        ("train", ["--learning_rate", "2"], "learning_rate is 2.0, expected above 0, at most 1"),
        ("train", ["--recipe", "model-3", "--num_classes", "5"], "recipe=model-3 means num_classes=4"),
        ("train", ["--backbone", "efficientnet-b9"], "(did you mean efficientnet-b0"),
        ("train", ["--data", "nowhere"], "data is 'nowhere', expected a file or folder that is there"),
        (
            "train",
            ["--recipe", "mine.json"],
            "recipe is 'mine.json', expected a file or folder that is there",
        ),
        (
            "train",
            ["--warmup_augment", "true"],
            "frozen_augment is true, expected with frozen_epochs above 0",
        ),
        ("train", ["--fold", "0"], "fold is '0', expected auto: the set that is made here has no folds"),
        (
            "train",
            ["--fold", "5", "--folds", "5"],
            "expected auto: the set that is made here has 5 folds, counted from",
        ),
        ("train", ["--data", "tests"], "tests is no stored set: make one with mlflow run . -e preprocess"),
        (
            "evaluate",
            ["--data", "MLproject"],
            "data is 'MLproject', expected the folder of a stored set, not a file",
        ),
        ("train", ["--data", "x", "--folds", "3"], "folds is '3', expected 0 beside a stored set (data=x)"),
        ("tune", ["--data", "x", "--exams", "9"], "exams is 9, expected 120 beside a stored set"),
        (
            "train",
            ["--weights", "nosuch"],
            "weights is 'nosuch', expected auto, imagenet, phantom or random, or a .keras",
        ),
        ("train", ["--dropout", "0.1..0.3"], "expected one value (a range and alternatives are for tune)"),
        ("train", ["--recipe", "modle-1"], "(did you mean model-1"),
        ("train", ["--source", "rsna"], "source=rsna needs the folder of its files: pass --data <folder>"),
        ("preprocess", ["--seed", "4000000000"], "those of phantoms that pretraining sees"),
        ("tune", ["--fold", "1"], "fold is '1', expected auto"),
        ("tune", ["--dropout", "0.1..1"], "dropout is 1.0, expected 0 or more, below 1"),
        ("tune", ["--compress", "true"], "there is no parameter compress"),
        ("predict", ["--input", ""], "input is empty"),
        ("compare", [], "models is 'auto', expected 2 to 10 models, separated by commas"),
        ("compare", ["--models", "ich-5class/1"], "models is 'ich-5class/1', expected 2 to 10 models"),
    ],
)
def test_options_are_checked_before_anything_heavy_is_imported(stage, arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, f"ich_mlflow.stages.{stage}.{stage}", None)
    assert main([stage, *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_unknown_stage_is_refused_with_the_nearest(capsys):
    assert main(["trian"]) == 1
    assert "there is no stage 'trian' (did you mean train or pretrain?)" in capsys.readouterr().err


def test_former_names_and_auto_are_still_taken():
    options = parse(TrainOptions, ["--warmup_epochs", "2", "--epochs", "auto"])
    assert (options.frozen_epochs, options.epochs) == ("2", "auto")


def test_an_installed_package_has_the_command():
    (command,) = entry_points(group="console_scripts", name="ich-mlflow")
    assert command.load() is main


def test_a_message_says_parameters_in_the_form_that_was_typed():
    message = "columns is 'x', expected name=column: pass -P columns=file=<its column>, or -P source=rsna"
    assert as_typed(message, None) == message
    assert as_typed(message, "ich-mlflow train") == (
        "columns is 'x', expected name=column: pass --columns file=<its column>, or --source rsna"
    )
    command = "run mlflow run . -e demonstrate -P num_classes=4"
    assert as_typed(command, "ich-mlflow train") == command
