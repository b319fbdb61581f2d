"""Zips, gzip'd files and other archives among the files of a folder."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

from ich_mlflow.dicom.write_export import write_directory
from ich_mlflow.errors import DataError
from ich_mlflow.intake import packed
from ich_mlflow.intake.files import files_of, is_dicomdir
from ich_mlflow.intake.packed import with_unpacked
from ich_mlflow.intake.survey import survey
from tests.factories import write_dicom


def a_slice(folder, name):
    return write_dicom(folder / name, np.zeros((64, 64))).read_bytes()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in files.items():
            written.writestr(name, data)


@pytest.fixture
def export(tmp_path):
    """A folder with a zip a patient, a plain file, a broken zip and a Word file."""
    (tmp_path / "made").mkdir()
    made = {name: a_slice(tmp_path / "made", name) for name in ("a", "b", "c")}
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    write_zip(folder / "one.zip", {"IM1": made["a"], "x/notes.txt": b"nothing"})
    write_zip(folder / "below" / "two.ZIP", {"IM1": made["b"]})
    (folder / "below" / "plain").write_bytes(made["c"])
    (folder / "cut.zip").write_bytes((folder / "one.zip").read_bytes()[:400])
    write_zip(folder / "report.docx", {"word/document.xml": b"<xml/>"})
    return folder


def test_each_zip_of_a_folder_is_unpacked_under_its_own_name(export, tmp_path):
    files, refused = with_unpacked(files_of(export), tmp_path / "out")
    assert refused == []
    assert [one.name for one in files] == [
        "below/plain", "below/two.ZIP/IM1", "cut.zip", "one.zip/IM1", "one.zip/x/notes.txt", "report.docx",
    ]  # fmt: skip
    found = survey(files)
    assert found.num_images == 3
    assert found.reasons() == {"archive": 2, "not_dicom": 1}


def test_a_zip_that_is_refused_leaves_the_others(export, tmp_path):
    write_zip(export / "leads out.zip", {"../../x": b"1"})
    files, refused = with_unpacked(files_of(export), tmp_path / "out")
    (one,) = refused
    assert (one.file, one.reason) == ("leads out.zip", "archive")
    assert "leads out of its own folder" in one.detail
    assert len(files) == 6


def test_zips_together_may_not_hold_more_files_than_one(export, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_FILES", 4)
    with pytest.raises(DataError, match="more than 4 files together"):
        with_unpacked(files_of(export), tmp_path / "out")


def test_what_was_unpacked_is_found_again(export, tmp_path):
    first, _ = with_unpacked(files_of(export), tmp_path / "out")
    before = {one.path: one.path.stat().st_mtime_ns for one in first}
    again, _ = with_unpacked(files_of(export), tmp_path / "out")
    assert {one.path: one.path.stat().st_mtime_ns for one in again} == before


def test_gzipped_files_are_images_and_other_archives_are_named(tmp_path):
    data = a_slice(tmp_path, "a")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm.gz").write_bytes(gzip.compress(data))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as written:
        info = tarfile.TarInfo("a")
        info.size = len(data)
        written.addfile(info, io.BytesIO(data))
    (folder / "b.tar").write_bytes(tar.getvalue())
    (folder / "c.tar.gz").write_bytes(gzip.compress(tar.getvalue()))
    (folder / "d.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))
    (folder / "e.gz").write_bytes(gzip.compress(data)[:-30])
    found = survey(files_of(folder))
    ((image,),) = found.studies.values()
    assert image.file.name == "a.dcm.gz"
    assert [(one.file, one.reason) for one in found.skipped] == [
        ("b.tar", "archive"), ("c.tar.gz", "archive"), ("d.7z", "archive"), ("e.gz", "truncated"),
    ]  # fmt: skip
    assert "another kind than zip" in found.skipped[0].detail


def test_a_dicomdir_is_one_and_other_files_are_not(tmp_path):
    write_directory(tmp_path / "DICOMDIR")
    a_slice(tmp_path, "a")
    assert [is_dicomdir(tmp_path / name) for name in ("DICOMDIR", "a", "nowhere", ".")] == [
        True, False, False, False,
    ]  # fmt: skip
