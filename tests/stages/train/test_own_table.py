"""source=table to a trained model, and a table of exams to a refusal before anything is read."""

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.errors import OptionError
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from tests.conftest import LABELS
from tests.factories import TINY, write_dicom


@pytest.fixture
def ours(tmp_path):
    """Three slices of each of 18 patients, patient p with the labels LABELS[p], as scans/p00-0 … and a table."""
    rows = ["dicom,mrn,EDH,IPH,IVH,SAH,SDH"]
    (tmp_path / "scans").mkdir()
    for patient, labels in enumerate(LABELS):
        for place in range(3):

            def describe(dataset: FileDataset, patient: int = patient, place: int = place) -> None:
                dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"1.{patient}"
                dataset.SOPInstanceUID = f"1.{patient}.{place}"
                dataset.ImagePositionPatient = [0, 0, 5.0 * place]

            values = np.full((8, 8), 1024 + patient)
            values[-1, -1] = 0  # a blank slice would be quarantined
            write_dicom(tmp_path / "scans" / f"p{patient:02d}-{place}", values, change=describe)
            rows.append(f"scans/p{patient:02d}-{place},p{patient},{','.join(map(str, labels))}")
    (tmp_path / "ours.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_table_of_slices_is_trained_on_in_one_command(workspace, ours, monkeypatch):
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", TINY)
    options = TrainOptions(
        source="table",
        data=str(ours / "ours.csv"),
        columns="file=dicom",
        out=str(ours / "set"),
        workers=1,
        image_size="32",
        epochs="1",
        batch_size="8",
        weights="random",
        series_smoothing="none",
        checkpoints=str(ours / "checkpoints"),
    )
    options.expect_ready()
    trained = train(options)
    stored = StoredSet.open(trained.stored_path)
    assert (stored.manifest["source"], stored.manifest["label_level"]) == ("table", "slice")
    assert len(stored.table) == 54
    assert trained.serving_uri


def test_a_table_of_exams_is_refused_for_a_family_of_slices_before_its_files_are_read(ours):
    (ours / "exams.csv").write_text("study,EDH,IPH,IVH,SAH,SDH\nno such study,0,0,0,0,1\n")
    said = {"source": "table", "data": str(ours / "exams.csv")}
    with pytest.raises(
        OptionError, match=r"expected a table with a row a slice: family slice_cnn can't learn"
    ):
        TrainOptions(**said).expect_ready()
    TrainOptions(**said, family="exam_sequence").expect_ready()
