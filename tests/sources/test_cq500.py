import pickle

import mlflow
import pytest

from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.sources.cq500 import Cq500Source
from ich_mlflow.stages.common.training_data import check_labels
from ich_mlflow.stages.preprocess.options import PreprocessOptions
from ich_mlflow.stages.preprocess.preprocess import preprocess
from tests.sources.cq500_tree import HEADER, SUBDURAL, read_row, write_reads, write_series

NOTHING = ()


def one_exam(root, *reads, series=("CT Plain",), **how):
    """A folder with exam 42."""
    write_reads(root, [read_row(42, *(reads or (NOTHING,) * 3))])
    for name in series:
        write_series(root, 42, name, **how)
    return Cq500Source(str(root))


def refusal(source) -> str:
    with pytest.raises(DataError) as caught:
        source.files()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_slice_of_the_exam_has_what_two_of_three_readers_say(tmp_path):
    reads = (("ICH", "SDH", "EDH"), ("ICH", "SDH", "IVH"), ("ICH", "IVH", "IPH"))
    files = one_exam(tmp_path, *reads).files()
    assert len(files) == 20
    # two say SDH, two IVH; one says EDH, one IPH, none SAH
    assert {file.subtypes for file in files} == {(0, 0, 1, 0, 1)}


def test_columns_are_put_in_the_order_of_the_subtypes(tmp_path):
    write_reads(
        tmp_path, [read_row(n, (label,), (label,), ()) for n, label in enumerate(("EDH", "IPH", "SAH"))]
    )
    for exam in range(3):
        write_series(tmp_path, exam, "CT Plain")
    files = Cq500Source(str(tmp_path)).files()
    labels = {file.path.split("/")[0]: file.subtypes for file in files}
    assert list(labels.values()) == [(1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)]


def test_majorities_that_contradict_each_other_are_counted_and_the_subtypes_stand(tmp_path):
    write_reads(
        tmp_path,
        [
            read_row(1, ("ICH", "SDH"), ("ICH", "IPH"), ("ICH", "SAH")),  # all see blood, and no two the same
            read_row(2, ("SDH",), ("SDH",), ("SDH",)),
            read_row(3, SUBDURAL, SUBDURAL, NOTHING),
        ],
    )
    for exam in (1, 2, 3):
        write_series(tmp_path, exam, "CT Plain")
    source = Cq500Source(str(tmp_path))
    assert (source.audit()["ich_without_subtype"], source.audit()["subtype_without_ich"]) == (1, 1)
    labels = {file.path.split("/")[0]: file.subtypes for file in source.files()}
    assert list(labels.values()) == [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1)]
    assert source.audit()["exams"] == 3
    assert source.audit()["slices"] == 60


def test_an_exam_is_found_wherever_it_lies_and_is_named_as_in_the_table(tmp_path):
    source = one_exam(tmp_path, SUBDURAL, SUBDURAL, SUBDURAL, parent="archives/qct07")
    first = source.files()[0]
    assert first.path.startswith("archives/qct07/CQ500CT42 CQ500CT42/Unknown Study/CT Plain/CT0000")
    ct_slice = source.read(next(file for file in source.files() if file.path.endswith("CT000003.dcm")))
    assert ct_slice.patient_id == "CQ500-CT-42"  # though the file has none
    assert (ct_slice.position_mm, ct_slice.hu[0, 0]) == (-12, 3)
    assert (source.name, source.label_level) == ("cq500", "study")


def test_the_thin_plain_series_is_chosen_and_it_is_said_why(tmp_path):
    source = one_exam(tmp_path, series=())
    write_series(tmp_path, 42, "CT 5mm", slices=24, step_mm=5)
    write_series(tmp_path, 42, "CT PRE CONTRAST THIN", slices=50, step_mm=2.5)
    write_series(tmp_path, 42, "CT POST CONTRAST THIN", slices=100, step_mm=1.25)
    write_series(tmp_path, 42, "CT BONE", slices=100, step_mm=1.25)
    assert {file.path.split("/")[-2] for file in source.files()} == {"CT PRE CONTRAST THIN"}
    rows = {row.series.split("/")[-1]: row for row in source.chosen_series()}
    assert [row.study for row in rows.values()] == ["CQ500-CT-42"] * 4
    assert {name: (row.step_mm, row.num_slices, row.chosen, row.why) for name, row in rows.items()} == {
        "CT 5mm": (5.0, 24, False, "there is a thinner one"),
        "CT PRE CONTRAST THIN": (2.5, 50, True, "the best of several"),
        "CT POST CONTRAST THIN": (1.25, 100, False, "contrast, by its name"),
        "CT BONE": (1.25, 100, False, "bone kernel, and there is another"),
    }


