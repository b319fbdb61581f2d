from types import SimpleNamespace

import numpy as np
import pytest

from ich_mlflow.intake.files import InputFile
from ich_mlflow.prediction.score import read_score, score_series, write_score
from tests.factories import write_dicom
from tests.prediction.results import planned, score


class Network:
    """Says the mean of each channel, in thousands of HU."""

    def __init__(self, context):
        self.specification = SimpleNamespace(context=context)

    def probabilities(self, hu):
        return hu.mean(axis=(1, 2)) / 1000


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
    one = planned(slices=4)
    object.__setattr__(one, "files", tuple(files))
    return one


def test_slices_are_scored_in_the_order_of_the_plan(tmp_path):
    found = score_series(series(tmp_path), Network(0))
    assert found.probabilities == ((0.1,), (0.2,), (0.3,), (0.4,))
    assert found.errors == ("",) * 4
    assert found.warnings[0][-1].startswith("window only")


@pytest.mark.parametrize("position", [lambda k: 5.0 * k, lambda k: 0.0])
def test_neighbours_are_those_of_the_plan_also_without_positions(tmp_path, position):
    found = score_series(series(tmp_path, position=position), Network(1))
    assert found.probabilities == ((0.1, 0.1, 0.2), (0.1, 0.2, 0.3), (0.2, 0.3, 0.4), (0.3, 0.4, 0.4))


def test_a_slice_that_cannot_be_read_keeps_its_place(tmp_path):
    found = score_series(series(tmp_path, lost=[1]), Network(1))
    assert found.probabilities == ((0.1, 0.1, 0.3), (), (0.1, 0.3, 0.4), (0.3, 0.4, 0.4))
    assert [bool(error) for error in found.errors] == [False, True, False, False]
    assert "1.dcm" not in found.errors[1]
    assert found.usable.tolist() == [0, 2, 3]


def test_a_file_that_has_gone_is_a_slice_that_cannot_be_read(tmp_path):
    one = series(tmp_path)
    one.files[0].path.unlink()
    assert score_series(one, Network(0)).errors[0].startswith("the file can't be read (No such file")


def test_a_note_comes_back_as_it_was(tmp_path):
    assert read_score(tmp_path, "k") is None
    found = score((0.1, 0.2), (), warnings=[("doubtful",), ()])
    write_score(tmp_path, "k", found)
    assert read_score(tmp_path, "k") == found


@pytest.mark.parametrize(
    "broken", ["", "{", "{}", '{"probabilities": [[0.1]], "warnings": [], "errors": [""]}']
)
def test_a_broken_note_is_none_so_that_the_series_is_scored_again(tmp_path, broken):
    (tmp_path / "k.json").write_text(broken)
    assert read_score(tmp_path, "k") is None
