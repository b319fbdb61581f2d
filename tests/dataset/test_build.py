import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set, quarantine_list
from ich_mlflow.dataset.split import assert_disjoint
from ich_mlflow.errors import DataError, OptionError, QuarantineError, SliceError, SplitError
from ich_mlflow.sources.base import Quarantined
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import EPIDURAL_BLEED, NO_BLEED, ArraySource, interrupt_reading, write_rsna

#: 96 slices of 24 patients: three shards.
LABELS = [NO_BLEED, EPIDURAL_BLEED] * 12
OPTIONS = BuildOptions(seed=1, workers=1)


def build(folder, source=None, *, progress=False, say=lambda text: None, **changed):
    source = source or ArraySource(folder, LABELS)
    return build_stored_set(source, folder / "set", replace(OPTIONS, **changed), progress=progress, say=say)


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_slices_are_split_by_patient(tmp_path):
    stored = build(tmp_path)
    assert len(stored.table) == 96
    assert_disjoint(stored.table["patient_id"].to_numpy(), stored.table["split"].to_numpy())
    assert set(stored.table["split"]) == {"train", "validation", "test"}
    assert not stored.reused
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "hu-00000.npy", "hu-00001.npy", "hu-00002.npy", "manifest.json", "quarantine.csv", "slices.parquet",
    ]  # fmt: skip


def test_spacing_is_that_of_the_stored_pixels(tmp_path):
    stored = build(tmp_path)
    # 0.5 x 0.4 mm at 512 is 1.0 x 0.8 mm at 256
    assert stored.table["row_spacing_mm"].unique().tolist() == [1.0]
    assert stored.table["column_spacing_mm"].unique().tolist() == [0.8]


def test_a_complete_set_is_reused(tmp_path):
    built = build(tmp_path)
    reused = build(tmp_path)
    assert reused.reused
    assert reused.digest == built.digest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 2}, r"seed \(1, not 2\):"),
        (
            {"fractions": (0.5, 0.25, 0.25)},
            r"fractions \(\[0\.7, 0\.15, 0\.15\], not \[0\.5, 0\.25, 0\.25\]\)",
        ),
        ({"folds": 3, "seed": 2}, r"seed \(1, not 2\) and folds \(0, not 3\)"),
        ({"compress": True}, r"storage \(raw, not zstd\)"),
    ],
)
def test_a_set_made_with_other_options_is_refused(tmp_path, options, said):
    build(tmp_path)
    with pytest.raises(DataError, match=f"other {said}"):
        build(tmp_path, **options)


def test_a_set_made_from_other_labels_is_refused(tmp_path):
    build(tmp_path)
    with pytest.raises(DataError, match="other source files or labels"):
        build(tmp_path, ArraySource(tmp_path, [EPIDURAL_BLEED] * 24))


def test_the_same_seed_gives_the_same_files_in_another_folder(tmp_path):
    build(tmp_path / "a")
    build(tmp_path / "b")
    assert files_of(tmp_path / "a" / "set") == files_of(tmp_path / "b" / "set")


@pytest.mark.parametrize("compress", [False, True])
def test_processes_give_the_same_files_as_one(tmp_path, compress):
    source = RsnaSource(str(write_rsna(tmp_path / "rsna", num_patients=30)))
    for name, workers in (("one", 1), ("two", 2)):
        options = replace(OPTIONS, workers=workers, compress=compress)
        build_stored_set(source, tmp_path / name, options, progress=False)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_progress_goes_to_stderr_and_only_when_asked_for(tmp_path, capsys):
    build(tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    build(tmp_path / "loud", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "96/96" in captured.err
    assert "quarantined=0" in captured.err


def test_a_source_without_slices_is_refused(tmp_path):
    with pytest.raises(DataError, match="no labelled slices"):
        build(tmp_path, ArraySource(tmp_path, []))


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.docx").touch()
    with pytest.raises(DataError, match="isn't empty"):
        build(tmp_path)
    assert (tmp_path / "set" / "thesis.docx").exists()


def test_a_partial_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "set.partial").mkdir()
    (tmp_path / "set.partial" / "thesis.docx").touch()
    with pytest.raises(DataError, match="no unfinished stored set"):
        build(tmp_path)
    assert (tmp_path / "set.partial" / "thesis.docx").exists()


def test_the_manifest_tells_how_the_set_was_made(tmp_path):
    build(tmp_path, ArraySource(tmp_path, LABELS, broken=["s0005"]), folds=2, quarantine_limit=0.1)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["schema_version"], manifest["source"], manifest["storage"]) == (2, "array", "raw")
    assert manifest["options"] == {
        "seed": 1, "fractions": [0.7, 0.15, 0.15], "folds": 2, "external": False, "stored_size": 256,
    }  # fmt: skip
    assert sum(counts["slices"] for counts in manifest["counts"].values()) == 95
    assert manifest["quarantine"] == {"truncated": 1}
    assert manifest["series"] == {"series": 24, "with_repeated_position": 0}


