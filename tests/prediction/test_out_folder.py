import stat

import pytest

from ich_mlflow.errors import DataError
from ich_mlflow.prediction.out_folder import OutFolder

SETTINGS = {"options": {"model": "models:/ich/1"}, "files": "abc"}


def test_what_is_finished_is_found_and_nothing_else_taken_for_it(tmp_path):
    out = OutFolder(tmp_path / "out")
    assert out.finished(SETTINGS) is None
    with out.open(SETTINGS):
        out.finish({"settings": SETTINGS, "counts": {}})
    assert out.finished(SETTINGS) == {"settings": SETTINGS, "counts": {}, "results": []}
    assert not out.work.exists()
    for changed in ({**SETTINGS, "files": "abd"}, {**SETTINGS, "options": {"model": "models:/ich/2"}}):
        with pytest.raises(DataError, match="other files, options or another model"):
            out.finished(changed)


def test_an_unfinished_one_goes_on_only_with_the_same_options(tmp_path):
    out = OutFolder(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), out.open(SETTINGS):
        raise KeyboardInterrupt
    assert out.finished(SETTINGS) is None
    with out.open({**SETTINGS, "files": "more came in"}):
        pass
    with (
        pytest.raises(DataError, match="unfinished prediction with other options"),
        out.open({"options": {}}),
    ):
        pass


def test_a_mistake_before_anything_was_scored_leaves_the_folder_free(tmp_path):
    out = OutFolder(tmp_path / "out")

    def fail():
        with out.open(SETTINGS):
            raise DataError("refused")

    with pytest.raises(DataError, match="refused"):
        fail()
    assert list(out.path.iterdir()) == []
    with out.open({"options": {}}):
        (out.notes / "abc.json").write_text("x")
    with pytest.raises(DataError, match="unfinished prediction with other options"):
        fail()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="is not empty and holds no prediction"):
        OutFolder(tmp_path).finished(SETTINGS)


def test_two_at_once_are_refused(tmp_path):
    out = OutFolder(tmp_path / "out")
    with (
        out.open(SETTINGS),
        pytest.raises(DataError, match="being written by another predict"),
        out.open(SETTINGS),
    ):
        pass


def test_where_the_input_has_changed_what_bears_numbers_of_studies_is_made_anew(tmp_path):
    out = OutFolder(tmp_path / "out")
    with out.open(SETTINGS):
        out.study_folder(1).mkdir(parents=True)
        kept = [out.notes / "abc.json", out.notes / "study-1.json", out.pictures / "study-1-1.jpg"]
        for path in kept:
            path.write_text("x")
    with out.open(SETTINGS):
        assert all(path.exists() for path in (*kept, out.study_folder(1)))
    with out.open({**SETTINGS, "files": "another"}):
        assert [path.exists() for path in (*kept, out.study_folder(1))] == [True, False, False, False]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(DataError, match="is a file: choose a folder"):
        OutFolder(tmp_path / "out").finished(SETTINGS)


def test_only_the_owner_may_look_in(tmp_path):
    (tmp_path / "out").mkdir(mode=0o755)
    with OutFolder(tmp_path / "out").open(SETTINGS):
        assert (tmp_path / "out").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("broken", ["", "{"])
def test_where_the_settings_are_broken_scores_of_whatever_model_are_not_gone_on_with(tmp_path, broken):
    out = OutFolder(tmp_path / "out")
    with out.open(SETTINGS):
        (out.notes / "abc.json").write_text("x")
    (out.work / "settings.json").write_text(broken)
    with out.open({"options": {}}):
        assert not list(out.notes.iterdir())


def test_a_broken_summary_is_written_again(tmp_path):
    out = OutFolder(tmp_path / "out")
    with out.open(SETTINGS):
        (out.path / "worklist.html").write_text("x")
        out.finish({"settings": SETTINGS})
    (out.path / "summary.json").write_text("")
    assert out.finished(SETTINGS) is None
    with out.open(SETTINGS):
        out.finish({"settings": SETTINGS})
    assert out.finished(SETTINGS) == {"settings": SETTINGS, "results": ["worklist.html"]}


def test_a_finished_one_whose_results_are_not_all_there_is_made_again(tmp_path):
    out = OutFolder(tmp_path / "out")
    with out.open(SETTINGS):
        (out.study_folder(1)).mkdir(parents=True)
        report = out.study_folder(1) / "findings.dcm"
        report.write_bytes(b"x")
        out.finish({"settings": SETTINGS})
    assert out.finished(SETTINGS)["results"] == ["dicom/study-0001/findings.dcm"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (report, out.path / "summary.json")] == [0o600] * 2
    report.unlink()
    assert out.finished(SETTINGS) is None


def test_one_that_may_find_more_is_gone_on_with_from_its_notes(tmp_path):
    out = OutFolder(tmp_path / "out")
    with out.open(SETTINGS):
        (out.notes / "k.json").write_text("{}")
        out.finish({"settings": SETTINGS, "may_pass": True})
    assert out.finished(SETTINGS) is None
    with out.open(SETTINGS):
        assert (out.notes / "k.json").exists()
        out.finish({"settings": SETTINGS, "may_pass": False})
    assert out.finished(SETTINGS)["results"] == []
    assert not out.work.exists()
