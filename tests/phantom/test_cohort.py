import shutil

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.errors import DataError
from ich_mlflow.phantom.cohort import CohortOptions, encoding_of, write_cohort
from ich_mlflow.phantom.exam import make_exam
from ich_mlflow.sources.phantom import PhantomSource

OPTIONS = CohortOptions(exams=3, exam_rate=0.7, rows=64)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("phantom") / "cohort", OPTIONS, workers=1, progress=False)


def test_the_files_hold_the_pixels_that_were_made(cohort):
    for number in range(OPTIONS.exams):
        exam = make_exam(OPTIONS, number)
        lowest = encoding_of(exam).intercept if not encoding_of(exam).signed else -1024
        for k, sop_uid in enumerate(exam.sop_uids):
            ct_slice = read_slice(cohort / "stage_2_train" / f"{sop_uid}.dcm")
            np.testing.assert_array_equal(ct_slice.hu, np.maximum(exam.hu[k], lowest))
            assert (ct_slice.patient_id, ct_slice.series_uid) == (exam.patient_id, exam.series_uid)


def test_the_table_has_six_rows_a_slice_in_rsnas_order(cohort):
    table = pd.read_csv(cohort / "stage_2_train.csv")
    assert list(table.columns) == ["ID", "Label"]
    assert [row.rsplit("_", 1)[1] for row in table["ID"][:6]] == [
        "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any",
    ]  # fmt: skip
    labels = table["Label"].to_numpy().reshape(-1, 6)
    np.testing.assert_array_equal(labels[:, 5], labels[:, :5].max(axis=1))
    assert len(labels) == len(list((cohort / "stage_2_train").iterdir()))


def test_the_source_reads_positions_in_order_of_the_stack(cohort):
    source = PhantomSource(cohort)
    by_uid = {file.sop_uid: file for file in source.files()}
    exam = make_exam(OPTIONS, 1)
    positions = [source.read(by_uid[uid]).position_mm for uid in exam.sop_uids]
    steps = np.diff(positions)
    expected = exam.geometry.step_mm * np.cos(np.deg2rad(exam.geometry.tilt_degrees))
    np.testing.assert_allclose(steps, expected, atol=1e-3)


def test_processes_write_what_one_process_writes(cohort, tmp_path):
    other = write_cohort(tmp_path / "other", OPTIONS, workers=2, progress=False)
    names = sorted(path.name for path in (cohort / "stage_2_train").iterdir())
    assert names == sorted(path.name for path in (other / "stage_2_train").iterdir())
    assert (cohort / "stage_2_train.csv").read_bytes() == (other / "stage_2_train.csv").read_bytes()
    for name in names[:5]:
        assert (cohort / "stage_2_train" / name).read_bytes() == (other / "stage_2_train" / name).read_bytes()


def test_a_finished_cohort_is_found_again_and_another_refused(cohort):
    before = (cohort / "cohort.json").stat().st_mtime_ns
    assert write_cohort(cohort, OPTIONS) == cohort
    assert (cohort / "cohort.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="made with other options"):
        write_cohort(cohort, CohortOptions(exams=4, exam_rate=0.7, rows=64))


def test_two_at_once_are_refused_and_the_first_goes_on(tmp_path, monkeypatch):
    from ich_mlflow.phantom import cohort as module

    write, refused = module.write_slice, []

    def second(*args):
        if not refused:
            with pytest.raises(DataError, match="another preprocess") as caught:
                write_cohort(tmp_path / "cohort", OPTIONS, workers=1, progress=False)
            refused.append(caught)
        return write(*args)

    monkeypatch.setattr(module, "write_slice", second)
    write_cohort(tmp_path / "cohort", OPTIONS, workers=1, progress=False)
    files = {path.stem for path in (tmp_path / "cohort" / "stage_2_train").iterdir()}
    assert files == {
        name.rsplit("_", 1)[0] for name in pd.read_csv(tmp_path / "cohort" / "stage_2_train.csv")["ID"]
    }
    assert refused
    assert not (tmp_path / "cohort" / "writer.lock").exists()


def test_a_folder_that_is_no_cohort_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is no phantom cohort"):
        write_cohort(tmp_path, OPTIONS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_was_cut_off_is_gone_on_with_and_ends_the_same(cohort, tmp_path, monkeypatch):
    from ich_mlflow.phantom import cohort as module

    make, made = module.make_exam, []

    def until_the_last(options, number):
        if number == OPTIONS.exams - 1 and number not in made:
            made.append(number)
            raise OSError(28, "No space left on device")
        made.append(number)
        return make(options, number)

    monkeypatch.setattr(module, "make_exam", until_the_last)
    folder = tmp_path / "cohort"
    with pytest.raises(DataError, match=r"No space left.*goes on from what is in"):
        write_cohort(folder, OPTIONS, workers=1, progress=False)
    assert not folder.exists()
    write_cohort(folder, OPTIONS, workers=1, progress=False)
    assert made == [0, 1, 2, 2]
    expected = {path.relative_to(cohort): path.read_bytes() for path in cohort.rglob("*") if path.is_file()}
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == expected
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.parametrize("broken", ["", '{"rows": []}'])
def test_an_exam_whose_note_is_broken_is_written_again(cohort, tmp_path, broken):
    partial = tmp_path / "cohort.partial"
    shutil.copytree(cohort, partial)
    (partial / "notes").mkdir()
    (partial / "notes" / "1.json").write_text(broken)
    folder = write_cohort(tmp_path / "cohort", OPTIONS, workers=1, progress=False)
    assert (folder / "stage_2_train.csv").read_bytes() == (cohort / "stage_2_train.csv").read_bytes()


def test_what_other_options_left_is_not_gone_on_with(tmp_path, monkeypatch):
    left = tmp_path / "cohort.partial" / "stage_2_train"
    left.mkdir(parents=True)
    (left / "ID_1.dcm").write_bytes(b"old")
    folder = write_cohort(tmp_path / "cohort", OPTIONS, workers=1, progress=False)
    assert not (folder / "stage_2_train" / "ID_1.dcm").exists()


def test_what_was_cut_off_before_its_last_rename_is_gone_on_with(cohort, tmp_path):
    # The notes were removed, and the folder kept its name.
    shutil.copytree(cohort, tmp_path / "cohort.partial")
    folder = write_cohort(tmp_path / "cohort", OPTIONS, workers=1, progress=False)
    assert (folder / "stage_2_train.csv").read_bytes() == (cohort / "stage_2_train.csv").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]