def test_too_few_patients_are_refused_and_the_pixels_are_kept_for_more(tmp_path):
    with pytest.raises(SplitError, match="2 patients"):
        build(tmp_path, ArraySource(tmp_path, LABELS[:2]))
    assert [path.name for path in tmp_path.iterdir()] == ["set.partial"]


# The quarantine list


def test_what_cannot_be_used_is_listed_and_the_run_goes_on(tmp_path):
    stored = build(tmp_path, ArraySource(tmp_path, LABELS, broken=["s0005", "s0040"]), quarantine_limit=0.03)
    assert len(stored.table) == 94
    assert not {"s0005", "s0040"} & set(stored.table["sop_uid"])
    assert stored.hu(np.arange(94))[:8, 0, 0].tolist() == [3, 2, 1, 0, 7, 6, 4, 11]
    rows = pd.read_csv(tmp_path / "set" / "quarantine.csv").to_dict("records")
    assert [(row["file"], row["reason"], row["tag"]) for row in rows] == [
        ("s0005.dcm", "truncated", "PixelData"),
        ("s0040.dcm", "truncated", "PixelData"),
    ]
    assert rows[0]["detail"] == "s0005 is broken: leave it out"


def test_more_than_the_limit_fails_and_leaves_the_list(tmp_path):
    source = ArraySource(tmp_path, LABELS, broken=["s0005", "s0040"])
    with pytest.raises(QuarantineError, match=r"2 of 96 slices.*0\.02 allows \(truncated 2; first s0005"):
        build(tmp_path, source, quarantine_limit=0.02)
    assert not (tmp_path / "set").exists()
    assert len(pd.read_csv(quarantine_list(tmp_path / "set"))) == 2


def test_the_limit_stops_the_run_as_soon_as_it_is_passed(tmp_path):
    # Of three shards the first holds too many: the others are never read.
    source = ArraySource(tmp_path, LABELS, broken=["s0001", "s0002"])
    with pytest.raises(QuarantineError):
        build(tmp_path, source, quarantine_limit=0.01)
    assert not (tmp_path / "set.partial" / "hu-00001.npy").exists()


def test_strict_refuses_the_first(tmp_path):
    source = ArraySource(tmp_path, LABELS, broken=["s0005", "s0040"])
    with pytest.raises(QuarantineError, match=r"strict: s0005\.dcm .*truncated"):
        build(tmp_path, source, strict=True, quarantine_limit=1)


def test_a_mended_file_is_read_again_after_the_limit_was_passed(tmp_path):
    with pytest.raises(QuarantineError):
        build(tmp_path, ArraySource(tmp_path, LABELS, broken=["s0005"]), strict=True)
    build(tmp_path, strict=True)
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


@pytest.mark.parametrize("changed", [{"strict": True}, {"quarantine_limit": 0.0}])
def test_a_finished_set_is_held_to_limit_and_strict(tmp_path, changed):
    source = ArraySource(tmp_path, LABELS, broken=["s0005"])
    build(tmp_path, source, quarantine_limit=0.5)
    assert build(tmp_path, source, quarantine_limit=0.5).reused
    with pytest.raises(QuarantineError, match="without 1 files"):
        build(tmp_path, source, **changed)


def test_a_higher_limit_goes_on_with_what_was_done(tmp_path):
    source = ArraySource(tmp_path, LABELS, broken=["s0000", "s0090"])
    with pytest.raises(QuarantineError, match="2 of 96"):
        build(tmp_path, source, quarantine_limit=0.02)
    said = []
    build(tmp_path, source, quarantine_limit=0.03, say=said.append)
    assert not said  # nothing was left to read
    build(tmp_path / "other", source, quarantine_limit=0.03)
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


