from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ich_mlflow.errors import OutputError
from ich_mlflow.intake.files import InputFile
from ich_mlflow.models.family import Reading
from ich_mlflow.models.slice_cnn.reader import in_context
from ich_mlflow.prediction.score import passing_notes, read_score, score_series, write_score
from tests.factories import write_dicom
from tests.prediction.results import planned, score


class Network:
    """Says the mean of each slice and of its neighbours, in thousands of HU."""

    def __init__(self, context):
        self.specification = SimpleNamespace(reads_series=context > 0)
        self.context = context

    says_of_exams = False

    def predict_series(self, hu, position_mm):
        order = np.argsort(position_mm, kind="stable")
        places = in_context(order, self.context).reshape(len(hu), -1)
        said = np.empty(places.shape)
        said[order] = hu.mean(axis=(1, 2))[places] / 1000
        return Reading(said, np.array([hu.mean() / 1000]) if self.says_of_exams else None)


def series(folder, *, lost=(), position=lambda k: 5.0 * k):
    """Four slices of 100, 200, 300 and 400 HU, from the neck up."""
    files = []
    for k in range(4):

        def own(dataset, k=k):
            dataset.ImagePositionPatient = [0, 0, position(k)]

        values = np.full((256, 256), 1024 + 100 * (k + 1))
        path = write_dicom(folder / f"{k}.dcm", values, change=own)
        if k in lost:
            path.write_bytes(path.read_bytes()[:-1000])
        files.append(InputFile(name=path.name, path=path, num_bytes=1))
    return replace(
        planned(slices=4),
        files=tuple(files),
        sop_uids=("0", "1", "2", "3"),
        patient_ids=("ID_aaaaaaaa",) * 4,
        series_uid="ID_cccccccccc",
    )


def test_slices_are_scored_in_the_order_of_the_plan(tmp_path):
    found = score_series(series(tmp_path), Network(0))
    assert found.outputs == ((0.1,), (0.2,), (0.3,), (0.4,))
    assert found.errors == ("",) * 4
    assert found.warnings[0][-1].startswith("window only")


class LesionNetwork(Network):
    """Says that the right half of every slice is a subdural bleed."""

    blood_threshold = 0.25

    def predict_series(self, hu, position_mm):
        lesions = np.zeros((len(hu), 2, 2, 5), np.float32)
        lesions[:, :, 1, 4] = 1
        return Reading(np.zeros((len(hu), 1)), lesions=lesions)


def test_areas_of_blood_are_pixels_times_their_size(tmp_path):
    one = series(tmp_path, lost=(2,))
    found = score_series(one, LesionNetwork(0))
    # a quarter is reached at column 96 (test_lesion_maps.py); the factory's pixels are 0.5 x 0.4 mm, of 256 as stored
    area = 256 * 160 * 0.5 * 0.4
    assert found.blood_mm2[0] == (area, 0, 0, 0, 0, area)
    assert found.blood_mm2[2] == ()
    # three slices at 0, 5 and 15 mm stand for 5, 7.5 and 10 mm
    assert found.blood_ml(one.positions_mm)[0] == pytest.approx(area * 22.5 / 1000)
    write_score(tmp_path, "k", found)
    assert read_score(tmp_path, "k") == found
    assert score_series(one, Network(0)).blood_ml(one.positions_mm) is None


@pytest.mark.parametrize("known", [True, False])
def test_neighbours_are_those_of_the_plan_also_without_positions(tmp_path, known):
    one = series(tmp_path, position=lambda k: 5.0 * k if known else 0.0)
    if not known:
        object.__setattr__(one, "positions_mm", (float("nan"),) * 4)
    found = score_series(one, Network(1))
    assert found.outputs == ((0.1, 0.1, 0.2), (0.1, 0.2, 0.3), (0.2, 0.3, 0.4), (0.3, 0.4, 0.4))


def test_a_slice_that_cannot_be_read_keeps_its_place(tmp_path):
    found = score_series(series(tmp_path, lost=[1]), Network(1))
    assert found.outputs == ((0.1, 0.1, 0.3), (), (0.1, 0.3, 0.4), (0.3, 0.4, 0.4))
    assert [bool(error) for error in found.errors] == [False, True, False, False]
    assert "1.dcm" not in found.errors[1]
    assert found.usable.tolist() == [0, 2, 3]


def test_a_file_that_has_gone_is_a_slice_that_cannot_be_read(tmp_path):
    one = series(tmp_path)
    one.files[0].path.unlink()
    found = score_series(one, Network(0))
    assert found.errors[0].startswith("the file can't be read (No such file")
    assert found.may_pass
    assert not score_series(series(tmp_path, lost=[1]), Network(0)).may_pass


@pytest.mark.parametrize("tag", ["SOPInstanceUID", "SeriesInstanceUID", "PatientID"])
def test_a_file_that_holds_another_image_by_now_is_not_scored_under_the_first_ones_name(tmp_path, tag):
    one = series(tmp_path)
    write_dicom(
        tmp_path / "1.dcm", np.full((256, 256), 1100), change=lambda dataset: setattr(dataset, tag, "9.9")
    )
    found = score_series(one, Network(0))
    assert found.errors[1] == "the file holds another image than when it was chosen: run predict again"
    assert found.usable.tolist() == [0, 2, 3]
    assert found.may_pass


def test_an_answer_that_is_no_probability_scores_nothing_of_its_series(tmp_path):
    class Broken(Network):
        def predict_series(self, hu, position_mm):
            raise OutputError("the network's answer is no probability")

    found = score_series(series(tmp_path), Broken(1))
    assert found.outputs == ((),) * 4
    assert found.errors == ("the network's answer is no probability",) * 4
    assert found.may_pass
    write_score(tmp_path, "k", found)
    assert passing_notes(tmp_path) == [tmp_path / "k.json"]
    write_score(tmp_path, "k", score((0.1,)))
    assert passing_notes(tmp_path) == []


def test_what_is_said_of_the_series_is_of_its_usable_slices_and_comes_back_from_the_note(tmp_path):
    network = Network(1)
    network.says_of_exams = True
    found = score_series(series(tmp_path, lost=[3]), network)
    assert found.exam == (0.2,)
    assert found.of_series().tolist() == [[0.2]] * 3
    write_score(tmp_path, "k", found)
    assert read_score(tmp_path, "k") == found
    assert score_series(series(tmp_path), Network(1)).of_series() is None


def test_a_note_comes_back_as_it_was(tmp_path):
    assert read_score(tmp_path, "k") is None
    found = score((0.1, 0.2), (), warnings=[("doubtful",), ()])
    write_score(tmp_path, "k", found)
    assert read_score(tmp_path, "k") == found


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "{}",
        '{"outputs": [[0.1]], "warnings": [], "errors": [""]}',
        # of 0.1, whose numbers were calibrated
        '{"probabilities": [[0.1]], "warnings": [[]], "errors": [""]}',
    ],
)
def test_a_broken_note_is_none_so_that_the_series_is_scored_again(tmp_path, broken):
    (tmp_path / "k.json").write_text(broken)
    assert read_score(tmp_path, "k") is None
