import os
import pickle
from pathlib import Path

import pytest

from ich_mlflow.dataset.plan import fingerprint, make_plan
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.sources.rsna import RsnaSource
from tests.factories import EPIDURAL_BLEED, NO_BLEED, rsna_rows, write_dicom, write_rsna, write_rsna_table

A, B = "ID_00000000a", "ID_00000000b"


def folder_with(root, rows, *, files=(A,), header="ID,Label"):
    write_rsna_table(root, rows, header=header)
    for sop_uid in files:
        write_dicom(root / "stage_2_train" / f"{sop_uid}.dcm", [[1064]])
    return RsnaSource(root)


def refusal(source) -> str:
    with pytest.raises(DataError) as caught:
        source.files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_six_rows_become_one_labelled_slice(tmp_path):
    (file,) = folder_with(tmp_path, rsna_rows(A, (0, 1, 0, 0, 1))).files()
    assert file.sop_uid == A
    assert file.path == f"stage_2_train/{A}.dcm"
    assert file.num_bytes == (tmp_path / file.path).stat().st_size
    assert file.subtypes == (0, 1, 0, 0, 1)


def test_rows_and_columns_may_stand_in_any_order(tmp_path):
    rows = [",".join(reversed(row.split(","))) for row in reversed(rsna_rows(A, EPIDURAL_BLEED))]
    (file,) = folder_with(tmp_path, rows, header="Label,ID").files()
    assert file.subtypes == EPIDURAL_BLEED


def test_slices_come_in_the_order_of_their_ids(tmp_path):
    source = folder_with(tmp_path, rsna_rows(B, NO_BLEED) + rsna_rows(A, EPIDURAL_BLEED), files=(B, A))
    assert [(f.sop_uid, f.subtypes) for f in source.files()] == [(A, EPIDURAL_BLEED), (B, NO_BLEED)]


def test_exact_repeats_are_dropped_and_counted(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) * 2)
    assert len(source.files()) == 1
    assert source.audit()["rows"] == 12
    assert source.audit()["repeated_rows"] == 6


def test_labels_without_a_file_and_files_without_labels_are_skipped_and_counted(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) + rsna_rows(B, NO_BLEED), files=(A, "ID_00000000c"))
    assert [file.sop_uid for file in source.files()] == [A]
    counts = source.audit()
    assert (counts["slices"], counts["labels_without_file"], counts["files_without_label"]) == (1, 1, 1)


def test_other_files_in_the_folder_are_no_slices(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED))
    (tmp_path / "stage_2_train" / "notes.txt").touch()
    assert source.audit()["files_without_label"] == 0


def listed(source) -> list[tuple[str, str]]:
    return [(one.file, one.reason) for one in source.rejected()]


def test_labels_without_a_file_and_files_without_labels_are_on_the_list(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) + rsna_rows(B, NO_BLEED), files=(A, "ID_00000000c"))
    assert listed(source) == [(B, "no_file"), ("stage_2_train/ID_00000000c.dcm", "no_label")]


CONTRADICTIONS = {
    "contradicting_rows": [*rsna_rows(B, NO_BLEED), f"{B}_subdural,1"],
    "any_contradicts": [*rsna_rows(B, EPIDURAL_BLEED)[:5], f"{B}_any,0"],
    "missing_rows": rsna_rows(B, NO_BLEED)[:4],
}


@pytest.mark.parametrize("reason", CONTRADICTIONS)
def test_labels_that_contradict_each_other_put_the_slice_on_the_list(tmp_path, reason):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) + CONTRADICTIONS[reason], files=(A, B))
    assert [file.sop_uid for file in source.files()] == [A]
    assert listed(source) == [(f"stage_2_train/{B}.dcm", reason)]
    assert source.audit()["files_without_label"] == 0


def test_contradicting_labels_of_a_slice_that_is_not_here_are_only_a_missing_file(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) + CONTRADICTIONS["missing_rows"], files=(A,))
    assert listed(source) == [(B, "no_file")]


def test_two_columns_of_one_name_are_refused(tmp_path):
    assert "ID, ID, Label" in refusal(folder_with(tmp_path, [f"{A}_any,{A}_any,0"], header="ID,ID,Label"))


def test_images_that_are_no_folder_are_refused(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED), files=())
    (tmp_path / "stage_2_train").rmdir()
    (tmp_path / "stage_2_train").write_text("not a folder")
    assert "can't be listed (Not a directory)" in refusal(source)


