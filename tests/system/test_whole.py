import os
import re
from pathlib import Path

import pytest

from ich_mlflow.system import whole
from ich_mlflow.system.whole import PART, read_note, write_whole

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("content", ["né", "né".encode(), lambda file: file.write("né".encode())])
def test_text_bytes_and_what_a_function_writes_are_the_files_bytes(tmp_path, content):
    write_whole(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == b"n\xc3\xa9"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path):
    write_whole(tmp_path / "a", "old")

    def half(file):
        file.write(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a", half)
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_that_write_the_same_file_write_under_two_names(tmp_path):
    names = []

    def write(file):
        names.append(Path(file.name).name)
        if len(names) < 2:
            write_whole(tmp_path / "a", write)
        file.write(b"whole")

    write_whole(tmp_path / "a", write)
    assert len(set(names)) == 2
    assert all(name.startswith("a.") and name.endswith(PART) for name in names)
    assert (tmp_path / "a").read_text() == "whole"


def test_the_file_is_on_the_disk_before_its_name_and_the_name_after(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(whole.os, "fsync", flushed)
    monkeypatch.setattr(whole.os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    write_whole(tmp_path / "a", "x")
    assert done == ["file", "name", "folder"]


def test_where_folders_can_not_be_opened_as_on_windows_the_file_is_written(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(whole.os, "open", refused)
    write_whole(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("broken", [None, b"", b"{", b"[1, 2]", b"null", b"{}", b"\xff\xfe", b"\0" * 64])
def test_a_note_that_is_missing_empty_or_broken_is_none(tmp_path, broken):
    if broken is not None:
        (tmp_path / "note").write_bytes(broken)
    assert read_note(tmp_path / "note", lambda values: values["number"] + 1) is None
    write_whole(tmp_path / "note", '{"number": 1}')
    assert read_note(tmp_path / "note", lambda values: values["number"] + 1) == 2


#: Files that are meant to be damaged, the masks and junk of phantoms (their cohort's folder is renamed when whole),
#: a picture that is logged from a temporary folder, and what Keras packs into the .keras file that it writes.
ELSEWHERE = {
    "system/whole.py",
    "dicom/damage.py",
    "models/slice_cnn/layers.py",
    "phantom/lesions.py",
    "phantom/studies.py",
    "tracking/run.py",
}


def test_nothing_else_writes_whole_files_in_its_own_way():
    own_way = re.compile(r"\.write_text\(|\.write_bytes\(|os\.replace\(|fsync\(")
    package = ROOT / "ich_mlflow"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if own_way.search(path.read_text(encoding="utf-8"))
    }
    assert found - ELSEWHERE == set()
