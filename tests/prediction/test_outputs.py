import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import highdicom as hd
import numpy as np
import pydicom
import pytest

from ich_mlflow.dicom.findings import Algorithm
from ich_mlflow.models.family import Reading
from ich_mlflow.prediction.out_folder import OutFolder
from ich_mlflow.prediction.outputs import OutputOptions, made_outputs, make_outputs
from ich_mlflow.prediction.pictures import Chosen, draw, page_picture
from ich_mlflow.prediction.verdict import judge
from ich_mlflow.serving.request import Asked
from tests.factories import write_dicom
from tests.prediction.results import planned, score, study
from tests.serving.test_response import _answerer

OPTIONS = OutputOptions(
    pictures=2,
    dicom=True,
    algorithm=Algorithm(model_name="ich", model_version="1", operating_point="max_f1", project_version="0"),
)
HIGH = (0.1, 0.9, 0.1, 0.1, 0.1)


class Network:
    """Says nothing of its own: a map with one bright place."""

    specification = _answerer(5).specification
    can_explain = True
    finds_blood = False

    def explained(self, hu):
        return np.zeros((1, 5)), np.eye(3)[None, None].repeat(5, axis=1)


@pytest.fixture
def out(tmp_path):
    out = OutFolder(tmp_path / "out")
    with out.open({}):
        yield out


def flagged(folder, *, slices=2, size=64, change=lambda dataset: None):
    files = []
    for k in range(slices):

        def own(dataset, k=k):
            dataset.ImagePositionPatient = [0, 0, 5.0 * k]
            change(dataset)

        path = write_dicom(folder / f"{k}.dcm", np.arange(size * size).reshape(size, size) % 2000, change=own)
        files.append(SimpleNamespace(name=path.name, path=path, num_bytes=1, stamp=0))
    series = replace(
        planned(slices=slices),
        files=tuple(files),
        sop_uids=tuple(str(k) for k in range(slices)),
        patient_ids=("ID_aaaaaaaa",) * slices,
        series_uid="ID_cccccccccc",
    )
    return judge(study(series), {"k": score(*[HIGH] * slices)}, _answerer(5), Asked(operating_point="max_f1"))