def test_a_link_to_nothing_and_a_name_that_is_no_utf_8_end_no_listing(tmp_path):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED) + rsna_rows(B, NO_BLEED))
    images = tmp_path / "stage_2_train"
    (images / f"{B}.dcm").symlink_to(tmp_path / "nothing")
    (Path(os.fsdecode(os.fsencode(images) + b"/\xff.dcm"))).touch()
    assert [file.sop_uid for file in source.files()] == [A, B]
    plan = make_plan("rsna", source.files(), "raw")
    assert len(fingerprint(plan, source.rejected())) == 64
    with pytest.raises(SliceError, match="No such file"):
        source.read(source.files()[1])


def test_any_without_a_subtype_contradicts_too(tmp_path):
    rows = [*rsna_rows(A, NO_BLEED), *rsna_rows(B, NO_BLEED)[:5], f"{B}_any,1"]
    assert listed(folder_with(tmp_path, rows, files=(A, B)))[0][1] == "any_contradicts"


def test_the_file_of_noise_is_known(tmp_path):
    uid = "ID_b79eed528"
    source = folder_with(tmp_path, rsna_rows(uid, NO_BLEED), files=(uid,))
    with pytest.raises(SliceError, match="noise below row 332") as caught:
        source.read(source.files()[0])
    assert (caught.value.reason, caught.value.tag) == ("known_damage", "PixelData")


def test_missing_columns_are_refused_with_what_was_found(tmp_path):
    message = refusal(folder_with(tmp_path, rsna_rows(A, NO_BLEED), header="Image,Target"))
    assert "Image, Target" in message
    assert "ID,Label" in message


@pytest.mark.parametrize(
    "row",
    ["ID_00000000a_brain,0", "ID_a_any,0", f"{A}_any,2", f"{A}_any,", ",0", f"{A}_any,0.5", f"{A},0", ","],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(tmp_path, row):
    assert "line 8" in refusal(folder_with(tmp_path, [*rsna_rows(A, NO_BLEED), row]))


@pytest.mark.parametrize("rows", [[f"{A}_any,0,9"], [f"{A}_any"]])
def test_a_row_of_another_length_is_refused(tmp_path, rows):
    assert "stage_2_train.csv" in refusal(folder_with(tmp_path, rsna_rows(A, NO_BLEED) + rows))


def test_an_empty_table_is_refused(tmp_path):
    assert "no rows" in refusal(folder_with(tmp_path, []))
    (tmp_path / "stage_2_train.csv").write_text("")
    assert "stage_2_train.csv" in refusal(RsnaSource(tmp_path))


def test_labels_and_files_with_nothing_in_common_are_refused(tmp_path):
    assert "none in common" in refusal(folder_with(tmp_path, rsna_rows(A, NO_BLEED), files=(B,)))


@pytest.mark.parametrize("missing", ["stage_2_train.csv", "stage_2_train"])
def test_a_missing_part_is_refused_with_the_expected_layout(tmp_path, missing):
    source = folder_with(tmp_path, rsna_rows(A, NO_BLEED))
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    message = refusal(source)
    assert missing in message
    assert "ID_<9 hex>.dcm" in message


def test_a_missing_folder_is_refused(tmp_path):
    assert "absent" in refusal(RsnaSource(tmp_path / "absent"))


def test_a_slice_is_read_from_its_file(tmp_path):
    source = RsnaSource(write_rsna(tmp_path, num_patients=1, slices_per_patient=2))
    ct_slice = source.read(source.files()[1])
    assert ct_slice.sop_uid == "ID_000000001"
    assert ct_slice.hu[0, 0] == 1
    assert ct_slice.position_mm == -5


def test_a_file_that_holds_another_slice_than_its_name_says_is_refused(tmp_path):
    source = RsnaSource(write_rsna(tmp_path, num_patients=1, slices_per_patient=2))
    first, second = source.files()
    (tmp_path / first.path).write_bytes((tmp_path / second.path).read_bytes())
    with pytest.raises(SliceError, match="another slice"):
        source.read(first)


def test_a_pickled_source_carries_its_path_and_not_its_listing(tmp_path):
    source = RsnaSource(write_rsna(tmp_path, num_patients=2))
    source.files()
    assert len(pickle.dumps(source)) < 500
    assert pickle.loads(pickle.dumps(source)) == source
