import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset import store, store_writer
from ich_mlflow.dataset.chunks import SliceRecord
from ich_mlflow.dataset.store import TABLE_COLUMNS, StoredSet, is_stored_set
from ich_mlflow.dataset.store_writer import StoreWriter
from ich_mlflow.errors import DataError
from tests.factories import build_small_set


def record(number: int, **changes) -> SliceRecord:
    """Slice `number`: patient number // 2, position counted from the head down."""
    values = {
        "sop_uid": f"s{number}", "patient_id": f"p{number // 2}", "study_uid": f"t{number // 2}",
        "series_uid": f"r{number // 2}", "position_mm": -5.0 * number, "row_spacing_mm": 1.0,
        "column_spacing_mm": math.nan, "subtypes": (1, 0, 0, 0, 0),
    }  # fmt: skip
    return SliceRecord(**(values | changes))


def pixels(number: int) -> np.ndarray:
    return np.full((256, 256), number, np.int16)


def write(path, numbers=range(6), *, splits=None, **changes) -> StoredSet:
    numbers = list(numbers)
    with StoreWriter(path, num_slices=len(numbers)) as writer:
        for number in numbers:
            writer.append(pixels(number), record(number, **changes))
        patients = writer.table()["patient_id"].str[1:].astype(int)
        splits = np.array(["train", "validation", "test"])[patients % 3] if splits is None else splits
        return writer.finish(splits, source="test", options={"a": 1}, fingerprint="f")


def test_what_is_written_is_read_back(tmp_path):
    stored = write(tmp_path / "set")
    assert tuple(stored.table.columns) == TABLE_COLUMNS
    assert stored.subtypes.tolist() == [[1, 0, 0, 0, 0]] * 6
    assert stored.subtypes.dtype == np.uint8
    assert stored.manifest["source"] == "test"
    assert stored.manifest["counts"]["validation"]["slices"] == 2
    assert is_stored_set(tmp_path / "set")


def test_slices_of_a_series_stand_from_the_neck_up_with_their_own_pixels(tmp_path):
    stored = write(tmp_path / "set")
    assert stored.table["sop_uid"].tolist() == ["s1", "s0", "s3", "s2", "s5", "s4"]
    assert stored.table["position_fraction"].tolist() == [0, 1] * 3
    assert stored.hu(np.arange(6))[:, 0, 0].tolist() == [1, 0, 3, 2, 5, 4]


def test_rows_are_gathered_in_the_order_asked_for_and_across_shards(tmp_path, monkeypatch):
    for module in (store, store_writer):
        monkeypatch.setattr(module, "SLICES_PER_SHARD", 4)
    stored = write(tmp_path / "set")
    assert [file.name for file in sorted((tmp_path / "set").glob("*.npy"))] == [
        "hu-00000.npy",
        "hu-00001.npy",
    ]
    assert np.load(tmp_path / "set" / "hu-00001.npy").shape == (2, 256, 256)
    assert stored.hu(np.array([5, 0, 5, 2]))[:, 0, 0].tolist() == [4, 1, 4, 3]
    assert stored.hu(np.array([], dtype=int)).shape == (0, 256, 256)


def test_gathered_pixels_are_a_copy(tmp_path):
    stored = write(tmp_path / "set")
    stored.hu(np.array([0]))[:] = 99
    assert stored.hu(np.array([0])).max() == 1


def test_threads_map_a_shard_once(tmp_path, monkeypatch):
    stored = write(tmp_path / "set")
    loads, load, start = [], np.load, threading.Barrier(8)
    monkeypatch.setattr(np, "load", lambda *a, **k: loads.append(a) or load(*a, **k))

    def gather(_) -> list[int]:
        start.wait()
        return stored.hu(np.arange(6))[:, 0, 0].tolist()

    with ThreadPoolExecutor(8) as pool:
        assert all(values == [1, 0, 3, 2, 5, 4] for values in pool.map(gather, range(8)))
    assert len(loads) == 1


def test_rows_of_a_split_are_its_table_rows(tmp_path):
    stored = write(tmp_path / "set")
    assert stored.rows("validation").tolist() == [2, 3]
    with pytest.raises(DataError, match="'val'"):
        stored.rows("val")


def test_a_series_of_one_position_lies_in_the_middle(tmp_path):
    assert write(tmp_path / "set", position_mm=3.0).table["position_fraction"].tolist() == [0.5] * 6


