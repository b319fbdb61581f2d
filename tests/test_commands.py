import pytest
from click import ClickException

from ich_mlflow.commands import LOOK_AT_RUNS, next_command, serve_command
from ich_mlflow.errors import OptionError, nearest
from tests.printed import check_printed_commands


def test_a_command_is_quoted_where_a_shell_needs_it():
    assert next_command("preprocess") == "mlflow run . -e preprocess"
    command = next_command("train", data="/a b/it's", fold=0)
    assert command == """mlflow run . -e train -P 'data=/a b/it'"'"'s' -P fold=0"""
    (words,) = check_printed_commands(f"train it:  {command}\n")
    assert words[6:] == ["data=/a b/it's", "-P", "fold=0"]


def test_every_command_in_a_text_is_found_and_accepted():
    serve = serve_command("models:/ich-5class@champion")
    assert serve == "mlflow models serve -m models:/ich-5class@champion -p 5001 --env-manager local"
    text = f"see: {LOOK_AT_RUNS}\nserve: {serve}   (version 3)\nor {next_command('demonstrate')}, then mlflow run ."
    assert [words[1] for words in check_printed_commands(text)] == ["ui", "models", "run", "run"]


@pytest.mark.parametrize(
    "wrong",
    [
        "mlflow run . -e train -P folds_=3",
        "mlflow run . -e train -P missing_labels=maybe",
        "mlflow run . -P exams=x",
    ],
)
def test_what_a_stage_refuses_is_found_out(wrong):
    with pytest.raises(OptionError):
        check_printed_commands(wrong)


def test_what_mlflow_refuses_is_found_out():
    with pytest.raises(ClickException):
        check_printed_commands("mlflow models serve -m models:/a/1 --prot 5001")


def test_a_name_that_is_nearly_right_is_told_and_a_strange_one_is_not():
    known = ["val/auc/macro", "val/auc/any", "val/loss"]
    assert nearest("val/auc/macroo", known) == " (did you mean val/auc/macro or val/auc/any?)"
    assert nearest("ich-5class", iter(["ich-5clas"])) == " (did you mean ich-5clas?)"
    assert nearest("speed", known) == nearest("x", []) == ""
