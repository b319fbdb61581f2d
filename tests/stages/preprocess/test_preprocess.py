from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import DataError, OptionError, QuarantineError, SplitError
from ich_mlflow.labels import SUBTYPES, class_scheme
from ich_mlflow.stages.common.stored_sets import preview_rows, previewed_split
from ich_mlflow.stages.common.training_data import check_labels
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess, stored_set_folder
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
    client = mlflow.MlflowClient()
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"manifest.json", "split_counts.json", "quarantine.csv"} <= names
    table = mlflow.load_table("split_counts.json", run_ids=[run.info.run_id])
    assert table["studies"].sum() == table["patients"].sum() == 8
    paths = {item.path for item in client.list_artifacts(run.info.run_id, "figures")}
    assert paths == {"figures/split_counts.png", "figures/slices.png"}
    assert sum(run.data.metrics[f"counts/{s}/slices"] for s in ("train", "validation", "test")) == 24


def test_slices_without_labels_and_labels_without_slices_are_counted_and_said(workspace, tmp_path, capsys):
    write_rsna(tmp_path / "rsna", num_patients=8)
    files = sorted((tmp_path / "rsna" / "stage_2_train").iterdir())
    files[0].unlink()  # a label without its file
    preprocess(
        PreprocessOptions(source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1)
    )
    out = capsys.readouterr().out
    assert "left out 1 files: 1 no_file" in out
    assert out.index("pre-flight: 23 slices to read") < out.index("stored set made")
    metrics = _newest().data.metrics
    assert (metrics["source/slices"], metrics["source/labels_without_file"]) == (23, 1)
    assert metrics["quarantine/no_file"] == 1


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
            {"folds": 5},
            {"compress": True},
            {"quirks": True},
            {"external": True},
            {"source": "rsna", "data": "x"},
        )
    }
    assert len(folders) == 9
    same = ({}, {"workers": 1}, {"engine": "spark"}, {"strict": True}, {"quarantine_limit": 0.5})
    assert len({stored_set_folder(PreprocessOptions(**changed)) for changed in same}) == 1


def test_the_preview_shows_every_subtype_of_the_training_split(stored_set):
    rows = preview_rows(stored_set)
    assert stored_set.subtypes[rows].any(axis=0).all()
    assert set(rows) <= set(stored_set.rows("train").tolist())


def test_external_data_is_all_test_and_pictured(workspace, tmp_path, capsys):
    write_rsna(tmp_path / "rsna", num_patients=2)
    stored = preprocess(
        PreprocessOptions(
            source="rsna",
            data=str(tmp_path / "rsna"),
            out=str(tmp_path / "set"),
            external=True,
            workers=1,
        )
    )
    assert set(stored.table["split"]) == {"test"}
    assert previewed_split(stored) == "test"
    assert set(preview_rows(stored)) == {0, 1, 2, 3, 4, 5}
    table = capsys.readouterr().out.split("slices (patients):")[1].split()
    assert table[:7] == ["train", "validation", "test", "all", "0", "(0)", "0"]
    metrics = _newest().data.metrics
    assert (metrics["counts/train/slices"], metrics["counts/test/slices"]) == (0, 6)
    with pytest.raises(DataError, match="has no training split"):
        check_labels(stored, stored.rows("train"), class_scheme(5), missing="refuse")


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


def _rsna_with(root, what):
    write_rsna(root)
    table = root / "stage_2_train.csv"
    first = root / "stage_2_train" / "ID_000000000.dcm"
    if what == "no csv":
        table.unlink()
    elif what == "other columns":
        write_rsna_table(root, [], header="name,probability")
    elif what == "contradiction":
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines, lines[1][:-1] + ("0" if lines[1].endswith("1") else "1")]) + "\n")
    elif what == "cut short":
        first.write_bytes(first.read_bytes()[:-40])
    elif what == "no DICOM":
        first.write_bytes(b"no DICOM at all")
    return PreprocessOptions(source="rsna", data=str(root), out=str(root.parent / "set"), workers=1)


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("no csv", DataError, r"stage_2_train\.csv"),
        ("other columns", DataError, "expected.*ID"),
        ("contradiction", QuarantineError, "contradicting_rows 1; first stage_2_train/ID_000000000"),
        ("cut short", QuarantineError, "truncated 1; first stage_2_train/ID_000000000"),
        ("no DICOM", QuarantineError, "not_dicom 1; first stage_2_train/ID_000000000"),
    ],
)
def test_bad_input_is_one_line_and_fails_the_run(workspace, tmp_path, what, error, said):
    options = _rsna_with(tmp_path / "rsna", what)
    with pytest.raises(error, match=said) as refusal:
        preprocess(options)
    assert "\n" not in str(refusal.value)
    run = _newest()
    assert run.info.status == "FAILED"
    assert not (tmp_path / "set").exists()
    logged = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert ("quarantine.csv" in logged) == (error is QuarantineError)


def test_a_bad_file_within_the_limit_is_logged_and_the_run_succeeds(workspace, tmp_path, capsys):
    options = replace(_rsna_with(tmp_path / "rsna", "cut short"), quarantine_limit=0.1)
    stored = preprocess(options)
    assert len(stored.table) == 11
    assert "left out 1 files: 1 truncated" in capsys.readouterr().out
    run = _newest()
    assert (run.info.status, run.data.metrics["quarantine/truncated"]) == ("FINISHED", 1)
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="quarantine.csv")
    assert "stage_2_train/ID_000000000.dcm,truncated,PixelData," in Path(path).read_text()
    with pytest.raises(QuarantineError, match="strict"):
        preprocess(replace(options, strict=True))


