"""What the server notes of its answers: whoever reads the log learns what was seen, and not of whom."""

import base64

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.labels import ANY
from ich_mlflow.monitoring.log import FOLDER_VARIABLE, log_files
from ich_mlflow.monitoring.reader import once_each, read_logs
from ich_mlflow.monitoring.record import EXAM, SLICES
from ich_mlflow.serving import model as served
from tests.factories import write_dicom


@pytest.fixture
def frame(tmp_path):
    """Two exams of three slices, and a file that is none."""
    rows = []
    for place in range(6):

        def identify(dataset, place=place):
            dataset.PatientName, dataset.PatientID = "Doe^Jane", "PAT-77"
            dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"1.2.826.{place // 3}"
            dataset.ImagePositionPatient = [0, 0, 5.0 * place]
            dataset.Manufacturer, dataset.ConvolutionKernel = "ACME", ["Hr40f", "3"]

        values = np.random.default_rng(place).integers(0, 1100, size=(128, 128))
        path = write_dicom(tmp_path / f"secret-{place}.dcm", values, change=identify)
        rows.append(base64.b64encode(path.read_bytes()).decode())
    return pd.DataFrame({"dicom": [*rows, base64.b64encode(b"nothing").decode()]})


@pytest.fixture
def answered(trained, frame, tmp_path, monkeypatch):
    """The answer and the logs, by aggregate."""

    def answer(aggregate):
        folder = tmp_path / f"seen-{aggregate}"
        monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
        model = mlflow.pyfunc.load_model(trained.serving_uri)
        said = model.predict(frame, params={"aggregate": aggregate, "on_error": "skip"})
        answer.recorder = model.unwrap_python_model().recorder
        answer.recorder.flush()
        return said, folder

    return answer


def test_of_exams_a_record_each_without_identity(answered, trained):
    said, folder = answered("exam")
    records = read_logs(folder).records
    assert len(records) == 2
    (first, second) = records
    assert first.probabilities[ANY] == pytest.approx(said[f"probability_{ANY}"][0], abs=1e-5)
    assert (first.unit, first.slices, first.step_mm, first.spacing_mm) == (EXAM, 3, 5.0, 0.5)
    assert (first.manufacturer, first.kernel, first.syntax) == ("ACME", "Hr40f", "1.2.840.10008.1.2.1")
    assert (first.model_name, first.model_version) == (
        "ich-5class (not registered)",
        f"run {trained.run_id[:8]}",
    )
    assert first.study != second.study
    text = b"".join(path.read_bytes() for path in log_files(folder)).decode()
    assert not any(word in text for word in ("Doe", "PAT-77", "1.2.826", "secret", str(folder)))


def test_of_slices_a_record_an_exam_with_the_highest_of_them(answered):
    said, folder = answered("slice")
    records = once_each(read_logs(folder)).records
    assert [one.unit for one in records] == [SLICES, SLICES]
    shares = said[f"probability_{ANY}"].astype(float)
    assert [one.probabilities[ANY] for one in records] == pytest.approx(
        [shares[:3].max(), shares[3:6].max()], abs=1e-5
    )


def test_a_mistake_of_the_note_does_not_cost_the_answer(answered, monkeypatch):
    def mistaken(*arguments, **named):
        raise RuntimeError("of ours")

    monkeypatch.setattr(served, "what_was_seen", mistaken)
    monkeypatch.setattr("ich_mlflow.serving.seen.what_was_seen", mistaken)
    said, _ = answered("exam")
    assert len(said) == 3
    assert answered.recorder.lost == 1


def test_without_the_folder_nothing_is_noted(trained, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert mlflow.pyfunc.load_model(trained.serving_uri).unwrap_python_model().recorder is None
