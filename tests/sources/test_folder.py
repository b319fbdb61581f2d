import time

import pytest

from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.sources.folder import Folder
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import write_rsna


@pytest.fixture(params=["path", "url"])
def folder(request, tmp_path):
    """images/a.dcm (3 bytes), images/deep/b.dcm, images/notes.txt; by path and by URL."""
    (tmp_path / "images" / "deep").mkdir(parents=True)
    (tmp_path / "images" / "a.dcm").write_bytes(b"abc")
    (tmp_path / "images" / "deep" / "b.dcm").write_bytes(b"")
    (tmp_path / "images" / "notes.txt").touch()
    return Folder(str(tmp_path) if request.param == "path" else f"file://{tmp_path}")


def test_files_are_listed_with_their_sizes(folder):
    (entry,) = folder.files("images", ".dcm")
    assert entry[:2] == ("images/a.dcm", 3)
    assert abs(entry.modified_ns - time.time_ns()) < 60e9
    deep = folder.files("images", ".dcm", recursive=True)
    assert sorted(one[:2] for one in deep) == [("images/a.dcm", 3), ("images/deep/b.dcm", 0)]
    everything = {one.path for one in folder.files("", "", recursive=True)}
    assert everything == {"images/a.dcm", "images/deep/b.dcm", "images/notes.txt"}


def test_a_file_is_read_and_what_is_not_there_is_refused_by_name(folder):
    assert folder.read("images/a.dcm") == b"abc"
    assert folder.read("images/a.dcm", num_bytes=2) == b"ab"
    assert folder.read("images/a.dcm", num_bytes=9) == b"abc"
    with pytest.raises(SliceError, match=r"images/absent\.dcm can't be read") as caught:
        folder.read("images/absent.dcm")
    assert caught.value.reason == "unreadable"


def test_it_is_known_what_exists(folder):
    assert folder.exists()
    assert folder.exists("images/a.dcm")
    assert not folder.exists("images/absent.dcm")


def test_a_url_gives_the_same_slices_as_the_path(tmp_path):
    write_rsna(tmp_path)
    by_path, by_url = RsnaSource(str(tmp_path)), RsnaSource(f"file://{tmp_path}")
    assert by_path.files() == by_url.files()
    first = by_path.files()[0]
    assert by_path.read(first).hu.tolist() == by_url.read(first).hu.tolist()


@pytest.mark.parametrize("url", ["s4://bucket/rsna", "file:relative://x"])
def test_an_unknown_kind_of_storage_is_refused_with_the_known_ones(url):
    with pytest.raises(DataError, match="s3://, gs://") as caught:
        RsnaSource(url).files()
    assert "\n" not in str(caught.value)
