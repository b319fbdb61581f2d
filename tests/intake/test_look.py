import numpy as np
import pytest

from ich_mlflow.dicom.image_header import read_image_header
from ich_mlflow.intake.files import files_of
from ich_mlflow.intake.look import why_cut, why_no_head
from ich_mlflow.intake.survey import Image
from ich_mlflow.phantom.studies import StudySetOptions, write_study_set


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Images from below of each series of a phantom study."""
    folder = tmp_path_factory.mktemp("look") / "studies"
    written = write_study_set(folder, StudySetOptions(studies=1, rows=128))
    images = {}
    for file in files_of(folder):
        try:
            header = read_image_header(file.path)
        except Exception:  # MR and dose sheets
            continue
        images.setdefault(header.series_uid, []).append(Image(file=file, header=header))
    for mine in images.values():
        mine.sort(key=lambda image: image.header.position_mm)
    return {one.kind: images[one.series_uid] for one in written if one.series_uid in images}


def test_a_head_is_one_and_a_chest_is_not(series):
    assert why_no_head(series["non-contrast"]) == ""
    assert why_no_head(series["bone"]) == ""
    assert why_no_head(series["chest_untagged"]) == "there are lungs"


def test_air_is_no_head_and_what_cant_be_read_is_not_judged(series, tmp_path):
    from tests.factories import write_dicom

    path = write_dicom(tmp_path / "air.dcm", np.zeros((64, 64), int))
    air = Image(file=files_of(path)[0], header=read_image_header(path))
    assert why_no_head([air]) == "there is no skull around a brain"
    path.write_bytes(path.read_bytes()[:600])
    assert why_no_head([air]) == ""


def test_a_whole_head_is_whole_and_a_cut_one_says_where(series):
    whole = series["non-contrast"]
    assert why_cut(whole) == ""
    assert why_cut(whole[:-8]) == "the head is cut: its vertex is not shown"
    assert why_cut(whole[12:]) == "the head is cut: its skull base is not shown"
    assert why_cut(whole[12:-6]) == "the head is cut: its skull base and vertex are not shown"
    assert why_cut(whole[:5]) == ""
