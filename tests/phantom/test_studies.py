import json
from collections import Counter

import numpy as np
import pydicom
import pytest

from ich_mlflow.ct.plausibility import LUNGS_MIN, enclosed_air
from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.dicom.image_header import read_image_header
from ich_mlflow.dicom.slice import read_slice
from ich_mlflow.errors import OptionError
from ich_mlflow.phantom.studies import JUNK, KINDS, StudySetOptions, write_study_set

OPTIONS = StudySetOptions(studies=4, rows=128, exam_rate=0.35, junk=12)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "set"
    return folder, write_study_set(folder, OPTIONS)


def files_of(folder, one):
    found = []
    for path in sorted(folder.rglob("SE*/*")):
        if pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID == one.series_uid:
            found.append(path)
    return found


def test_every_kind_is_there_and_one_series_of_each_study_with_a_head_is_right(written):
    _, series = written
    assert {one.kind for one in series} == {*KINDS, "non-contrast"}
    right = [one.study_uid for one in series if one.is_right]
    assert len(right) == len(set(right)) == 3
    assert len({one.study_uid for one in series}) == 4


def test_files_are_dicom_with_valid_identifiers(written):
    folder, series = written
    for one in series[:11]:  # the first study has everything
        path = files_of(folder, one)[0]
        dataset = pydicom.dcmread(path)
        assert dataset.PatientName == "Phantom^Number 0"
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            assert pydicom.uid.UID(dataset[keyword].value).is_valid
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns)


def test_the_plain_scan_is_ordered_from_the_head_down_and_has_a_head_in_it(written):
    folder, series = written
    (one,) = [one for one in series[:11] if one.is_right]
    paths = files_of(folder, one)
    positions = [read_image_header(path).position_mm for path in paths]
    assert positions == sorted(positions, reverse=True)
    assert len(paths) == one.num_slices
    middle = read_slice(paths[len(paths) // 2]).hu
    assert enclosed_air(to_stored_size(middle)) < LUNGS_MIN


def test_chests_have_lungs_and_one_says_nothing_of_itself(written):
    folder, series = written
    for kind, part in (("chest", "CHEST"), ("chest_untagged", "")):
        one = next(one for one in series if one.kind == kind)
        path = files_of(folder, one)[20]
        assert read_image_header(path).body_part == part
        assert enclosed_air(to_stored_size(read_slice(path).hu)) > LUNGS_MIN


def test_thin_slices_lie_between_the_scans(written):
    folder, series = written
    thin, plain = (next(one for one in series if one.kind == kind) for kind in ("thin", "non-contrast"))
    steps = np.diff(sorted(read_image_header(path).position_mm for path in files_of(folder, thin)))
    tilt = read_image_header(files_of(folder, plain)[0]).tilt_degrees
    assert steps == pytest.approx(1.25 * np.cos(np.deg2rad(tilt)), abs=0.01)


def test_junk_is_counted_and_copies_are_copies(written):
    folder, series = written
    truth = json.loads(folder.with_name("set.truth.json").read_text())
    assert truth["junk"] == dict.fromkeys(JUNK, 2)
    assert len(truth["series"]) == len(series)
    names = Counter(path.name.split("-")[0] for path in folder.rglob("*") if path.is_file())
    assert (names["report"], names["notes"], names["empty"], names["copy"], names["cut"]) == (2, 2, 2, 2, 2)
    assert names["DICOMDIR"] == 2
    contents = Counter(
        path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 2000
    )
    assert sorted(contents.values())[-3:] == [1, 2, 2]  # but for the copies, every image is its own


def test_the_same_options_write_the_same_bytes(tmp_path):
    options = StudySetOptions(studies=1, rows=64, others=False)
    write_study_set(tmp_path / "a", options)
    write_study_set(tmp_path / "b", options)
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.dcm")}
        for name in ("a", "b")
    )
    assert first == second
    assert len(first) >= 26


def test_no_study_is_refused():
    with pytest.raises(OptionError, match="studies is 0"):
        StudySetOptions(studies=0)
