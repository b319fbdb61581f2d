"""The served model takes and gives what it did, and the demonstration model gives every bit that it gave."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from tests.public_surface.adapter import probabilities
from tests.public_surface.recorded import expect, expect_bits, floats, names_in


@pytest.fixture(scope="module")
def served(demonstration):
    return mlflow.pyfunc.load_model(demonstration)


def test_its_signature_is_the_recorded_one(demonstration):
    signature = mlflow.models.get_model_info(demonstration).signature.to_dict()
    expect("signature", {side: json.loads(text) for side, text in signature.items() if text})


def test_what_it_knows_of_itself_has_the_recorded_keys(demonstration):
    (file,) = _folder(demonstration).rglob("serving.json")
    expect("serving-json", names_in(json.loads(file.read_text())))


def test_a_version_holds_the_recorded_files(demonstration):
    folder = _folder(demonstration)
    files = [path for path in folder.rglob("*") if path.is_file() and "code" not in path.parts]
    # MLflow names the folder of the artefacts by chance
    expect("model-files", sorted({path.name for path in files} - {"registered_model_meta"}))


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("slices", {}),
        ("explained", {"explain": True}),
        ("exam", {"aggregate": "exam", "operating_point": "sensitivity_95"}),
        ("unreadable", {"on_error": "skip"}),
    ],
)
def test_its_answer_has_the_recorded_columns_and_types(served, dicom_files, kind, params):
    rows = pd.DataFrame({"dicom": ["bm8gRElDT00="]}) if kind == "unreadable" else dicom_files[:2]
    answer = served.predict(rows, params=params).to_dict("records")
    expect(f"answer-{kind}", [[name, type(value).__name__] for name, value in answer[0].items()])


def test_it_gives_the_bits_that_it_gave(served, dicom_files):
    slices = served.predict(dicom_files)
    exam = served.predict(dicom_files, params={"aggregate": "exam"})
    said = [name for name in slices.columns if name.startswith("probability_")]
    now = {f"slices/{name}": floats(slices[name]) for name in said}
    now |= {f"exam/{name}": floats(exam[name]) for name in said}
    assert len(slices) >= 5
    # another processor rounds differently, and a sure network amplifies it
    expect_bits("demonstration-by-pyfunc", now, tolerance=2e-4)


def test_evaluate_promote_and_predict_read_the_same_bits_from_it(demonstration, hu):
    said = probabilities(demonstration, hu)
    assert len(said) >= 10
    now = {f"slice/{number}": floats(row) for number, row in enumerate(said)}
    assert np.ptp(said, axis=0).min() > 0.1  # the slices are told apart
    expect_bits("demonstration-by-classifier", now, tolerance=2e-4)


def _folder(model_uri):
    return Path(mlflow.artifacts.download_artifacts(model_uri))