def test_small_images_are_enlarged_and_all_is_made_once(out, tmp_path):
    result = flagged(tmp_path)
    assert made_outputs(out, result) is None
    make_outputs(Network(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert (len(made.pictures), made.dicom, made.why_none) == (2, 3, "")
    capture = pydicom.dcmread(out.study_folder(1) / "heat-map-01.dcm")
    assert capture.Columns == 256
    assert all((out.pictures / name).read_bytes()[:2] == b"\xff\xd8" for _, name in made.pictures)


def test_files_that_have_gone_cost_the_pictures_and_no_traceback(out, tmp_path):
    result = flagged(tmp_path)
    for path in tmp_path.glob("*.dcm"):
        path.unlink()
    make_outputs(Network(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert (made.pictures, made.dicom) == ((), 0)
    assert made.why_none.startswith("no DICOM could be made of it")
    assert "0.dcm" not in made.why_none
    assert not out.study_folder(1).exists()


def test_a_study_without_a_uid_has_pictures_and_no_dicom(out, tmp_path):
    result = flagged(tmp_path, change=lambda dataset: setattr(dataset, "StudyInstanceUID", ""))
    make_outputs(Network(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert (len(made.pictures), made.dicom) == (2, 0)
    assert "StudyInstanceUID" in made.why_none


def test_what_an_earlier_start_made_of_that_number_goes(out, tmp_path):
    out.study_folder(1).mkdir(parents=True)
    (out.study_folder(1) / "heat-map-09.dcm").write_text("of another patient")
    make_outputs(Network(), flagged(tmp_path), out, OPTIONS)
    assert sorted(path.name for path in out.study_folder(1).iterdir()) == [
        "findings.dcm", "heat-map-01.dcm", "heat-map-02.dcm",
    ]  # fmt: skip


def test_notes_are_whole(out, tmp_path):
    result = flagged(tmp_path)
    make_outputs(Network(), result, out, OPTIONS)
    (note,) = out.notes.glob("study-*.json")
    assert json.loads(note.read_text())["dicom"] == 3
    assert not list(out.notes.glob("*.part"))


class FindsMost(Network):
    """Its map of each label is bright in a place of its own, along the diagonal."""

    def explained(self, hu):
        maps = np.zeros((1, 5, 8, 8))
        for label in range(5):
            maps[0, label, label, label] = 1.0
        return np.zeros((1, 5)), maps


def test_the_map_of_any_is_that_of_the_output_which_speaks_most_for_it(tmp_path):
    # the network has no output of any; intraparenchymal, the second label, is its highest
    result = flagged(tmp_path, slices=1, size=256)
    slice_ = result.slices[0]
    of_any, of_label = (
        draw([Chosen(slice=slice_, label=label)], result, FindsMost())[0].heat_map
        for label in ("any", "intraparenchymal")
    )
    other = draw([Chosen(slice=slice_, label="subdural")], result, FindsMost())[0].heat_map
    np.testing.assert_array_equal(of_any, of_label)
    assert (of_any != other).any()


class Unexplained(Network):
    """Of a family without heat maps."""

    can_explain = False

    def explained(self, hu):
        raise AssertionError("asked for what it does not have")


def test_of_a_model_without_heat_maps_slices_are_shown_as_they_are_and_no_captures_written(out, tmp_path):
    result = flagged(tmp_path)
    (drawn,) = draw([Chosen(slice=result.slices[0], label="any")], result, Unexplained())
    assert drawn.heat_map is None
    picture = cv2.imdecode(np.frombuffer(page_picture(drawn), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (384, 384, 3)  # one half of the 384 x 768 that a heat map makes it
    make_outputs(Unexplained(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert (len(made.pictures), made.dicom, made.why_none) == (2, 1, "")
    assert [path.name for path in out.study_folder(1).iterdir()] == ["findings.dcm"]


class FindsBlood(Network):
    """Its lesion maps of 4 x 4 cells: epidural blood in the second quarter of the second slice's first row."""

    finds_blood = True
    share, blood_threshold = 0.9, 0.5

    def predict_series(self, hu, position_mm):
        assert hu.shape[1:] == (256, 256)
        lesions = np.zeros((len(hu), 4, 4, 5), np.float32)
        lesions[1, 0, 1, 0] = self.share
        return Reading(np.zeros((len(hu), 5), np.float32), lesions=lesions)


def test_of_a_flagged_study_a_segmentation_shows_the_blood_that_the_model_finds(out, tmp_path):
    result = flagged(tmp_path, slices=3)
    make_outputs(FindsBlood(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert (made.dicom, made.why_none) == (4, "")  # the report, two heat maps, the segmentation
    segmentation = hd.seg.segread(out.study_folder(1) / "lesions-01.dcm")
    assert segmentation.get_segment_description(1).segment_label == "epidural"
    pixels = segmentation.get_pixels_by_source_instance(["0", "1", "2"], assert_missing_frames_are_empty=True)
    # Cells are 16 pixels of the 64; between their middles the share falls from 0.9 to 0: half is a bit further in.
    assert np.flatnonzero(pixels.any(axis=(1, 2, 3))).tolist() == [1]
    rows, columns = np.nonzero(pixels[1, :, :, 0])
    assert (rows.min(), rows.max()) == (0, 14)
    assert (columns.min(), columns.max()) == (17, 30)


@pytest.mark.parametrize(("share", "status"), [(0.1, "flagged"), (0.9, "review")])
def test_without_blood_or_a_flag_there_is_no_segmentation(out, tmp_path, share, status):
    network = FindsBlood()
    network.share = share
    result = flagged(tmp_path, slices=3)
    object.__setattr__(result, "status", status)
    make_outputs(network, result, out, OPTIONS)
    assert made_outputs(out, result).why_none == ""
    assert not list(out.study_folder(1).glob("lesions*"))


def test_what_no_segmentation_can_be_laid_over_keeps_its_report(out, tmp_path):
    result = flagged(tmp_path, slices=3, change=lambda dataset: delattr(dataset, "PixelSpacing"))
    make_outputs(FindsBlood(), result, out, OPTIONS)
    made = made_outputs(out, result)
    assert made.dicom == 3
    assert made.why_none.startswith("no segmentation could be made of it: a slice has no usable PixelSpacing")
    assert (out.study_folder(1) / "findings.dcm").exists()