@pytest.mark.parametrize("workers", [1, 2])
def test_mended_files_of_every_shard_are_in_the_set_after_the_limit_was_passed(tmp_path, workers):
    folder = write_rsna(tmp_path / "rsna", num_patients=100, slices_per_patient=2)
    bad = sorted((folder / "stage_2_train").iterdir())[::30]
    good = {path: path.read_bytes() for path in bad}
    for path in bad:
        path.write_bytes(b"x" * len(good[path]))  # the same size
    options = replace(OPTIONS, workers=workers, quarantine_limit=0.0)
    with pytest.raises(QuarantineError):
        build_stored_set(RsnaSource(str(folder)), tmp_path / "set", options, progress=False)
    for path in bad:
        path.write_bytes(good[path])
    stored = build_stored_set(RsnaSource(str(folder)), tmp_path / "set", options, progress=False)
    assert len(stored.table) == 200
    other = build_stored_set(RsnaSource(str(folder)), tmp_path / "other", options, progress=False)
    assert files_of(stored.path) == files_of(other.path)


class Passing(ArraySource):
    """A share that was away for a moment, in the first shard; stops as Ctrl-C does in the second."""

    def read(self, file):
        if file.sop_uid == "s0003":
            raise SliceError("s0003 can't be read (Stale file handle)", reason="unreadable")
        if file.sop_uid == "s0050":
            raise KeyboardInterrupt
        return super().read(file)


def test_what_could_not_be_read_for_a_moment_is_in_the_set_after_going_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Passing(tmp_path, LABELS), quarantine_limit=0.5)
    build(tmp_path)
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


class OutOfMemory(ArraySource):
    def read(self, file):
        raise MemoryError


def test_want_of_memory_is_not_the_files_fault(tmp_path):
    with pytest.raises(MemoryError):
        build(tmp_path, OutOfMemory(tmp_path, LABELS), quarantine_limit=1)


class Unmatched(ArraySource):
    def rejected(self):
        return [
            Quarantined(file=f"x{number}.dcm", reason="no_label", tag="", detail="no labels")
            for number in range(50)
        ]


def test_files_without_labels_are_listed_and_count_towards_no_limit(tmp_path):
    stored = build(tmp_path, Unmatched(tmp_path, LABELS), quarantine_limit=0)
    assert stored.manifest["quarantine"] == {"no_label": 50}
    with pytest.raises(QuarantineError, match=r"strict: x0\.dcm"):
        build(tmp_path / "strict", Unmatched(tmp_path, LABELS), strict=True)


class Blank(ArraySource):
    def read(self, file):
        ct_slice = super().read(file)
        if file.sop_uid == "s0005":
            ct_slice.hu[:] = 7
        return ct_slice


def test_a_blank_slice_cannot_be_used(tmp_path):
    build(tmp_path, Blank(tmp_path, LABELS), quarantine_limit=0.02)
    (row,) = pd.read_csv(tmp_path / "set" / "quarantine.csv").to_dict("records")
    assert (row["file"], row["reason"]) == ("s0005.dcm", "constant")
    assert "every pixel is 7 HU" in row["detail"]


class Buggy(ArraySource):
    def read(self, file):
        if file.sop_uid == "s0005":
            raise ZeroDivisionError("a library's own")
        return super().read(file)


class Oblong(ArraySource):
    def read(self, file):
        ct_slice = super().read(file)
        return ct_slice if file.sop_uid != "s0005" else replace(ct_slice, hu=np.zeros((16, 64), np.int16))


def test_a_blank_slice_that_is_not_square_cannot_be_used(tmp_path):
    stored = build(tmp_path, Oblong(tmp_path, LABELS), quarantine_limit=0.02)
    assert stored.manifest["quarantine"] == {"constant": 1}


def test_a_librarys_failure_on_one_file_does_not_end_the_run(tmp_path):
    build(tmp_path, Buggy(tmp_path, LABELS), quarantine_limit=0.02)
    (row,) = pd.read_csv(tmp_path / "set" / "quarantine.csv").to_dict("records")
    assert (row["reason"], row["detail"]) == ("unexpected", "s0005.dcm: ZeroDivisionError: a library's own")