def test_a_quirky_cohort_is_another_cohort(workspace):
    options = PreprocessOptions(exams=3, quirks=True, quarantine_limit=1, workers=2, folds=2, compress=True)
    stored = preprocess(options)
    assert stored.manifest["quarantine"]["truncated"] == 1
    assert stored.manifest["storage"] == "zstd"
    assert set(stored.table["fold"]) == {-1, 0, 1}
    folds = mlflow.load_table("fold_counts.json", run_ids=[_newest().info.run_id])
    assert folds["fold"].astype(str).tolist() == ["0", "1"]
    assert folds["slices"].sum() == (stored.table["fold"] >= 0).sum()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folds": 1}, "folds is 1, expected 0, or 2 to 100"),
        ({"quarantine_limit": 1.5}, "quarantine_limit is 1.5, expected 0 to 1"),
        ({"engine": "dask"}, "engine is 'dask', expected local or spark"),
        ({"strict": "maybe"}, "strict is 'maybe', expected true or false"),
        ({"compress": "zip"}, "compress is 'zip', expected true or false"),
        ({"external": "yes"}, "external is 'yes', expected true or false"),
        ({"external": True, "folds": 5}, "folds is 5, expected 0 with external=true"),
        ({"quirks": "2"}, "quirks is '2', expected true or false"),
    ],
)
def test_options_out_of_range_are_refused(changed, said):
    with pytest.raises(OptionError, match=said):
        PreprocessOptions(**changed)


def test_too_few_patients_are_refused(workspace, tmp_path):
    write_rsna(tmp_path / "rsna", num_patients=2)
    options = PreprocessOptions(
        source="rsna", data=str(tmp_path / "rsna"), out=str(tmp_path / "set"), workers=1
    )
    with pytest.raises(SplitError, match="2 patients"):
        preprocess(options)
    assert not (tmp_path / "set").exists()


def test_the_patients_that_pretraining_saw_are_not_made_again(workspace):
    with pytest.raises(
        OptionError, match="seed is 4000000007: seeds from 4000000000 up are those of phantoms"
    ):
        preprocess(PreprocessOptions(source="phantom", exams=3, seed=4_000_000_007))


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


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"source": "drawn", "copies": 0}, "copies is 0, expected 1 to 1000"),
        ({"source": "drawn", "synthesis": "epidual"}, "synthesis is 'epidual', expected some of epidural"),
        (
            {"source": "drawn", "folds": 5},
            "folds is 5, expected 0 with source=drawn: all of it is trained on",
        ),
        ({"source": "drawn", "external": True}, "external is true, expected false with source=drawn"),
        ({"source": "drawn", "test_fraction": 0.2}, "test_fraction is 0.2, expected 0 with source=drawn"),
        ({"source": "rsna", "copies": 3}, "copies is 3, expected with source=drawn, or 2"),
        ({"sham_share": 0.1}, "sham_share is 0.1, expected with source=drawn, or 0.5"),
    ],
)
def test_what_a_drawn_set_does_not_take_is_refused(said, message):
    with pytest.raises(OptionError, match=message):
        PreprocessOptions(data="x", **said)


def test_subtypes_to_draw_are_taken_once_each_in_the_projects_order():
    options = PreprocessOptions(source="drawn", data="x", synthesis="subdural,epidural,subdural")
    assert options.drawn_subtypes == ("epidural", "subdural")


def test_drawn_heads_become_a_set_and_are_pictured_beside_what_they_were(workspace, tmp_path):
    heads = preprocess(
        PreprocessOptions(exams=4, bleeds=0.0, seed=5, workers=1, out=str(tmp_path / "heads"), folds=2)
    )
    stored = preprocess(
        PreprocessOptions(
            source="drawn", data=str(heads.path), out=str(tmp_path / "set"), copies=1, workers=1
        )
    )
    assert set(stored.table["patient_id"]) <= set(
        heads.table.loc[heads.table["split"] != "test", "patient_id"]
    )
    paths = {item.path for item in mlflow.MlflowClient().list_artifacts(_newest().info.run_id, "figures")}
    assert "figures/drawn.png" in paths


def test_a_cohort_of_the_second_edition_is_another_one_and_that_of_the_first_is_where_it_was(
    workspace, monkeypatch
):
    from ich_mlflow.phantom import cohort
    from ich_mlflow.stages.preprocess.preprocess import source_folder

    made = []

    def written(folder, options, **_):
        made.append((folder, options.edition))
        return folder

    monkeypatch.setattr(cohort, "write_cohort", written)
    first, second = (PreprocessOptions(exams=3, phantom_edition=edition) for edition in (1, 2))
    assert source_folder(first) != source_folder(second)
    assert [edition for _, edition in made] == [1, 2]
    assert stored_set_folder(first) == stored_set_folder(PreprocessOptions(exams=3))
    assert stored_set_folder(first) != stored_set_folder(second)
    # The first's digest is of the options that 0.1 had.
    options = {
        "seed": 0,
        "exam_rate": 0.2,
        "min_blood_area_mm2": 30.0,
        "rows": 512,
        "exams": 3,
        "quirks": False,
    }
    assert cohort.cohort_settings(cohort.CohortOptions(exams=3, exam_rate=0.2)) == options
    with pytest.raises(OptionError, match="phantom_edition is 3"):
        PreprocessOptions(phantom_edition=3)
