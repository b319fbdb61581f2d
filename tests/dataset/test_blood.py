import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ich_mlflow.dataset import build
from ich_mlflow.dataset.blood import pack, unpack
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError
from tests.factories import EPIDURAL_BLEED, NO_BLEED, ArraySource, BloodSource

LABELS = [NO_BLEED, EPIDURAL_BLEED] * 5


def write(folder, *, source=None, **options) -> StoredSet:
    source = source or BloodSource(folder, LABELS)
    return build_stored_set(
        source, folder / "set", BuildOptions(seed=1, **{"workers": 1, **options}), progress=False
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_knows_where_the_blood_is_in_the_tables_order(tmp_path, workers):
    stored = write(tmp_path, workers=workers)
    blood, known = stored.blood(np.arange(len(stored.table)))
    assert blood.shape == (40, 256, 256)
    for of_slice, is_known, (_, row) in zip(blood, known, stored.table.iterrows(), strict=True):
        place = int(row["sop_uid"][1:]) % 4
        # the source knows nothing of the first slice of every head, and slice k has 2 k bleeding rows of 512
        assert is_known == (place > 0)
        rows = place if row["epidural"] else 0
        assert (of_slice[:rows] == 1).all()
        assert not of_slice[rows:].any()
    assert stored.manifest["blood"]["known"] == 30
    assert stored.manifest["blood"]["shown"] == 15


def test_rows_are_gathered_in_the_order_asked_for(tmp_path):
    stored = write(tmp_path)
    places = stored.table["sop_uid"].str[1:].astype(int).to_numpy() % 4
    rows = np.flatnonzero((places == 3) & (stored.table["epidural"] == 1))[[1, 0, 1]]
    assert stored.blood(rows)[0][:, :, 0].sum(axis=1).tolist() == [3, 3, 3]
    assert stored.blood_known(np.r_[rows, np.flatnonzero(places == 0)[:1]]).tolist() == [True] * 3 + [False]


def test_masks_change_neither_pixels_nor_digest_and_a_set_without_has_no_file(tmp_path):
    plain = write(tmp_path / "plain", source=ArraySource(tmp_path / "plain", LABELS))
    bloody = write(tmp_path / "bloody")
    assert plain.digest == bloody.digest
    pd.testing.assert_frame_equal(plain.table, bloody.table)
    assert not (plain.path / "blood.parquet").exists()
    assert "blood" not in plain.manifest
    blood, known = plain.blood(np.array([3, 1]))
    assert not blood.any()
    assert known.tolist() == [False, False]


def test_the_manifest_tells_other_masks(tmp_path):
    one = write(tmp_path / "one")
    other = write(tmp_path / "other", source=BloodSource(tmp_path / "other", LABELS, bit=2))
    again = write(tmp_path / "again", compress=True)
    assert one.manifest["blood"]["digest"] == again.manifest["blood"]["digest"]
    assert one.manifest["blood"]["digest"] != other.manifest["blood"]["digest"]


def test_a_set_that_is_cut_off_has_the_same_masks(tmp_path, monkeypatch):
    whole = write(tmp_path / "whole")
    read, seen = build.read_journal, []

    def cut_off(*arguments):
        found = read(*arguments)
        seen.append(found)
        if found is not None:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(build, "read_journal", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut")
    monkeypatch.undo()
    again = write(tmp_path / "cut")
    assert again.manifest["blood"] == whole.manifest["blood"]


def test_an_unfinished_set_of_before_there_were_masks_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "finish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    monkeypatch.undo()
    journal = next((tmp_path / "set.partial" / "journal").glob("00000.parquet"))
    table = pq.read_table(journal)
    pq.write_table(table.drop_columns(["blood"]), journal)
    assert write(tmp_path).manifest["blood"]["shown"] == 15


def test_a_set_of_before_there_were_masks_is_opened_and_reused_as_it_is(tmp_path):
    stored = write(tmp_path)
    (stored.path / "blood.parquet").unlink()
    manifest = json.loads((stored.path / "manifest.json").read_text())
    del manifest["blood"]
    (stored.path / "manifest.json").write_text(json.dumps(manifest))
    again = write(tmp_path)
    assert again.reused
    assert not again.blood_known(np.arange(40)).any()


def test_a_mask_of_another_size_than_its_slice_is_listed(tmp_path):
    source = BloodSource(tmp_path, LABELS, shape=(4, 4))
    with pytest.raises(Exception, match=r"\(512, 512\) and the mask of its blood \(4, 4\)"):
        write(tmp_path, source=source, strict=True)


def test_packed_blood_is_small_and_comes_back():
    blood = np.zeros((256, 256), np.uint8)
    assert pack(blood) == b""
    blood[40:90, 100:160], blood[80:120, 120:130] = 2, 9
    assert len(pack(blood)) < 300
    np.testing.assert_array_equal(unpack(pack(blood)), blood)
    assert not unpack(b"").any()


def test_damaged_masks_are_refused_by_name(tmp_path):
    stored = write(tmp_path)
    path = stored.path / "blood.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 3), path)
    with pytest.raises(DataError, match=r"blood\.parquet is damaged \(3 rows for 40 slices\)"):
        StoredSet.open(stored.path).blood(np.array([0]))
    pq.write_table(pa.table({"blood": pa.array([b"xx"] * 40, pa.binary())}), path)
    with pytest.raises(DataError, match="a mask can't be unpacked"):
        StoredSet.open(stored.path).blood(np.array([0]))
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match=r"blood\.parquet is damaged"):
        StoredSet.open(stored.path).blood(np.array([0]))