def test_two_series_in_one_folder_are_told_apart_and_so_is_a_localizer(tmp_path):
    source = one_exam(tmp_path, series=())
    write_series(tmp_path, 42, "CT Plain", uid="1.42.7", slices=20, step_mm=6)
    write_series(tmp_path, 42, "CT Plain", uid="1.42.8", slices=30, step_mm=4, first=101)
    scout = {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
    }
    write_series(tmp_path, 42, "CT Plain", uid="1.42.8", slices=1, first=201, tags=scout)
    assert [row.num_slices for row in source.chosen_series() if row.chosen] == [30]
    assert {row.why for row in source.chosen_series()} >= {"localizer"}
    assert {file.sop_uid.rsplit(".", 1)[0] for file in source.files()} == {"1.42.8"}


def test_an_exam_without_a_series_that_will_do_is_listed_with_the_reasons(tmp_path):
    write_reads(tmp_path, [read_row(1, (), (), ()), read_row(2, (), (), ())])
    write_series(tmp_path, 1, "CT Plain")
    write_series(tmp_path, 2, "CT POST CONTRAST")
    write_series(tmp_path, 2, "CT Plain", slices=9)
    source = Cq500Source(str(tmp_path))
    assert len(source.files()) == 20
    (one,) = source.rejected()
    assert (one.file, one.reason) == ("CQ500CT2 CQ500CT2", "no_series")
    assert "CT POST CONTRAST: contrast, by its name; CT Plain: 9 slices of 54 mm" in one.detail


def test_where_no_exam_has_a_series_that_will_do_it_is_refused(tmp_path):
    message = refusal(one_exam(tmp_path, series=("CT POST CONTRAST",)))
    assert "no exam that can be used" in message
    assert "CT POST CONTRAST: contrast, by its name" in message


def test_exams_without_a_folder_and_folders_without_reads_are_listed(tmp_path):
    write_reads(tmp_path, [read_row(1, (), (), ()), read_row(2, (), (), ())])
    write_series(tmp_path, 1, "CT Plain")
    write_series(tmp_path, 3, "CT Plain")
    (tmp_path / "CQ500CT4 CQ500CT4").mkdir()  # an archive that was not unpacked whole
    source = Cq500Source(str(tmp_path))
    assert [(one.file, one.reason) for one in source.rejected()] == [
        ("CQ500-CT-2", "no_file"),
        ("CQ500CT3 CQ500CT3", "no_label"),
    ]
    assert (source.audit()["labels_without_file"], source.audit()["files_without_label"]) == (1, 1)


