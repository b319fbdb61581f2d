import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException

from ich_mlflow.cli import launch
from ich_mlflow.errors import DataError
from ich_mlflow.stages.promote import promote as promote_module
from ich_mlflow_plugin.troubles import is_of_store, told

URI = "postgresql://me:secret@db:5432/runs"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("The run 12 must be in the 'active' state. Current state is deleted.", "was deleted: bring it back"),
        ("PERMISSION_DENIED: Permission denied", "this user may not do that"),
        ("API request failed with error code 401 != 200", "it does not know who asks"),
        ("(sqlite3.OperationalError) database is locked", "another program writes there"),
        ("(sqlite3.OperationalError) database or disk is full", "a disk is full"),
        ("attempt to write a readonly database", "check its permissions"),
        (
            "HTTPConnectionPool(host='x'): Read timed out. (read timeout=120)",
            "(no answer in time): nothing answers",
        ),
        ("No such artifact: 'MLmodel'", "was the folder of the store moved"),
        ("something new", "look at MLFLOW_TRACKING_URI"),
    ],
)
def test_a_trouble_is_one_line_without_a_password(message, what):
    line = told(MlflowException(f"{message}\nand more of it"), uri=URI)
    assert line.startswith("MLflow can't go on with postgresql://me:***@db:5432/runs (")
    assert what in line
    assert "\n" not in line


def test_what_a_message_says_clearly_by_itself_is_left_to_mlflow():
    assert told(MlflowException("something new"), uri=URI, only_known=True) is None


def in_mlflow(statement: str) -> Exception:
    """The error of a statement that code of MLflow runs."""
    with pytest.raises(Exception) as caught:
        exec(statement, {"__name__": "mlflow.store.artifact.local_artifact_repo"})
    return caught.value


def test_what_the_system_answers_to_mlflow_is_of_the_store_and_what_it_answers_to_us_is_not():
    refused = in_mlflow("raise PermissionError(13, 'Permission denied', '/srv/mlruns')")
    assert "a folder of artifacts can't be written" in told(refused, uri=URI)
    assert "pip install boto3," in told(in_mlflow("raise ImportError(\"No module named 'boto3'\")"), uri=URI)
    with pytest.raises(PermissionError) as ours:
        raise PermissionError(13, "Permission denied")
    assert told(ours.value, uri=URI) is None


def test_a_mistake_in_code_is_none_also_where_mlflow_wraps_it():
    assert not is_of_store(in_mlflow("len(3)"))
    wrapped = MlflowException(TypeError("unsupported operand"))
    wrapped.__cause__ = TypeError("unsupported operand")
    assert not is_of_store(wrapped)
    assert is_of_store(sqlalchemy.exc.OperationalError("select 1", {}, Exception("gone")))


@pytest.mark.parametrize(
    "error", [MlflowException("Read timed out"), sqlalchemy.exc.NoSuchTableError("runs")]
)
def test_an_error_of_the_store_that_leaves_a_stage_is_one_line(monkeypatch, capsys, tmp_path, error):
    assert launched(monkeypatch, tmp_path, error) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: MLflow can't go on with ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [TypeError("ours"), ValueError("ours"), KeyError("ours"), OSError("ours")])
def test_a_mistake_of_ours_that_leaves_a_stage_keeps_its_traceback(monkeypatch, tmp_path, error):
    with pytest.raises(type(error), match="ours"):
        launched(monkeypatch, tmp_path, error)


def test_the_folder_in_which_it_was_typed_must_be_there(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ICH_MLFLOW_CALLED_FROM", str(tmp_path / "gone"))
    assert launched(monkeypatch, tmp_path, DataError("never begun")) == 1
    assert "gone, where the command was typed, can't be entered" in capsys.readouterr().err


def launched(monkeypatch, folder, error: Exception) -> int:
    """The exit code of a stage that raises."""

    def fails(options):
        raise error

    monkeypatch.chdir(folder)
    monkeypatch.setattr(promote_module, "promote", fails)
    return launch("promote", [])
