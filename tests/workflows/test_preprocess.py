import mlflow
import numpy as np
import pytest

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, OptionError, SliceError, SplitError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.options import PreprocessOptions
from ich_mlflow.workflows.preprocess import preprocess, preview_rows, stored_set_folder
from tests.factories import CTICH_HEADER, rsna_rows, write_ctich, write_rsna, write_rsna_table


def _newest():
    return mlflow.search_runs(["1"], max_results=1, output_format="list")[0]


def test_rsna_becomes_a_stored_set_logged_with_its_digest_and_counts(workspace, tmp_path):
    write_rsna(tmp_path / "rsna", num_patients=8)
    options = PreprocessOptions(
        source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1
    )
    stored = preprocess(options)
    assert len(stored.table) == 24
    run = _newest()
    assert run.info.status == "FINISHED"
    assert run.data.params["stored_set.digest"] == stored.digest
    assert run.inputs.dataset_inputs[0].dataset.digest == stored.digest[:36]
    paths = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "figures")}
    assert paths == {"figures/split_counts.png", "figures/slices.png"}
    assert sum(run.data.metrics[f"counts/{s}/slices"] for s in ("train", "validation", "test")) == 24


def test_slices_without_labels_and_labels_without_slices_are_counted_and_said(workspace, tmp_path, capsys):
    write_rsna(tmp_path / "rsna", num_patients=8)
    files = sorted((tmp_path / "rsna" / "stage_2_train").iterdir())
    files[0].unlink()  # a label without its file
    preprocess(
        PreprocessOptions(source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1)
    )
    assert "left out: 1 slices with labels but no file" in capsys.readouterr().out
    metrics = _newest().data.metrics
    assert (metrics["source/slices"], metrics["source/labels_without_file"]) == (23, 1)


def test_the_same_options_find_the_set_again_and_a_changed_source_is_refused(workspace, tmp_path):
    write_rsna(tmp_path / "rsna", num_patients=8)
    options = PreprocessOptions(
        source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1
    )
    first = preprocess(options)
    again = preprocess(options)
    assert again.reused
    assert again.digest == first.digest
    write_rsna(tmp_path / "rsna", num_patients=9)
    with pytest.raises(DataError, match="made with other source files"):
        preprocess(options)


def test_every_setting_has_a_folder_of_its_own(tmp_path):
    folders = {
        stored_set_folder(PreprocessOptions(**changed))
        for changed in (
            {},
            {"seed": 1},
            {"exams": 9},
            {"test_fraction": 0.2},
            {"source": "rsna", "data": "x"},
        )
    }
    assert len(folders) == 5
    assert stored_set_folder(PreprocessOptions(workers=1)) == stored_set_folder(PreprocessOptions(workers=2))


def test_the_preview_shows_every_subtype_of_the_training_split(stored_set):
    rows = preview_rows(stored_set)
    assert stored_set.subtypes[rows].any(axis=0).all()
    assert set(rows) <= set(stored_set.rows("train").tolist())


def test_a_phantom_cohort_is_made_once_and_stored(workspace):
    options = PreprocessOptions(source="phantom", exams=4, bleeds=1.0, seed=3, workers=1)
    stored = preprocess(options)
    assert StoredSet.open(stored_set_folder(options)).digest == stored.digest
    assert stored.manifest["source"] == "phantom"
    assert stored.subtypes.any(axis=0).all(), SUBTYPES
    assert len(list((workspace / "data").glob("phantom-4-exams-*"))) == 1
    hu = stored.hu(np.arange(len(stored.table)))
    assert hu.min() >= -1024
    assert hu.max() > 800


def _rsna_without(root, what):
    write_rsna(root)
    if what == "csv":
        (root / "stage_2_train.csv").unlink()
    elif what == "columns":
        write_rsna_table(root, [], header="name,probability")
    elif what == "contradiction":
        table = root / "stage_2_train.csv"
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines, lines[1][:-1] + ("0" if lines[1].endswith("1") else "1")]) + "\n")
    elif what == "pixels":
        path = next((root / "stage_2_train").iterdir())
        path.write_bytes(path.read_bytes()[:-40])
    elif what == "dicom":
        next((root / "stage_2_train").iterdir()).write_bytes(b"no DICOM at all")


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("csv", DataError, "stage_2_train.csv"),
        ("columns", DataError, "expected.*ID"),
        ("contradiction", DataError, "ID_000000000"),
        ("pixels", SliceError, r"\.dcm"),
        ("dicom", SliceError, r"\.dcm"),
    ],
)
def test_bad_input_is_one_line_fails_the_run_and_leaves_no_set(workspace, tmp_path, what, error, said):
    _rsna_without(tmp_path / "rsna", what)
    options = PreprocessOptions(
        source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1
    )
    with pytest.raises(error, match=said) as refusal:
        preprocess(options)
    assert "\n" not in str(refusal.value)
    assert _newest().info.status == "FAILED"
    assert {path.name for path in tmp_path.iterdir()} == {"rsna"}


def test_too_few_patients_are_refused(workspace, tmp_path):
    write_rsna(tmp_path / "rsna", num_patients=2)
    options = PreprocessOptions(
        source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1
    )
    with pytest.raises(SplitError, match="2 patients"):
        preprocess(options)
    assert not (tmp_path / "set").exists()


def test_a_source_that_needs_a_folder_says_so(workspace, tmp_path):
    with pytest.raises(OptionError, match="-P data="):
        preprocess(PreprocessOptions(source="ctich"))
    (tmp_path / "empty").mkdir()
    for source in ("rsna", "ctich", "phantom"):
        with pytest.raises(DataError, match="empty"):
            preprocess(PreprocessOptions(source=source, data=str(tmp_path / "empty")))


def test_ctich_and_rsna_rows_are_told_apart(workspace, tmp_path):
    write_ctich(tmp_path / "ctich", ["49,1,0,0,0,0,0,1,0"], header=CTICH_HEADER)
    with pytest.raises(DataError, match=r"stage_2_train\.csv"):
        preprocess(PreprocessOptions(source="rsna", data=str(tmp_path / "ctich")))
    write_rsna_table(tmp_path / "rsna", rsna_rows("ID_000000000", [0] * 5))
    with pytest.raises(DataError, match=r"hemorrhage_diagnosis\.csv"):
        preprocess(PreprocessOptions(source="ctich", data=str(tmp_path / "rsna")))
