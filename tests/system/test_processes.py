import os
import subprocess
import sys
from pathlib import Path

import pytest

from ich_mlflow.errors import DataError
from ich_mlflow.system.processes import locked, num_cores

HOLDER = (
    "import sys, time, pathlib\n"
    "from ich_mlflow.system.processes import locked\n"
    "with locked(pathlib.Path(sys.argv[1]), 'lock'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_what_another_process_holds_is_refused_at_once_in_a_line_that_says_who(tmp_path, holder):
    expected = f"{tmp_path} is being written by another predict: wait for it, or choose another output folder"
    with pytest.raises(DataError) as error, locked(tmp_path, "lock", by="another predict"):
        pass
    assert str(error.value) == expected


def test_the_lock_dies_with_its_process(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(tmp_path, "lock"):
        pass


def test_the_same_process_can_not_hold_a_folder_twice_but_again(tmp_path):
    with locked(tmp_path, "lock"):
        with pytest.raises(DataError, match="another preprocess"), locked(tmp_path, "lock"):
            pass
        with pytest.raises(DataError), locked(tmp_path, "lock"):  # the refused one took nothing away
            pass
    with locked(tmp_path, "lock"):
        pass


def test_a_folder_that_is_renamed_while_it_is_held_is_let_go_all_the_same(tmp_path):
    (tmp_path / "set.partial").mkdir()
    with locked(tmp_path / "set.partial", "lock"):
        (tmp_path / "set.partial").rename(tmp_path / "set")
    (tmp_path / "set.partial").mkdir()
    for folder in ("set.partial", "set"):
        with locked(tmp_path / folder, "lock"):
            pass


def test_a_file_system_without_locks_has_none(tmp_path, monkeypatch):
    from filelock import FileLock

    def unsupported(lock):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", unsupported)
    with locked(tmp_path, "lock"), locked(tmp_path / ".", "other"):
        pass


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none", "lock"):
        pass


def test_there_is_a_core_and_no_more_than_the_machine_has():
    assert 1 <= num_cores() <= os.cpu_count()
