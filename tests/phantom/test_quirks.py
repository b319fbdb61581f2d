import sys

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.errors import OptionError
from ich_mlflow.phantom import quirks
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.phantom.exam import make_exam
from ich_mlflow.sources.phantom import PhantomSource

#: Every kind twice over, and one of each fault.
OPTIONS = CohortOptions(exams=2 * len(quirks.KINDS), exam_rate=0.3, rows=64, quirks=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(cohort folder, stored set) of exams with every quirk."""
    folder = tmp_path_factory.mktemp("quirks")
    cohort = write_cohort(folder / "cohort", OPTIONS, workers=1, progress=False)
    return cohort, build_stored_set(
        PhantomSource(str(cohort)),
        folder / "set",
        BuildOptions(seed=0, workers=1, quarantine_limit=0.02),
        progress=False,
    )


def test_the_quarantine_list_names_exactly_the_planted_files_with_the_right_reasons(built):
    cohort, stored = built
    columns = ["file", "reason", "tag"]
    planted = pd.read_csv(cohort / quirks.PLANTED_FILE, keep_default_na=False)
    found = pd.read_csv(stored.path / "quarantine.csv", keep_default_na=False)
    assert sorted(map(tuple, planted[columns].to_numpy())) == sorted(map(tuple, found[columns].to_numpy()))
    # 17 faults of files, four of rows (repeats are none), a label without a file, the known damage
    assert len(found) == 23
    assert found["detail"].str.len().min() > 0


def test_everything_else_is_in_the_set(built):
    cohort, stored = built
    files = {path.stem for path in (cohort / "stage_2_train").iterdir()}
    rows = {name.rsplit("_", 1)[0] for name in pd.read_csv(cohort / "stage_2_train.csv")["ID"]}
    listed = pd.read_csv(stored.path / "quarantine.csv")["file"]
    planted = {name.removeprefix("stage_2_train/").removesuffix(".dcm") for name in listed}
    assert len(planted) == 23
    assert set(stored.table["sop_uid"]) == (files | rows) - planted


def test_every_pixel_is_right_to_the_hu_in_every_kind_and_both_vr_encodings(built):
    _, stored = built
    rows = dict(zip(stored.table["sop_uid"], stored.table.index, strict=True))
    compared = set()
    for number in range(2 * len(quirks.KINDS)):
        exam, kind = make_exam(OPTIONS, number), quirks.kind_of(number)
        expected = quirks.as_read(quirks.as_written(exam.hu, kind), kind)
        for hu, uid in zip(expected, exam.sop_uids, strict=True):
            if uid in rows:
                np.testing.assert_array_equal(
                    stored.hu(np.array([rows[uid]]))[0], to_stored_size(hu), kind.name
                )
                compared.add((kind.name, kind.encoding.syntax))
    assert {name for name, _ in compared} == {kind.name for kind in quirks.KINDS}
    assert {"implicit", "explicit", "deflated", "big_endian", "rle", "jpeg_ls"} <= {s for _, s in compared}


def test_repeated_positions_and_repeated_rows_are_counted(built):
    cohort, stored = built
    kinds = [quirks.kind_of(number).name for number in range(OPTIONS.exams)]
    assert stored.manifest["series"]["with_repeated_position"] == kinds.count("repeated z")
    assert (
        PhantomSource(str(cohort)).audit()["repeated_rows"] == 6 + 1
    )  # a slice's six, and the contradiction


def test_labels_are_those_of_the_exams(built):
    _, stored = built
    table = stored.table.set_index("sop_uid")
    for number in (0, 40, OPTIONS.exams - 1):
        exam = make_exam(OPTIONS, number)
        for uid, subtypes in zip(exam.sop_uids, exam.subtypes, strict=True):
            if uid in table.index:
                columns = ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"]
                assert table.loc[uid, columns].tolist() == subtypes.tolist()


def test_a_wrapped_file_holds_what_the_table_of_cases_says():
    kind = next(kind for kind in quirks.KINDS if kind.name == "wrapped, intercept 0")
    hu = np.array([[[-3024, -1024, -1000, -1, 0, 3095, 3200, 40]]], np.int16)
    assert quirks.as_read(hu, kind).tolist() == [[[-1000, -1000, -1000, -1, 0, 3095, 3095, 40]]]


@pytest.mark.parametrize(
    ("shape", "expected"), [((512, 512), (64, 64)), ((638, 490), (80, 61)), ((768, 768), (96, 96))]
)
def test_odd_sizes_are_scaled_with_the_exam_and_framed_with_padding(shape, expected):
    hu = np.full((1, 64, 64), 40, np.int16)
    written = quirks.as_written(hu, quirks.Kind(name="", shape=shape))
    assert written.shape == (1, *expected)
    assert (written == 40).sum() == min(64, expected[0]) * min(64, expected[1])


def test_nothing_but_the_list_says_what_is_wrong_with_files(tmp_path, capfd):
    """No warning of pydicom or a decoder reaches the terminal, from this process or others."""
    small = CohortOptions(exams=3, exam_rate=0.3, rows=64, quirks=True)
    source = PhantomSource(str(write_cohort(tmp_path / "cohort", small, workers=1, progress=False)))
    capfd.readouterr()
    for workers in (1, 2):
        options = BuildOptions(seed=0, quarantine_limit=1, workers=workers)
        build_stored_set(source, tmp_path / f"set-{workers}", options, progress=False)
    assert capfd.readouterr() == ("", "")


def test_without_the_encoder_quirks_are_refused_before_minutes_are_spent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdcm", None)
    with pytest.raises(OptionError, match="python-gdcm"):
        write_cohort(tmp_path / "cohort", OPTIONS, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_cohort_with_few_exams_has_every_fault_too():
    faults = [fault for number in range(3) for fault in quirks.faults_of(number, 3, 28).values()]
    assert sorted(faults) == sorted(quirks.FAULTS)
    with pytest.raises(ValueError, match="make more exams"):
        quirks.faults_of(0, 1, 20)
