import pytest

from ich_mlflow.serving import packaging as package
from ich_mlflow.serving.packaging import Columns, signature_fault, size_mb

GIVES = {"probability_any", "decision_any"}


@pytest.fixture
def signatures(monkeypatch):
    known = {
        "ours": Columns({"dicom"}, set(), GIVES),
        "more": Columns({"dicom", "pixels"}, set(), {*GIVES, "warnings"}),
        "needy": Columns({"dicom", "pixels"}, {"pixels"}, GIVES),
        "pixels": Columns({"pixels"}, {"pixels"}, GIVES),
        "none": Columns(set(), set(), GIVES),
    }
    monkeypatch.setattr(package, "_columns", known.get)


@pytest.mark.parametrize(
    ("model", "replaced", "said"),
    [
        ("ours", None, ""),
        ("ours", "ours", ""),
        ("more", "ours", ""),
        ("ours", "more", "it takes dicom, where the champion takes dicom, pixels"),
        ("needy", "ours", "it takes dicom, pixels, where the champion takes dicom"),
        ("pixels", "ours", "it takes pixels, where the champion takes dicom"),
        ("pixels", None, "it takes pixels, expected a column dicom"),
        ("none", None, "it takes no column, expected a column dicom"),
    ],
)
def test_a_model_fits_where_requests_and_answers_of_the_champions_do(signatures, model, replaced, said):
    assert signature_fault(model, replaced) == said


def test_the_signature_is_the_logged_models_own(trained):
    assert signature_fault(trained.serving_uri, trained.serving_uri) == ""
    assert "expected a column dicom" in signature_fault(trained.keras_uri, None)


def test_the_size_is_that_of_all_files_of_the_model(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "model.tflite").write_bytes(bytes(1_500_000))
    (tmp_path / "code" / "model.py").write_bytes(bytes(250_000))
    assert size_mb(tmp_path.as_uri()) == 1.75
