import io
import stat
import zipfile

import pytest

from ich_mlflow.errors import DataError
from ich_mlflow.intake import archive
from ich_mlflow.intake.archive import is_zip, unpack


def write_zip(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return path


def zipped(entries):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return data.getvalue()


def test_files_keep_their_names_and_lie_under_numbers(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"DOE^JANE/1": b"one", "DOE^JANE/sub/2.dcm": b"two!", "empty/": b""})
    files = unpack(path, tmp_path / "out")
    assert [(file.name, file.num_bytes) for file in files] == [("DOE^JANE/1", 3), ("DOE^JANE/sub/2.dcm", 4)]
    assert [file.path.read_bytes() for file in files] == [b"one", b"two!"]
    assert all(file.path.parent == tmp_path / "out" and file.path.name.isdecimal() for file in files)


def test_a_name_that_stands_twice_is_two_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("same", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("same", b"22")
    assert [file.path.read_bytes() for file in unpack(tmp_path / "a.zip", tmp_path / "out")] == [b"1", b"22"]


def test_an_archive_within_is_unpacked_and_one_within_that_is_refused(tmp_path):
    inner = zipped({"x": b"deep"})
    (file,) = unpack(write_zip(tmp_path / "a.zip", {"in/b.ZIP": inner}), tmp_path / "out")
    assert (file.name, file.path.read_bytes()) == ("in/b.ZIP/x", b"deep")
    with pytest.raises(DataError, match="deeper than 2 levels"):
        unpack(write_zip(tmp_path / "c.zip", {"b.zip": zipped({"c.zip": inner})}), tmp_path / "out2")


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "..\\evil", "C:\\evil", "C:/evil", "a\\..\\..\\b"]
)
def test_names_that_lead_out_are_refused_and_nothing_is_left(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {"good": b"1", name: b"2"})
    with pytest.raises(DataError, match="leads out of its own folder") as error:
        unpack(path, tmp_path / "out" / "here")
    assert "evil" not in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.zip", "out"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = write_zip(tmp_path / "a.zip", {link: "/etc/passwd"})
    with pytest.raises(DataError, match="symbolic link"):
        unpack(path, tmp_path / "out")


def test_a_bomb_is_refused_by_what_comes_out_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_FREE_BYTES", 1000)
    path = write_zip(tmp_path / "a.zip", {"zeros": bytes(10**7)})  # about 1,000 to 1
    with pytest.raises(DataError, match="more than 100 times its size"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archives_within_draw_on_the_same_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_FREE_BYTES", 1000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("zeros", bytes(10**6))
    path = write_zip(tmp_path / "a.zip", {f"{k}.zip": packed.getvalue() for k in range(50)})
    with pytest.raises(DataError, match="more than 100 times its size"):
        unpack(path, tmp_path / "out")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    path = write_zip(tmp_path / "a.zip", {str(k): b"" for k in range(3)})
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(path, tmp_path / "out")


def test_more_than_the_disk_holds_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_RESERVE_BYTES", 2**60)
    with pytest.raises(DataError, match="of disk are left"):
        unpack(write_zip(tmp_path / "a.zip", {"a": b"1"}), tmp_path / "out")


def test_damaged_archives_are_refused_in_a_line(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"secret-name": bytes(range(256)) * 50}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[500] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"can't be unpacked \(broken\)") as error:
        unpack(path, tmp_path / "out")
    assert "secret-name" not in str(error.value)
    path.write_bytes(data[:4000])
    with pytest.raises(DataError, match="can't be unpacked"):
        unpack(path, tmp_path / "out")


def test_encrypted_archives_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": b"1"}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # of the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the central one
    path.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        unpack(path, tmp_path / "out")


def test_what_was_unpacked_is_found_again_and_half_of_it_is_not_trusted(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": b"1"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0000001").write_bytes(b"half")  # a crash left no index
    (first,) = unpack(path, tmp_path / "out")
    assert first.path.read_bytes() == b"1"
    before = first.path.stat().st_mtime_ns
    (second,) = unpack(path, tmp_path / "out")
    assert second.path.stat().st_mtime_ns == before
    (tmp_path / "out" / "index.json").write_text("{")  # nor is one with a broken index
    (third,) = unpack(path, tmp_path / "out")
    assert third.path.read_bytes() == b"1"
    assert third.path.stat().st_mtime_ns > before


def test_zips_are_known_by_their_content(tmp_path):
    assert is_zip(write_zip(tmp_path / "study", {"a": b"1"}))
    (tmp_path / "b.zip").write_bytes(b"no")
    assert not is_zip(tmp_path / "b.zip")
    assert not is_zip(tmp_path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_of_any_kind_is_one_line(tmp_path, compression):
    path = write_zip(tmp_path / "a.zip", {"name": bytes(range(256)) * 20}, compression)
    whole, refused = path.read_bytes(), []
    for place in range(30, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            unpack(path, tmp_path / str(place))
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert not any("\n" in line for line in refused)


def test_a_zip_that_was_replaced_is_unpacked_anew(tmp_path):
    unpack(write_zip(tmp_path / "a.zip", {"a": b"old"}), tmp_path / "out")
    (file,) = unpack(write_zip(tmp_path / "a.zip", {"a": b"new!"}), tmp_path / "out")
    assert file.path.read_bytes() == b"new!"