def test_where_no_slice_can_be_used_there_is_no_set(tmp_path):
    source = ArraySource(tmp_path, LABELS[:3], broken=[f"s{number:04d}" for number in range(12)])
    with pytest.raises(DataError, match=r"no slice can be used: see .*set\.partial/quarantine\.csv"):
        build(tmp_path, source, quarantine_limit=1)
    assert len(pd.read_csv(tmp_path / "set.partial" / "quarantine.csv")) == 12


# Going on


class Interrupted(ArraySource):
    """Stops as Ctrl-C does, in the second shard."""

    def read(self, file):
        if file.sop_uid == "s0050":
            raise KeyboardInterrupt
        return super().read(file)


def test_an_interrupted_run_goes_on_and_gives_the_same_files(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    said = []
    build(tmp_path, Counting(tmp_path, LABELS), say=said.append)
    assert "64 slices to read (32 are there from an earlier run)" in said[0]
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")
    assert not (tmp_path / "set.partial").exists()


class Counting(ArraySource):
    """Refuses to read what was read before."""

    def read(self, file):
        assert int(file.sop_uid[1:]) >= 32, "read again"
        return super().read(file)


def test_only_shards_whose_files_have_changed_are_read_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    changed = ArraySource(tmp_path, [EPIDURAL_BLEED, *LABELS[1:]])
    said = []
    stored = build(tmp_path, changed, say=said.append)
    assert "96 slices to read," in said[0]
    assert stored.digest == build(tmp_path / "other", changed).digest


def test_files_changed_at_the_same_size_are_read_again(tmp_path, monkeypatch):
    folder = write_rsna(tmp_path / "rsna", num_patients=100, slices_per_patient=2)
    first = sorted((folder / "stage_2_train").iterdir())[0]
    interrupt_reading(monkeypatch, after=150)
    with pytest.raises(KeyboardInterrupt):
        build_stored_set(RsnaSource(str(folder)), tmp_path / "set", OPTIONS, progress=False)
    monkeypatch.undo()
    data = bytearray(first.read_bytes())
    data[-10] ^= 1
    first.write_bytes(data)
    stored = build_stored_set(RsnaSource(str(folder)), tmp_path / "set", OPTIONS, progress=False)
    other = build_stored_set(RsnaSource(str(folder)), tmp_path / "other", OPTIONS, progress=False)
    assert files_of(stored.path) == files_of(other.path)


def test_a_finished_set_is_not_taken_for_other_data_of_the_same_names_and_sizes(tmp_path):
    build(tmp_path)

    class Other(ArraySource):
        def read(self, file):
            ct_slice = super().read(file)
            return replace(ct_slice, hu=ct_slice.hu + np.int16(1))

    with pytest.raises(DataError, match=r"other pixels in s\d+\.dcm"):
        build(tmp_path, Other(tmp_path, LABELS))


def test_a_copy_of_the_data_finds_the_set_again(tmp_path):
    folder = write_rsna(tmp_path / "rsna", num_patients=8)
    build_stored_set(RsnaSource(str(folder)), tmp_path / "set", OPTIONS, progress=False)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert build_stored_set(
        RsnaSource(str(tmp_path / "copy")), tmp_path / "set", OPTIONS, progress=False
    ).reused


def test_rubbish_of_killed_processes_ends_no_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    partial = tmp_path / "set.partial"
    for name in ("hu-00001.npy.123.part", "journal/.DS_Store", "hu-00099.npy"):
        (partial / name).touch()

    class Leaving(ArraySource):
        def read(self, file):
            (partial / "hu-00002.npy.456.part").touch()
            return super().read(file)

    build(tmp_path, Leaving(tmp_path, LABELS))
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


def test_a_link_to_an_empty_folder_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    stored = build_stored_set(ArraySource(tmp_path, LABELS), tmp_path / "link", OPTIONS, progress=False)
    assert stored.path == tmp_path / "disk"


def test_a_mount_point_is_refused_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: str(path).endswith("/set"))
    with pytest.raises(DataError, match="where a disk is mounted"):
        build(tmp_path)


def test_a_name_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(DataError, match="File name too long"):
        build_stored_set(ArraySource(tmp_path, LABELS), tmp_path / ("x" * 300), OPTIONS, progress=False)


def test_a_shard_that_is_cut_short_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    shard = tmp_path / "set.partial" / "hu-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    build(tmp_path)
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


