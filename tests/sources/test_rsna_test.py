import pickle

import pytest

from ich_mlflow.errors import DataError
from ich_mlflow.labels import ANY, SUBTYPES
from ich_mlflow.sources.rsna import RsnaTestSource
from ich_mlflow.stages.common.training_data import check_labels
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from tests.factories import NO_BLEED, write_dicom

A, B, C = "ID_00000000a", "ID_00000000b", "ID_00000000c"


def submission(sop_uid) -> list[str]:
    return [f"{sop_uid}_{label},0.5" for label in (*SUBTYPES, ANY)]


def folder_with(root, rows, *, files=(A,)):
    (root / "stage_2_test").mkdir(parents=True, exist_ok=True)
    (root / "stage_2_sample_submission.csv").write_text("\n".join(["ID,Label", *rows]) + "\n")
    for number, sop_uid in enumerate(files):
        write_dicom(root / "stage_2_test" / f"{sop_uid}.dcm", [[1064 + number, 0]])
    return RsnaTestSource(root)


def test_every_slice_of_the_submission_is_listed_without_a_bleed(tmp_path):
    source = folder_with(tmp_path, submission(B) + submission(A), files=(A, B))
    assert [(file.sop_uid, file.path, file.subtypes) for file in source.files()] == [
        (A, f"stage_2_test/{A}.dcm", NO_BLEED),
        (B, f"stage_2_test/{B}.dcm", NO_BLEED),
    ]
    assert source.read(source.files()[0]).hu.tolist() == [[40, -1024]]
    assert (source.label_level, source.audit()["rows"]) == ("none", 12)
    assert pickle.loads(pickle.dumps(source)) == source


def test_numbers_in_the_label_column_do_not_matter(tmp_path):
    rows = [row.replace("0.5", "1") for row in submission(A)]
    assert folder_with(tmp_path, rows).files()[0].subtypes == NO_BLEED


def test_what_lacks_rows_or_a_file_is_listed(tmp_path):
    source = folder_with(tmp_path, submission(A) + submission(B)[:5] + submission(C), files=(A, B))
    assert [(one.file, one.reason) for one in source.rejected()] == [
        (C, "no_file"),
        (f"stage_2_test/{B}.dcm", "missing_rows"),
    ]


@pytest.mark.parametrize("row", ["ID_x_any,0.5", f"{A},0.5", f"{A}_brain,0.5"])
def test_a_row_that_cannot_be_read_is_refused_with_its_line(tmp_path, row):
    with pytest.raises(DataError, match=r"sample_submission\.csv has 1 rows.*line 8.*<subtype>,<number>"):
        folder_with(tmp_path, [*submission(A), row]).files()


def test_the_training_table_is_not_the_submission(tmp_path):
    source = folder_with(tmp_path, submission(A))
    (tmp_path / "stage_2_sample_submission.csv").rename(tmp_path / "stage_2_train.csv")
    with pytest.raises(DataError, match=r"stage_2_sample_submission\.csv does not exist"):
        source.files()


def test_the_set_says_that_it_has_no_labels_and_cannot_be_trained_on(workspace, tmp_path):
    folder_with(tmp_path / "rsna", submission(A) + submission(B), files=(A, B))
    stored = preprocess(
        PreprocessOptions(
            source="rsna-test",
            data=str(tmp_path / "rsna"),
            out=str(tmp_path / "set"),
            external=True,
            workers=1,
        )
    )
    assert stored.manifest["label_level"] == "none"
    assert set(stored.table["split"]) == {"test"}
    with pytest.raises(DataError, match="has no labels, expected one a slice"):
        check_labels(stored, stored.rows("train"), None, missing="refuse")
