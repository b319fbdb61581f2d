import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import TABLE_COLUMNS, StoredSet, is_stored_set
from ich_mlflow.errors import DataError
from tests.factories import EPIDURAL_BLEED, NO_BLEED, ArraySource, build_small_set

#: 40 slices of 10 patients: two shards, of 32 and of 8 slices.
LABELS = [NO_BLEED, EPIDURAL_BLEED] * 5


def write(folder, labels=LABELS, source=None, **options) -> StoredSet:
    source = source or ArraySource(folder, labels)
    return build_stored_set(
        source, folder / "set", BuildOptions(seed=1, workers=1, **options), progress=False
    )


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_written_is_read_back(tmp_path, compress):
    stored = write(tmp_path, compress=compress)
    assert tuple(stored.table.columns) == TABLE_COLUMNS
    assert stored.subtypes.sum(axis=0).tolist() == [20, 0, 0, 0, 0]
    assert stored.subtypes.dtype == np.uint8
    assert stored.manifest["storage"] == ("zstd" if compress else "raw")
    hu = stored.hu(np.arange(40))
    # patient 0's slices 0 … 3 stand from the head down in the source, from the neck up in the set
    assert hu[:8, 0, 0].tolist() == [3, 2, 1, 0, 7, 6, 5, 4]
    assert (hu[:, -1, -1] == -1000).all()
    assert stored.table["position_fraction"].tolist()[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_rows_are_gathered_in_the_order_asked_for_and_across_shards(tmp_path):
    stored = write(tmp_path)
    shards = sorted((tmp_path / "set").glob("hu-*"))
    assert [np.load(file).shape for file in shards] == [(32, 256, 256), (8, 256, 256)]
    assert stored.hu(np.array([39, 0, 39, 2]))[:, 0, 0].tolist() == [36, 3, 36, 1]
    assert stored.hu(np.array([], dtype=int)).shape == (0, 256, 256)


def test_gathered_pixels_are_a_copy(tmp_path):
    stored = write(tmp_path)
    stored.hu(np.array([0]))[:] = 99
    assert stored.hu(np.array([0])).max() == 3


def test_reading_is_safe_from_several_threads_and_leaves_no_file_open(tmp_path):
    stored, start = write(tmp_path), threading.Barrier(8)

    def gather(_) -> list[int]:
        start.wait()
        return stored.hu(np.arange(40))[:4, 0, 0].tolist()

    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        assert all(values == [3, 2, 1, 0] for values in pool.map(gather, range(8)))
    assert len(os.listdir("/proc/self/fd")) == before


def test_rows_of_a_split_are_its_table_rows(tmp_path):
    stored = write(tmp_path)
    validation = stored.rows("validation")
    assert (stored.table["split"].iloc[validation] == "validation").all()
    assert sum(len(stored.rows(split)) for split in ("train", "validation", "test")) == 40
    with pytest.raises(DataError, match="'val'"):
        stored.rows("val")


def test_a_fold_becomes_the_validation_split_and_test_stays(tmp_path):
    stored = write(tmp_path, folds=4)
    test = stored.rows("test").tolist()
    seen = []
    for number in range(4):
        fold = stored.with_fold(number)
        assert fold.rows("test").tolist() == test
        patients = [set(fold.table["patient_id"].iloc[fold.rows(split)]) for split in ("train", "validation")]
        assert not patients[0] & patients[1]
        seen += fold.rows("validation").tolist()
    assert sorted(seen + test) == list(range(40))


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (4, "has folds 0 to 3: pass one of them"),
        (0, "was made without folds: run preprocess with -P folds=5"),
    ],
)
def test_a_fold_that_is_not_there_is_refused(tmp_path, folds, said):
    with pytest.raises(DataError, match=said):
        write(tmp_path, folds=folds).with_fold(4)


def test_a_series_of_one_position_lies_in_the_middle(tmp_path):
    stored = write(tmp_path, source=ArraySource(tmp_path, LABELS, slices_per_patient=1))
    assert stored.table["position_fraction"].tolist() == [0.5] * 10


def test_the_digest_is_the_same_however_the_pixels_are_stored(tmp_path):
    assert write(tmp_path / "a").digest == write(tmp_path / "b", compress=True).digest


@pytest.mark.parametrize(
    "changes", [{"labels": [NO_BLEED] * 10}, {"fractions": (0.5, 0.25, 0.25)}, {"folds": 2}]
)
def test_the_digest_changes_with_labels_split_and_folds(tmp_path, changes):
    assert write(tmp_path / "a").digest != write(tmp_path / "b", **changes).digest


class OnePixelOff(ArraySource):
    def read(self, file):
        ct_slice = super().read(file)
        if file.sop_uid == "s0007":
            ct_slice.hu[:2, :2] += 1
        return ct_slice


def test_the_digest_changes_with_one_pixel(tmp_path):
    other = write(tmp_path / "b", source=OnePixelOff(tmp_path / "b", LABELS))
    assert write(tmp_path / "a").digest != other.digest


# What is refused


def opening_refused(path) -> str:
    with pytest.raises(DataError) as caught:
        StoredSet.open(path)
    assert "\n" not in str(caught.value)
    assert "preprocess" in str(caught.value)
    return str(caught.value)


def test_a_missing_an_empty_and_an_unfinished_set_are_refused(tmp_path):
    assert "does not exist" in opening_refused(tmp_path / "absent")
    assert "manifest.json" in opening_refused(tmp_path)
    assert not is_stored_set(tmp_path)
    write(tmp_path)
    (tmp_path / "set" / "manifest.json").unlink()
    assert "manifest.json" in opening_refused(tmp_path / "set")


def test_another_schema_is_refused(tmp_path):
    write(tmp_path)
    manifest = tmp_path / "set" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 1}))
    assert "schema version 1, expected 2" in opening_refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["manifest.json", "slices.parquet", "hu-00000.npy"])
@pytest.mark.parametrize("content", [b"", b"[]"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, content):
    write(tmp_path)
    (tmp_path / "set" / name).write_bytes(content)
    assert name in opening_refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["slices.parquet", "hu-00000.npy"])
def test_a_missing_file_is_refused_by_name(tmp_path, name):
    write(tmp_path)
    (tmp_path / "set" / name).unlink()
    assert name in opening_refused(tmp_path / "set")


@pytest.mark.parametrize("compress", [False, True])
def test_a_shard_that_vanishes_or_is_overwritten_later_is_one_line(tmp_path, compress):
    stored = write(tmp_path, compress=compress)
    shard = next((tmp_path / "set").glob("hu-00000*"))
    shard.write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match=r"hu-00000.* is damaged"):
        stored.hu(np.array([0]))
    shard.unlink()
    with pytest.raises(DataError, match=r"hu-00000.* can't be read"):
        stored.hu(np.array([0]))


def test_a_missing_column_is_refused_by_name(tmp_path):
    write(tmp_path)
    table = tmp_path / "set" / "slices.parquet"
    pd.read_parquet(table).drop(columns="split").to_parquet(table)
    assert "no column split" in opening_refused(tmp_path / "set")


def test_the_factory_makes_a_set_that_opens(tmp_path):
    stored = build_small_set(tmp_path)
    assert StoredSet.open(stored.path).digest == stored.digest


def test_what_goes_on_must_find_the_set_it_began_with(stored_set):
    stored_set.expect_digest(stored_set.digest, begun="run 0a1b", anew="begin anew")
    with pytest.raises(
        DataError, match=r"has changed since run 0a1b began with it \(digest 0{12}, now .*: begin anew"
    ):
        stored_set.expect_digest("0" * 64, begun="run 0a1b", anew="begin anew")
