import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from ich_mlflow.errors import DataError
from ich_mlflow.sources.table import TableSource
from tests.factories import write_dicom

HEADER = "file,EDH,IPH,IVH,SAH,SDH"


def write_file(path: Path, uid: str, *, size: int = 4, **tags: Any) -> Path:
    """A slice of size x size pixels of the patient p1."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def describe(dataset: FileDataset) -> None:
        dataset.SOPInstanceUID, dataset.PatientID = uid, "p1"
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    values = np.full((size, size), 1024)
    values[-1, -1] = 0
    return write_dicom(path, values, change=describe)


def write_table(root: Path, *rows: str, header: str = HEADER, columns: str = "auto") -> TableSource:
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return TableSource(str(root), columns)


@pytest.fixture
def root(tmp_path):
    """scans/a.dcm (1.1), scans/b.dcm (1.2) and elsewhere the file c (1.3)."""
    write_file(tmp_path / "ours" / "scans" / "a.dcm", "1.1")
    write_file(tmp_path / "ours" / "scans" / "b.dcm", "1.2")
    write_file(tmp_path / "elsewhere" / "c", "1.3")
    return tmp_path / "ours"


def listed(source: TableSource) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(file.sop_uid, file.path, file.subtypes) for file in source.files()]


def rejected(source: TableSource) -> list[tuple[str, str]]:
    return [(one.file, one.reason) for one in source.rejected()]


def details(source: TableSource) -> list[str]:
    return [one.detail for one in source.rejected()]


def refusal(source: TableSource) -> str:
    with pytest.raises(DataError) as caught:
        source.files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_row_names_a_file_from_the_tables_folder_or_by_its_whole_path(root):
    elsewhere = root.parent / "elsewhere" / "c"
    rows = [r"scans\b.dcm,0,0,0,0,1", f"{root}/scans/a.dcm,1,0,0,0,0", f"{elsewhere},0,yes,No,TRUE,0.0"]
    source = write_table(root, *rows)
    assert listed(source) == [
        ("1.1", "scans/a.dcm", (1, 0, 0, 0, 0)),
        ("1.2", "scans/b.dcm", (0, 0, 0, 0, 1)),
        ("1.3", str(elsewhere), (0, 1, 0, 1, 0)),
    ]
    assert (source.label_level, source.rejected()) == ("slice", ())
    copy = pickle.loads(pickle.dumps(source))
    ct_slice = copy.read(copy.files()[2])
    assert (ct_slice.sop_uid, ct_slice.patient_id, ct_slice.hu[0, 0]) == ("1.3", "p1", 0)


@pytest.mark.parametrize("given", ["folder", "table", "url"])
def test_the_table_may_be_given_itself_and_has_any_name(root, given):
    write_table(root, "scans/a.dcm,1,0,0,0,0")
    (root / "labels.csv").rename(root / "reads 2024.TSV")
    place = {"folder": str(root), "table": f"{root}/reads 2024.TSV", "url": f"file://{root}"}[given]
    assert listed(TableSource(place)) == [("1.1", "scans/a.dcm", (1, 0, 0, 0, 0))]


def test_of_several_tables_one_must_be_named(root):
    for name in ("b.csv", "a.csv"):
        (root / name).write_text(HEADER)
    assert (
        f"{root} has 2 tables (a.csv, b.csv), expected one, or labels.csv: pass -P data={root}/a.csv"
        in refusal(TableSource(str(root)))
    )


def test_columns_of_any_name_are_taken_where_they_are_said(root):
    header = "Pfad;Fall;außen;innen;IVH;SAH;SDH"
    columns = "file=Pfad,patient=Fall,epidural=außen,intraparenchymal=INNEN"
    source = write_table(root, "scans/a.dcm;007;1;0;0;0;1", header=header, columns=columns)
    assert listed(source) == [("1.1", "scans/a.dcm", (1, 0, 0, 0, 1))]
    first = pickle.loads(pickle.dumps(source)).files()[0]
    assert source.read(first).patient_id == "007"


def test_a_file_that_is_not_there_is_listed_with_its_line_and_the_nearest_name(root):
    source = write_table(root, "scans/a.dcm,1,0,0,0,0", "scans/bb.dcm,0,0,0,0,0", "other/c.dcm,0,0,0,0,0")
    assert rejected(source) == [
        ("other/c.dcm", "no_file"),
        ("scans/b.dcm", "no_label"),
        ("scans/bb.dcm", "no_file"),
    ]
    assert details(source)[0] == (
        "line 4 of labels.csv: other/c.dcm is not there, expected a file with that path: mend it, or leave the row out"
    )
    assert details(source)[2].startswith("line 3 of labels.csv: scans/bb.dcm is not there, ")
    assert details(source)[2].endswith(" (did you mean scans/b.dcm or scans/a.dcm?)")
    counts = source.audit()
    assert (counts["rows"], counts["slices"]) == (3, 1)
    assert (counts["labels_without_file"], counts["files_without_label"]) == (2, 1)


def test_other_digits_are_another_file_and_no_suggestion(root):
    # following it would give one patient's label to another patient's slice
    source = write_table(root, "scans/a.dcm,1,0,0,0,0", "scans/a1.dcm,0,0,0,0,0")
    (line,) = [detail for detail in details(source) if "a1.dcm" in detail]
    assert "did you mean" not in line


def test_where_no_file_is_there_the_run_ends_with_what_was_looked_for(root):
    message = refusal(write_table(root, r"C:\scans\a.dcm,1,0,0,0,0", "x.dcm,0,0,0,0,0"))
    assert (
        "labels.csv names 2 files and none of them is there, the first C:/scans/a.dcm (a path of Windows) on line 2"
        in (message)
    )
    assert (
        f"expected paths from {root} or whole ones: mend the column file, or if it names studies" in message
    )


def test_what_cannot_be_used_is_listed_with_its_line_and_the_others_go_on(root):
    write_file(root / "scans" / "mr.dcm", "1.4", Modality="MR")
    write_file(root / "scans" / "nowhere.dcm", "1.5", ImagePositionPatient=[])
    (root / "scans" / "text.dcm").write_text("no DICOM")
    names = ("a", "mr", "nowhere", "text")
    source = write_table(root, *(f"scans/{name}.dcm,0,0,0,0,1" for name in names), "scans,0,0,0,0,0")
    assert [uid for uid, *_ in listed(source)] == ["1.1"]
    assert rejected(source) == [
        ("scans", "unreadable"),
        ("scans/b.dcm", "no_label"),
        ("scans/mr.dcm", "not_ct"),
        ("scans/nowhere.dcm", "no_geometry"),
        ("scans/text.dcm", "not_dicom"),
    ]
    assert details(source)[2].startswith(
        f"line 3 of labels.csv: {root}/scans/mr.dcm has a Modality other than CT"
    )


def test_where_nothing_can_be_used_the_run_ends_with_the_first_reason(root):
    write_file(root / "scans" / "a.dcm", "1.1", Modality="MR")
    message = refusal(write_table(root, "scans/a.dcm,0,0,0,0,1"))
    assert "labels.csv names no slice that can be used; the first: line 2 of labels.csv: " in message


def test_one_file_or_one_image_with_two_labels_is_listed_and_copies_are_counted(root):
    for name, uid, size in (("a2", "1.1", 6), ("b2", "1.2", 4), ("d", "1.4", 4)):
        write_file(root / "scans" / f"{name}.dcm", uid, size=size)
    source = write_table(
        root,
        "scans/a.dcm,1,0,0,0,0",
        "scans/a2.dcm,1,0,0,0,0",  # a copy of a, larger
        "scans/b.dcm,1,0,0,0,0",
        "scans/b2.dcm,0,0,0,0,0",  # a copy of b, labelled otherwise
        "scans/d.dcm,0,0,0,0,0",
        "./scans/d.dcm,0,0,0,0,1",  # the same file
        "scans/a.dcm,1,0,0,0,0",
    )
    assert listed(source) == [("1.1", "scans/a2.dcm", (1, 0, 0, 0, 0))]
    assert rejected(source) == [(f"scans/{name}.dcm", "contradicting_rows") for name in ("b", "b2", "d")]
    image = "line 4 and line 5 of labels.csv label one image (SOPInstanceUID) differently: remove one"
    file = "line 6 and line 7 of labels.csv label scans/d.dcm differently: remove one"
    assert details(source) == [image, image, file]
    counts = source.audit()
    assert (counts["rows"], counts["repeated_rows"], counts["copies"], counts["slices"]) == (7, 1, 1, 1)


def test_an_any_that_contradicts_its_subtypes_is_listed(root):
    source = write_table(root, "scans/a.dcm,1,0,0,0,0,1", "scans/b.dcm,0,0,0,0,1,0", header=f"{HEADER},any")
    assert rejected(source) == [("scans/b.dcm", "any_contradicts")]
    assert details(source)[0].startswith(
        "line 3 of labels.csv: any is 0 and subdural 1, expected any 1 or no"
    )
    only = write_table(root, "scans/a.dcm,0,0,0,0,0,1", header=f"{HEADER},any")
    assert (
        "labels.csv has 1 rows and none can be used; the first: line 2 of labels.csv: any is 1 and every"
        in refusal(only)
    )


def test_cells_that_cannot_be_read_are_told_in_one_line_by_the_tables_own_names(root):
    rows = ["scans/a.dcm,2,0,0,0,0", "scans/b.dcm,0,,0,0,0", ",0,0,0,0,0", "x,-1,0,0,0,0", "y,u,0,0,0,0"]
    message = refusal(write_table(root, *rows))
    assert (
        "labels.csv, line 2: EDH is '2', expected 0 or 1 (false or true, no or yes): write what is" in message
    )
    assert "; line 3: IPH is empty, expected 0 or 1 " in message
    assert "; line 4 has no file, expected its name in every row: fill it in; and 2 faults more" in message


def test_a_file_without_a_patient_needs_one_in_the_table(root):
    write_file(root / "scans" / "a.dcm", "1.1", PatientID="")
    message = refusal(write_table(root, "scans/a.dcm,1,0,0,0,0"))
    assert "labels.csv, line 2: scans/a.dcm has no PatientID and the table no column patient" in message
    named = write_table(root, "scans/a.dcm,1,0,0,0,0,anna", header=f"{HEADER},MRN")
    assert named.read(named.files()[0]).patient_id == "anna"


def test_the_same_files_elsewhere_are_the_same_listing(root, tmp_path):
    source = write_table(root, "scans/a.dcm,1,0,0,0,0", f"{root}/scans/b.dcm,0,0,0,0,0")
    before = listed(source)
    shutil.copytree(root, tmp_path / "copy")
    again = write_table(tmp_path / "copy", "scans/a.dcm,1,0,0,0,0", f"{tmp_path}/copy/scans/b.dcm,0,0,0,0,0")
    assert listed(again) == before