def test_the_digest_is_the_same_whatever_the_order_of_appending(tmp_path):
    assert write(tmp_path / "a").digest == write(tmp_path / "b", reversed(range(6))).digest


@pytest.mark.parametrize(
    "changes", [{"subtypes": (0, 0, 0, 0, 1)}, {"study_uid": "other"}, {"splits": ["test"] * 6}]
)
def test_the_digest_changes_with_labels_identity_and_split(tmp_path, changes):
    assert write(tmp_path / "a").digest != write(tmp_path / "b", **changes).digest


def test_the_digest_changes_with_one_pixel(tmp_path, monkeypatch):
    first = write(tmp_path / "a").digest
    changed = pixels(0)
    changed[255, 255] = 1
    monkeypatch.setattr(
        f"{__name__}.pixels", lambda number: changed if number == 0 else np.full_like(changed, number)
    )
    assert write(tmp_path / "b").digest != first


def test_nothing_is_left_of_a_set_that_was_not_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "set", num_slices=2) as writer:  # noqa: PT012
        writer.append(pixels(0), record(0))
        assert (tmp_path / "set.partial").is_dir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_replaced(tmp_path):
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "hu-00007.npy").touch()
    write(tmp_path / "set")
    assert sorted(file.name for file in (tmp_path / "set").iterdir()) == [
        "hu-00000.npy", "manifest.json", "slices.parquet",
    ]  # fmt: skip
    assert not (tmp_path / "set.partial").exists()


def test_two_writers_at_once_are_refused_and_the_first_goes_on(tmp_path):
    with StoreWriter(tmp_path / "set", num_slices=1) as writer:
        with (
            pytest.raises(DataError, match="another preprocess"),
            StoreWriter(tmp_path / "set", num_slices=1),
        ):
            pass
        writer.append(pixels(0), record(0))
        writer.finish(np.array(["train"]), source="test", options={}, fingerprint="")
    assert is_stored_set(tmp_path / "set")


def test_a_slice_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="slice s0 occurs twice"):
        write(tmp_path / "set", sop_uid="s0")


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match="GB are free"), StoreWriter(tmp_path / "set", num_slices=10**12):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.docx").touch()
    with pytest.raises(DataError, match="isn't empty"):
        write(tmp_path / "set")


@pytest.mark.parametrize("hu", [np.zeros((256, 256)), np.zeros((512, 512), np.int16)])
def test_pixels_of_another_size_or_type_are_refused(tmp_path, hu):
    with StoreWriter(tmp_path / "set", num_slices=1) as writer, pytest.raises(ValueError, match="int16"):
        writer.append(hu, record(0))


def test_too_few_and_too_many_slices_are_refused(tmp_path):
    with StoreWriter(tmp_path / "set", num_slices=2) as writer:
        writer.append(pixels(0), record(0))
        with pytest.raises(ValueError, match="1 slices were appended, expected 2"):
            writer.finish(np.array(["train"]), source="test", options={}, fingerprint="")
        writer.append(pixels(1), record(1))
        with pytest.raises(ValueError, match="more than 2"):
            writer.append(pixels(2), record(2))


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
    write(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    assert "manifest.json" in opening_refused(tmp_path / "set")


def test_another_schema_is_refused(tmp_path):
    write(tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99}))
    assert "schema version 99, expected 1" in opening_refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["manifest.json", "slices.parquet", "hu-00000.npy"])
@pytest.mark.parametrize("content", [b"", b"[]"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, content):
    write(tmp_path / "set")
    (tmp_path / "set" / name).write_bytes(content)
    assert name in opening_refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["slices.parquet", "hu-00000.npy"])
def test_a_missing_file_is_refused_by_name(tmp_path, name):
    write(tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    assert name in opening_refused(tmp_path / "set")


def test_a_missing_column_is_refused_by_name(tmp_path):
    write(tmp_path / "set")
    table = tmp_path / "set" / "slices.parquet"
    pd.read_parquet(table).drop(columns="split").to_parquet(table)
    assert "no column split" in opening_refused(tmp_path / "set")


def test_the_factory_makes_a_set_that_opens(tmp_path):
    stored = build_small_set(tmp_path)
    assert StoredSet.open(stored.path).digest == stored.digest