@pytest.mark.parametrize("broken", ["", "{", "[]"])
def test_where_the_plan_is_broken_every_shard_is_written_again(tmp_path, broken):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    (tmp_path / "set.partial" / "plan.json").write_text(broken)
    build(tmp_path)
    build(tmp_path / "other")
    assert files_of(tmp_path / "set") == files_of(tmp_path / "other" / "set")


@pytest.mark.parametrize("changed", [{"compress": True}])
def test_an_unfinished_set_of_another_kind_is_refused(tmp_path, changed):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    with pytest.raises(DataError, match="storage 'raw' and not 'zstd'"):
        build(tmp_path, **changed)


def test_an_unfinished_set_of_another_version_is_refused(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Interrupted(tmp_path, LABELS))
    monkeypatch.setattr("ich_mlflow.__version__", "99.0")
    with pytest.raises(DataError, match=r"not '99\.0'"):
        build(tmp_path)


def test_what_a_run_left_that_was_killed_after_the_rename_is_tidied(tmp_path):
    build(tmp_path)
    whole = files_of(tmp_path / "set")
    (tmp_path / "set" / "journal").mkdir()
    (tmp_path / "set" / "plan.json").touch()
    assert build(tmp_path).reused
    assert files_of(tmp_path / "set") == whole
    assert not (tmp_path / "set" / "journal").exists()


def test_two_runs_at_once_are_refused_and_the_first_goes_on(tmp_path):
    refused = []

    class Second(ArraySource):
        def read(self, file):
            if not refused:
                with pytest.raises(DataError, match="another preprocess") as caught:
                    build(tmp_path)
                refused.append(caught)
            return super().read(file)

    assert len(build(tmp_path, Second(tmp_path, LABELS)).table) == 96
    assert refused


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"needs 12\.7 MB, 1 MB are free.*compress=true"):
        build(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_one_line_and_what_is_whole_stays(tmp_path, monkeypatch):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:  # the plan, a shard and its journal are on the disk, each with its folder
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*goes on from here"):
        build(tmp_path)
    monkeypatch.undo()
    said = []
    build(tmp_path, say=said.append)
    assert "32 are there from an earlier run" in said[0]


def test_the_preflight_says_how_much_and_how_long(tmp_path):
    said = []
    build(tmp_path, say=said.append)
    assert said[0].startswith("pre-flight: 96 slices to read, 96 B to read, 12.7 MB to write, ")
    assert said[0].endswith(" s with 1 process")
    said.clear()
    build(tmp_path / "small", compress=True, say=said.append)
    assert "12.7 MB to write" not in said[0]


def test_the_manifest_says_what_the_labels_are_of_and_where_they_come_from(tmp_path):
    manifest = build(tmp_path).manifest
    assert (manifest["label_level"], manifest["overlap"]) == ("slice", "made up, no patient")
    assert manifest["source_path"] == ""
    root = write_rsna(tmp_path / "rsna")
    manifest = build(tmp_path / "rsna-set", RsnaSource(str(root))).manifest
    assert (manifest["source_path"], manifest["overlap"]) == (str(root), "is RSNA 2019")


def test_external_data_is_all_in_the_test_split_though_it_is_one_patient(tmp_path):
    stored = build(tmp_path, ArraySource(tmp_path, [EPIDURAL_BLEED]), external=True)
    assert stored.table["split"].tolist() == ["test"] * 4
    assert stored.table["fold"].tolist() == [-1] * 4
    assert stored.manifest["counts"]["test"]["patients"] == 1
    assert stored.manifest["counts"]["train"]["patients"] == 0
    with pytest.raises(DataError, match=r"made with other external \(True, not False\)"):
        build(tmp_path, ArraySource(tmp_path, [EPIDURAL_BLEED]))


def test_external_data_has_no_folds():
    with pytest.raises(OptionError, match="folds is 5, expected 0 with external=true"):
        BuildOptions(seed=0, folds=5, external=True)


def test_a_set_made_before_manifests_told_all_this_is_found_again(tmp_path):
    path = build(tmp_path).path / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("label_level", "overlap", "source_path"):
        del manifest[name]
    del manifest["options"]["external"]
    path.write_text(json.dumps(manifest))
    assert build(tmp_path).reused
    with pytest.raises(DataError, match=r"external \(False, not True\)"):
        build(tmp_path, external=True)
