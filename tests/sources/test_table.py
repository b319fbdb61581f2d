import pickle
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import FileDataset

from ich_mlflow.errors import DataError
from ich_mlflow.sources.table import TableSource
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from tests.factories import write_dicom

HEADER = "study,epidural,intraparenchymal,intraventricular,subarachnoid,subdural"


def write_table(root: Path, *rows: str, header: str = HEADER) -> TableSource:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return TableSource(str(root))


def write_scan(
    root: Path,
    folder: str,
    study: str,
    *,
    patient: str = "",
    series: str = "1",
    name: str = "IM",
    **tags: Any,
) -> Path:
    """20 slices of 4x4, 6 mm apart, as files IM01, IM02 … without a suffix."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for number in range(1, 21):

        def describe(dataset: FileDataset, number: int = number) -> None:
            dataset.StudyInstanceUID, dataset.PatientID = study, patient or f"p{study}"
            dataset.SeriesInstanceUID = f"{study}.{series}"
            dataset.SOPInstanceUID = f"{study}.{series}.{number}"
            dataset.ImagePositionPatient = [0, 0, -6.0 * number]
            for keyword, value in tags.items():
                setattr(dataset, keyword, value)

        values = np.full((4, 4), 1024 + number)
        values[-1, -1] = 0  # a blank slice would be quarantined
        write_dicom(place / f"{name}{number:02d}", values, change=describe)
    return place


def refusal(source: TableSource) -> str:
    with pytest.raises(DataError) as caught:
        source.files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_by_folder(source: TableSource) -> dict[str, set[tuple[int, ...]]]:
    found: dict[str, set[tuple[int, ...]]] = {}
    for file in source.files():
        found.setdefault(str(Path(file.path).parent), set()).add(file.subtypes)
    return found


def test_a_row_finds_its_study_by_uid_or_by_the_name_of_a_folder_at_any_depth(tmp_path):
    source = write_table(tmp_path, "1.20,0,0,0,0,1", "007,0,1,0,1,0", "")
    write_scan(tmp_path, "export/a/b", "1.20")
    write_scan(tmp_path, "more/007/series 3", "1.3")
    assert labels_by_folder(source) == {
        "export/a/b": {(0, 0, 0, 0, 1)},
        "more/007/series 3": {(0, 1, 0, 1, 0)},
    }
    assert (source.name, source.label_level) == ("table", "study")
    ct_slice = source.read(next(file for file in source.files() if file.path == "export/a/b/IM03"))
    assert (ct_slice.patient_id, ct_slice.study_uid, ct_slice.position_mm) == ("p1.20", "1.20", -18)
    counts = source.audit()
    assert (counts["rows"], counts["exams"], counts["slices"]) == (2, 2, 40)


def test_columns_go_by_their_names_and_others_are_not_looked_at(tmp_path):
    header = "\ufeffreport,subdural,any,subarachnoid,intraventricular,intraparenchymal,epidural,study"
    source = write_table(tmp_path, '"left, 8 mm",0,1,0,0,0,1,A', header=header)
    write_scan(tmp_path, "A", "1.1")
    assert {file.subtypes for file in source.files()} == {(1, 0, 0, 0, 0)}


def test_the_patient_of_the_table_goes_before_the_files(tmp_path):
    source = write_table(tmp_path, "A,anna,0,0,0,0,1", header=HEADER.replace("study", "study,patient"))
    write_scan(tmp_path, "A", "1.1", PatientID="")
    first = pickle.loads(pickle.dumps(source)).files()[0]
    assert first.patient_id == "anna"
    assert source.read(first).patient_id == "anna"


def test_a_file_without_a_patient_needs_one_in_the_table(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,1")
    write_scan(tmp_path, "A", "1.1", PatientID="")
    assert "A/IM01 has no PatientID and labels.csv no column patient, expected one of them" in refusal(source)


def test_the_non_contrast_series_is_taken_and_a_study_folders_name_says_nothing_of_contrast(tmp_path):
    source = write_table(tmp_path, "C-1,0,0,0,0,1")  # C alone, as the name of a series, is contrast
    write_scan(tmp_path, "C-1", "1.1", series="1")
    write_scan(tmp_path, "C-1", "1.1", series="2", name="CM", SeriesDescription="HEAD + C")
    assert {file.path[:6] for file in source.files()} == {"C-1/IM"}
    assert [(row.study, row.chosen, row.why) for row in source.chosen_series()] == [
        ("C-1", True, "the only one"),
        ("C-1", False, "contrast, by its name"),
    ]


def test_what_lies_beside_a_scan_is_passed_over_and_damage_is_listed(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,1")
    place = write_scan(tmp_path, "A", "1.1")
    values = np.full((4, 4), 1024)
    write_dicom(place / "report", values, change=lambda dataset: setattr(dataset, "Modality", "SR"))
    write_dicom(place / "screenshot", values, change=lambda dataset: delattr(dataset, "ImagePositionPatient"))
    (place / "Thumbs.db").write_bytes(b"no DICOM")
    (place / "broken.dcm").write_bytes(b"no DICOM")
    (place / "IM05 (copy)").write_bytes((place / "IM05").read_bytes())
    assert len(source.files()) == 20
    assert (source.audit()["other_files"], source.audit()["copies"]) == (3, 1)
    assert [(one.file, one.reason) for one in source.rejected()] == [("A/broken.dcm", "not_dicom")]


def test_studies_without_files_and_without_a_row_are_left_out_and_counted(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,1", "B,0,0,0,0,0")
    write_scan(tmp_path, "A", "1.1")
    write_scan(tmp_path, "other", "1.2")
    assert [(one.file, one.reason) for one in source.rejected()] == [("B", "no_file"), ("other", "no_label")]
    assert (source.audit()["labels_without_file"], source.audit()["files_without_label"]) == (1, 1)


def test_where_no_row_has_files_it_is_refused_with_what_the_files_are_called(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,1")
    write_scan(tmp_path, "other", "1.2")
    (tmp_path / "A.zip").write_bytes(b"PK")
    message = refusal(source)
    assert message.endswith("(1 zip in it: unpack first)")
    assert "labels.csv has 1 studies and none of them is among the 1 of the files" in message
    assert "the StudyInstanceUID (as 1.2) or the name of the study's folder" in message


def test_images_without_geometry_alone_are_refused_with_what_they_lack(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,1")
    write_scan(tmp_path, "A", "1.1", ImagePositionPatient=[])
    assert "A/IM01 has no usable ImagePositionPatient" in refusal(source)


def test_a_study_and_a_row_are_each_others_alone(tmp_path):
    two_visits = write_table(tmp_path / "1", "A,0,0,0,0,1")
    write_scan(tmp_path / "1", "A/first", "1.1")
    write_scan(tmp_path / "1", "A/second", "1.2")
    assert "line 2: the folder A holds 2 studies by StudyInstanceUID, expected one" in refusal(two_visits)
    twice = write_table(tmp_path / "2", "A,0,0,0,0,1", "B,0,0,0,0,0")
    write_scan(tmp_path / "2", "A", "1.1")
    write_scan(tmp_path / "2", "B", "1.1")
    assert "line 3: B has the StudyInstanceUID of A (line 2), expected a row a study" in refusal(twice)
    both = write_table(tmp_path / "3", "A,0,0,0,0,1", "1.1,0,0,0,0,0")
    write_scan(tmp_path / "3", "A", "1.1")
    assert "A/IM01 is of two rows of labels.csv, A (line 2) and 1.1 (line 3)" in refusal(both)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("B,0,0,0,0,2,1", "labels.csv, line 3: subdural is '2', expected 0 or 1"),
        (
            "B,0,maybe,0,0,0,1",
            "line 3: intraparenchymal is 'maybe', expected 0 or 1 (false or true, no or yes)",
        ),
        ("B,0,0,,0,0,0", "line 3: intraventricular is empty, expected 0 or 1"),
        ("B,0,0,0,0,1,", "line 3: any is empty, expected 0 or 1"),
        (",0,0,0,0,1,1", "line 3 has no study, expected its name in every row"),
        ("B,0,0,0,0,1", "line 3 has 6 columns, expected the 7 of the first line"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused_with_its_line(tmp_path, row, said):
    source = write_table(tmp_path, "A,0,0,0,0,0,0", row, header=f"{HEADER},any")
    message = refusal(source)
    assert said in message
    assert str(tmp_path / "labels.csv") in message


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (
            "B,0,0,0,0,1,0",
            "any_contradicts",
            "line 3 of labels.csv: any is 0 and subdural 1, expected any 1 or",
        ),
        (
            "B,0,0,0,0,0,1",
            "any_contradicts",
            "line 3 of labels.csv: any is 1 and every subtype 0, so its bleed",
        ),
    ],
)
def test_an_exam_whose_row_contradicts_itself_is_listed_with_its_line(tmp_path, row, reason, detail):
    source = write_table(tmp_path, "A,0,0,0,0,0,0", row, header=f"{HEADER},any")
    write_scan(tmp_path, "A", "1.1")
    write_scan(tmp_path, "B", "1.2")
    assert {Path(file.path).parent.name for file in source.files()} == {"A"}
    ((file, why, said),) = [(one.file, one.reason, one.detail) for one in source.rejected()]
    assert (file, why) == ("B", reason)
    assert said.startswith(detail)


def test_an_exam_with_two_rows_is_listed_where_they_differ_and_counted_where_they_do_not(tmp_path):
    source = write_table(tmp_path, "A,0,0,0,0,0", "B,0,0,0,0,1", "A,0,0,0,0,0", "B,1,0,0,0,1")
    write_scan(tmp_path, "A", "1.1")
    write_scan(tmp_path, "B", "1.2")
    assert len(source.files()) == 20
    assert (source.audit()["rows"], source.audit()["repeated_rows"]) == (4, 1)
    assert [(one.file, one.reason, one.detail) for one in source.rejected()] == [
        ("B", "contradicting_rows", "line 3 and line 5 of labels.csv label B differently: remove one")
    ]


def test_a_study_may_be_a_path_to_its_folder_as_windows_writes_it(tmp_path):
    source = write_table(
        tmp_path, r".\2024\A,0,0,0,0,1", f"{tmp_path}/2025/A/,1,0,0,0,0", r"2025\B,0,0,0,0,0"
    )
    write_scan(tmp_path, "2024/A/s", "1.1")
    write_scan(tmp_path, "2025/A", "1.2")
    assert labels_by_folder(source) == {"2024/A/s": {(0, 0, 0, 0, 1)}, "2025/A": {(1, 0, 0, 0, 0)}}
    assert [(one.file, one.reason, one.detail) for one in source.rejected()] == [
        (
            "2025/B",
            "no_file",
            "line 4 of labels.csv: 2025/B is no folder and no StudyInstanceUID of the files: mend it, or leave the row "
            "out",
        )
    ]


def test_a_row_without_its_patient_is_refused(tmp_path):
    source = write_table(tmp_path, "A,,0,0,0,0,1", header=HEADER.replace("study", "study,patient"))
    assert "line 2 has no patient" in refusal(source)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            HEADER.replace("study,", "scan,"),
            "labels.csv has no column file or study among 'scan', 'epidural', ",
        ),
        (
            HEADER.replace(",epidural", ""),
            "labels.csv has no column epidural among 'study', 'intraparenchymal', ",
        ),
        ("study,any", "(any alone is not enough: models name the subtypes)"),
        (
            HEADER.replace(",", "|"),
            "has no column file or study, epidural, intraparenchymal, intraventricular, ",
        ),
        (f"{HEADER},epidural", "labels.csv has 2 columns that may be epidural, epidural and epidural"),
        (HEADER, "labels.csv has no rows"),
        ("", "labels.csv is empty, expected a line with the columns' names and rows below"),
    ],
)
def test_columns_that_are_missing_are_named(tmp_path, header, said):
    assert said in refusal(write_table(tmp_path, header=header))


def test_what_is_no_table_is_refused(tmp_path):
    source = TableSource(str(tmp_path))
    assert "labels.csv does not exist, expected labels.csv and, anywhere below, DICOM files" in refusal(
        source
    )
    (tmp_path / "labels.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    assert "labels.csv can't be read as a table (it is a workbook), expected text: save" in refusal(source)
    source = TableSource(str(tmp_path))
    (tmp_path / "labels.csv").write_bytes(b'study,"epi"dural\n')
    assert "labels.csv, line 1 can't be read as a row (',' expected after" in refusal(source)
    assert "absent does not exist" in refusal(TableSource(str(tmp_path / "absent")))


def test_a_url_gives_the_same(tmp_path):
    by_path = write_table(tmp_path, "A,0,0,0,0,1")
    write_scan(tmp_path, "A", "1.1")
    by_url = TableSource(f"file://{tmp_path}")
    assert by_url.files() == by_path.files()
    assert by_url.read(by_url.files()[0]).hu.tolist() == by_path.read(by_path.files()[0]).hu.tolist()


def test_preprocess_makes_a_set_with_labels_of_studies_and_notes_what_is_left_out(
    workspace, tmp_path, capsys
):
    root = tmp_path / "ours"
    rows = [f"exam-{n},p{n // 2},0,0,0,0,{n % 2}" for n in range(8)]
    header = HEADER.replace("study", "study,patient")
    write_table(root, *rows, "exam-9,p9,0,0,0,0,1", header=header)
    for number in range(8):
        write_scan(root, f"exam-{number}", f"1.{number}")
    write_scan(root, "no row", "1.10")
    options = PreprocessOptions(source="table", data=str(root), out=str(tmp_path / "set"), workers=1)
    stored = preprocess(options)
    assert stored.manifest["label_level"] == "study"
    assert len(stored.table) == 160
    by_study = stored.table.groupby("study_uid")[["subdural", "patient_id"]].agg(["nunique", "first"])
    assert by_study["subdural", "nunique"].eq(1).all()
    assert by_study["subdural", "first"].astype(int).tolist() == [0, 1] * 4
    assert by_study["patient_id", "first"].tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert set(stored.table["split"]) == {"train", "validation", "test"}
    said = capsys.readouterr().out
    assert "note: 1 studies have labels and no files, the first exam-9: they are left out" in said
    assert "note: 1 studies have files and no labels, the first no row: they are left out" in said
    assert "series chosen: 8 of 8, one for each of 8 studies" in said
    assert pd.read_csv(tmp_path / "set" / "quarantine.csv")["reason"].tolist() == ["no_file", "no_label"]
    run = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    assert (run.data.metrics["source/exams"], run.data.metrics["source/other_files"]) == (8, 0)
    # who is who decides the split: a set of other patients is another set
    write_table(root, *[row.replace(",p3,", ",p9,") for row in rows], "exam-9,p9,0,0,0,0,1", header=header)
    with pytest.raises(DataError, match="made with other source files or labels"):
        preprocess(options)


def test_columns_that_are_not_used_are_named_once(tmp_path, capsys):
    source = write_table(tmp_path, "1.2,1,0,0,0,0,train,50", header=f"{HEADER},split,age")
    write_scan(tmp_path, "scan", "1.2")
    source.files()
    source.files()
    assert capsys.readouterr().out.count("labels.csv: columns that are not used: split, age") == 1