def test_a_damaged_file_of_the_chosen_series_is_listed_and_one_of_another_is_nothing(tmp_path):
    source = one_exam(tmp_path, series=("CT Plain", "CT POST CONTRAST"))
    for name in ("CT Plain", "CT POST CONTRAST"):
        (tmp_path / "CQ500CT42 CQ500CT42" / "Unknown Study" / name / "CT000007.dcm").write_text("no DICOM")
    assert len(source.files()) == 19
    assert [(one.file.split("/")[-2:], one.reason) for one in source.rejected()] == [
        (["CT Plain", "CT000007.dcm"], "not_dicom")
    ]


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path):
    source = one_exam(tmp_path)
    first, second = (tmp_path / file.path for file in source.files()[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(SliceError, match="holds another slice than when it was listed") as caught:
        source.read(source.files()[0])
    assert caught.value.reason == "another_slice"


def test_exact_repeats_are_dropped_and_contradicting_reads_listed(tmp_path):
    same, other = read_row(1, (), (), ()), read_row(2, (), (), ())
    write_reads(tmp_path, [same, same, other, read_row(2, SUBDURAL, SUBDURAL, ())], header="\ufeff" + HEADER)
    for exam in (1, 2):
        write_series(tmp_path, exam, "CT Plain")
    source = Cq500Source(str(tmp_path))
    assert source.audit()["repeated_rows"] == 1
    assert [(one.file, one.reason) for one in source.rejected()] == [
        ("CQ500CT2 CQ500CT2", "contradicting_rows")
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (read_row(2, (), (), ()).replace("CQ500-CT-2", "CT-2"), "1 unreadable rows, the first on line 3"),
        (read_row(2, (), (), ()).replace("B1,0", "B1,2"), "the first on line 3, expected CQ500-CT-<n>"),
        (read_row(2, (), (), ()).replace("B1,0", "B1,"), "the first on line 3"),
        (read_row(2, (), (), ()) + ",1,1", "can't be read"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(tmp_path, row, said):
    write_reads(tmp_path, [read_row(1, (), (), ()), row])
    assert said in refusal(Cq500Source(str(tmp_path)))


def test_a_table_without_its_columns_is_refused_with_what_is_missing(tmp_path):
    write_reads(tmp_path, ["CQ500-CT-1,1"], header="name,R1:ICH")
    message = refusal(Cq500Source(str(tmp_path)))
    assert "R1:EDH" in message
    assert "R1:ICH," not in message.split(", expected")[0]


def test_what_is_no_cq500_is_refused_with_the_expected_layout(tmp_path):
    (tmp_path / "anything").touch()
    assert "reads.csv does not exist, expected reads.csv and, anywhere below, CQ500CT<n>" in refusal(
        Cq500Source(str(tmp_path))
    )
    write_reads(tmp_path, [])
    assert "no rows" in refusal(Cq500Source(str(tmp_path)))
    write_reads(tmp_path, [read_row(1, (), (), ())])
    (tmp_path / "CQ500-CT-1.zip").touch()
    assert refusal(Cq500Source(str(tmp_path))).endswith("(1 zip in it: unpack first)")
    assert "image files of 0 exams and usable labels in reads.csv for 1, and none in common" in refusal(
        Cq500Source(str(tmp_path))
    )
    assert "absent" in refusal(Cq500Source(str(tmp_path / "absent")))


def test_a_url_gives_the_same_and_a_pickled_source_carries_only_its_path(tmp_path):
    by_path = one_exam(tmp_path, SUBDURAL, SUBDURAL, SUBDURAL)
    by_url = Cq500Source(f"file://{tmp_path}")
    assert by_url.files() == by_path.files()
    assert by_url.read(by_url.files()[0]).hu.tolist() == by_path.read(by_path.files()[0]).hu.tolist()
    assert len(pickle.dumps(by_path)) < 500
    assert pickle.loads(pickle.dumps(by_path)) == by_path


def test_preprocess_logs_the_choice_and_train_refuses_the_set(workspace, tmp_path, capsys):
    write_reads(tmp_path / "cq500", [read_row(n, (), SUBDURAL, SUBDURAL) for n in (1, 2)])
    for exam in (1, 2):
        write_series(tmp_path / "cq500", exam, "CT Plain")
        write_series(tmp_path / "cq500", exam, "CT 4cc sec 150cc D3D on", slices=200, step_mm=0.625)
    stored = preprocess(
        PreprocessOptions(
            source="cq500",
            data=str(tmp_path / "cq500"),
            out=str(tmp_path / "set"),
            external=True,
            workers=1,
        )
    )
    assert "series chosen: 2 of 4, one for each of 2 studies (series_choice.json" in capsys.readouterr().out
    run = mlflow.search_runs(["1"], max_results=1, output_format="list")[0]
    table = mlflow.load_table("series_choice.json", run_ids=[run.info.run_id])
    assert table["chosen"].tolist() == [False, True] * 2
    assert set(stored.table["patient_id"]) == {"CQ500-CT-1", "CQ500-CT-2"}
    assert (stored.manifest["label_level"], stored.manifest["counts"]["test"]["subdural_slices"]) == (
        "study",
        40,
    )
    with pytest.raises(DataError, match="has labels of whole studies, expected one a slice"):
        check_labels(stored, stored.rows("train"), None, missing="refuse")
