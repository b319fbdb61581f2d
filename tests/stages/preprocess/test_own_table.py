"""source=table, from phantom files and a table with columns of any names to a stored set."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.dicom.slice import parse_slice
from ich_mlflow.errors import DataError, OptionError, QuarantineError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.phantom.cohort import SLICES_FOLDER, TABLE_FILE, CohortOptions, write_cohort
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess, stored_set_folder

#: The names of a made-up hospital; the other three subtypes go by their usual short names.
COLUMNS = "epidural=EDB,intraparenchymal=ICB,any=Blutung"
LABELS = dict(zip((*SUBTYPES, ANY), ("EDB", "ICB", "IVH", "SAH", "SDH", "Blutung"), strict=True))


@dataclass(frozen=True)
class Written:
    """Phantom files, and of each slice (index) its study, patient and labels, as the project wrote them."""

    folder: Path
    slices: pd.DataFrame

    def rows(self, named: str, files: list[str]) -> pd.DataFrame:
        """A row a slice: its file in the column of that name, and its labels."""
        labels = self.slices[list(LABELS)].astype(int).reset_index(drop=True)
        return pd.concat([pd.Series(files, name=named), labels], axis=1)

    @property
    def files(self) -> list[str]:
        """Paths of the slices from the tables' folder."""
        return [f"{SLICES_FOLDER}/{uid}.dcm" for uid in self.slices.index]

    def table(self, name: str, rows: pd.DataFrame, *, delimiter: str = ";") -> str:
        """The path of a table of those rows beside the files, with the hospital's names of the labels."""
        path = self.folder / name
        rows.rename(columns=LABELS).to_csv(path, sep=delimiter, index=False, encoding="utf-8-sig")
        return str(path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    cohort = CohortOptions(exams=4, seed=1, exam_rate=0.6, rows=64)
    folder = write_cohort(tmp_path_factory.mktemp("own") / "files", cohort, workers=1, progress=False)
    told = pd.read_csv(folder / TABLE_FILE)
    parts = told["ID"].str.rsplit("_", n=1, expand=True)
    labels = told.assign(uid=parts[0], label=parts[1]).pivot(index="uid", columns="label", values="Label")
    for uid in labels.index:
        ct_slice = parse_slice((folder / SLICES_FOLDER / f"{uid}.dcm").read_bytes(), uid)
        labels.loc[uid, ["study", "patient"]] = ct_slice.study_uid, ct_slice.patient_id
    (folder / TABLE_FILE).unlink()
    return Written(folder, labels)


def options(data, out, **changed):
    return PreprocessOptions(
        source="table", data=data, out=str(out), workers=1, **{"columns": COLUMNS, **changed}
    )


def _newest():
    return mlflow.search_runs(["1"], max_results=1, output_format="list")[0]


def test_a_table_of_slices_becomes_a_set_with_their_labels(workspace, tmp_path, capsys, written):
    slices = written.slices
    rows = written.rows("Pfad", [file.replace("/", "\\") for file in written.files])
    rows.insert(1, "MRN", ("case " + slices["study"]).tolist())
    rows.loc[0, "Pfad"] += "x"  # a file that is not there
    rows.loc[1, ANY] = 1 - rows.loc[1, ANY]  # contradicts its subtypes
    stored = preprocess(
        options(written.table("s.csv", rows), tmp_path / "set", columns=f"file=Pfad,{COLUMNS}")
    )
    assert stored.manifest["label_level"] == "slice"
    used = slices.drop(slices.index[:2])
    table = stored.table.set_index("sop_uid").loc[used.index]
    assert len(stored.table) == len(used)
    for subtype in SUBTYPES:
        assert table[subtype].astype(int).tolist() == used[subtype].astype(int).tolist()
        assert table[subtype].sum() > 0
    assert table["patient_id"].tolist() == ("case " + used["study"]).tolist()
    assert table["study_uid"].tolist() == used["study"].tolist()
    listed = pd.read_csv(tmp_path / "set" / "quarantine.csv").set_index("reason")["detail"]
    assert listed["no_file"].startswith("line 2 of s.csv: ")
    assert listed["any_contradicts"].startswith("line 3 of s.csv: any is ")
    assert "left out 3 files: 1 any_contradicts, 1 no_file, 1 no_label" in capsys.readouterr().out
    metrics = _newest().data.metrics
    assert (metrics["source/rows"], metrics["source/slices"]) == (len(rows), len(used))
    assert metrics["quarantine/no_file"] == 1


def test_a_table_of_exams_becomes_a_set_whose_slices_have_their_exams_labels(workspace, tmp_path, written):
    exams = written.slices.groupby("study")[list(LABELS)].max().astype(bool)
    rows = pd.DataFrame(
        {"StudyInstanceUID": exams.index, **exams.replace({True: "yes", False: "No"}).to_dict("list")}
    )
    stored = preprocess(options(written.table("exams.csv", rows, delimiter="\t"), tmp_path / "set"))
    assert stored.manifest["label_level"] == "study"
    assert len(stored.table) == len(written.slices)
    for study, of_study in stored.table.groupby("study_uid"):
        assert np.unique(of_study[list(SUBTYPES)], axis=0).tolist() == [
            exams.loc[study, list(SUBTYPES)].tolist()
        ]
    by_patient = written.slices.groupby("study")["patient"].first()
    assert stored.table["patient_id"].tolist() == by_patient[stored.table["study_uid"]].tolist()


def test_too_many_rows_that_cannot_be_used_end_the_run_and_a_limit_lets_them_pass(
    workspace, tmp_path, written
):
    rows = written.rows("file", written.files)
    rows.loc[:4, ANY] = 1 - rows.loc[:4, ANY]
    data = written.table("many.csv", rows)
    with pytest.raises(QuarantineError, match=rf"5 of {len(rows)} slices can't be used so far"):
        preprocess(options(data, tmp_path / "set"))
    stored = preprocess(options(data, tmp_path / "set", quarantine_limit=0.2))
    assert stored.manifest["quarantine"] == {"any_contradicts": 5}


def test_the_set_is_found_again_and_other_labels_are_another_set(workspace, tmp_path, written):
    rows = written.rows("file", written.files)
    data = written.table("again.csv", rows)
    assert not preprocess(options(data, tmp_path / "set")).reused
    assert preprocess(options(data, tmp_path / "set")).reused
    assert StoredSet.open(tmp_path / "set").manifest["source_path"] == data
    rows.loc[0, "subdural"], rows.loc[0, ANY] = 1 - rows.loc[0, "subdural"], 1
    written.table("again.csv", rows.drop(columns=ANY))
    with pytest.raises(DataError, match="made with other source files or labels"):
        preprocess(options(data, tmp_path / "set", columns=COLUMNS.removesuffix(",any=Blutung")))


def test_columns_are_for_this_source_alone_and_name_the_set(tmp_path):
    for changed, said in (
        ({"source": "rsna", "columns": COLUMNS}, "expected with source=table, or auto"),
        ({"columns": "file"}, "columns is 'file', expected auto, or name=column with commas between"),
        ({"columns": "fil=a"}, "did you mean file?"),
    ):
        with pytest.raises(OptionError) as caught:
            PreprocessOptions(**{"source": "table", "data": str(tmp_path), **changed})
        assert said in str(caught.value)
    plain, named = (
        PreprocessOptions(source="table", data=str(tmp_path), columns=columns)
        for columns in ("auto", COLUMNS)
    )
    assert stored_set_folder(plain) != stored_set_folder(named)
