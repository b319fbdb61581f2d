import json
import shutil

import numpy as np
import pandas as pd
import pytest

from ich_mlflow.errors import ModelError, OutputError
from ich_mlflow.models.family import Reading
from ich_mlflow.models.series import expect_probabilities, read_series
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.integrity import INTEGRITY_FILE, expect_said, known_slice
from ich_mlflow.serving.model import ServedClassifier
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.serving.refusal import Refusal
from ich_mlflow.serving.response import Answerer, ModelVersion


@pytest.fixture
def version(trained, tmp_path):
    """A copy of the version's files, to be damaged."""
    return shutil.copytree(load_classifier(trained.serving_uri).folder, tmp_path / "version")


def test_a_version_is_opened_as_it_was_logged(version):
    noted = json.loads((version / INTEGRITY_FILE).read_text())
    assert set(noted["sha256"]) == {
        path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()
    } - {INTEGRITY_FILE}
    said = Classifier(version).said_of_known_slice()
    assert said == pytest.approx(noted["said_of_known_slice"], abs=1e-6)
    assert Classifier(version, runtime="keras").said_of_known_slice() == pytest.approx(said, abs=5e-4)


def test_the_known_slice_is_the_same_everywhere():
    hu = known_slice()
    assert (hu.shape, hu.dtype) == ((256, 256), np.int16)
    assert hu[128, 128] == 8
    assert (hu[0, 0], hu[138, 94], hu[18, 128]) == (-1000, 72, 40)


@pytest.mark.parametrize(
    "name", ["classifier.tflite", "classifier.keras", "head.npz", "serving.json", "ancestry.npz"]
)
def test_one_flipped_bit_of_any_file_is_noticed(version, name):
    path = version / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=rf"{name} of this model version is not as it was logged \(SHA-256"):
        Classifier(version)
    path.unlink()
    with pytest.raises(ModelError, match=f"{name} of this model version is missing"):
        Classifier(version)


def test_labels_that_stand_for_each_other_are_noticed_though_every_digest_fits(version):
    noted = json.loads((version / INTEGRITY_FILE).read_text())
    values = dict(zip(noted["said_of_known_slice"], (0.1, 0.3, 0.5, 0.7, 0.9), strict=True))
    noted["said_of_known_slice"] = values
    (version / INTEGRITY_FILE).write_text(json.dumps(noted))
    with pytest.raises(ModelError, match="on a known slice, and gave"):
        Classifier(version)


def test_what_is_said_of_the_known_slice_may_differ_by_rounding_alone():
    expect_said({}, {"any": 0.9})
    expect_said({"any": 0.9}, {"any": 0.9 + 4e-3})
    with pytest.raises(ModelError, match=r"gives 0\.8900 for any on a known slice, and gave 0\.9000"):
        expect_said({"any": 0.9}, {"any": 0.89})
    with pytest.raises(ModelError, match="known slice"):
        expect_said({"any": 0.9}, {"any": float("nan")})
    with pytest.raises(ModelError, match="has the labels any, and was logged with subdural"):
        expect_said({"subdural": 0.9}, {"any": 0.9})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1, "said_of_known_slice": {}}'])
def test_a_broken_note_is_no_licence(version, text):
    (version / INTEGRITY_FILE).write_text(text)
    with pytest.raises(ModelError, match=f"{INTEGRITY_FILE} of this model version can't be read"):
        Classifier(version)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_number_that_is_no_probability_is_an_error(value):
    expect_probabilities(np.array([0, 1, 0.5]))
    expect_probabilities(None)
    with pytest.raises(OutputError, match="no probability"):
        expect_probabilities(np.array([0.5, value]))


class Broken:
    """Says NaN of slices that are nowhere above 0 HU, else 0.25; of any series 0.5."""

    finds_blood = False

    def read(self, hu, position_mm):
        said = np.where(hu.max(axis=(1, 2)) > 0, 0.25, np.nan)
        return Reading(np.tile(said[:, None], (1, 5)).astype(np.float32))

    def explained(self, hu):
        return self.read(hu[..., 0], None).slices, np.zeros((len(hu), 5, 8, 8), np.float32)


@pytest.mark.parametrize("mirror", [False, True])
def test_smoothing_does_not_hide_it(mirror):
    hu = np.full((3, 256, 256), 40, np.int16)
    hu[1] = -5
    with pytest.raises(OutputError):
        read_series([Broken()], hu, np.array([0.0, 5, 10]), mirror=mirror, smoothing="15mm")


@pytest.fixture
def served(trained):
    """The served model, with a network that is broken after it was loaded."""
    model = ServedClassifier()
    model.classifier = load_classifier(trained.serving_uri)
    model.classifier.members = (Broken(),)
    specification = model.classifier.specification
    model.answerer = Answerer(specification=specification, version=ModelVersion("m", "1"))
    return model


def rows(*of):
    """Rows of a series name and HU each."""
    return pd.DataFrame(
        [
            {"pixels": np.full((64, 64), hu).tolist(), "series": name, "position_mm": float(k)}
            for k, (name, hu) in enumerate(of)
        ]
    )


@pytest.mark.parametrize("explain", [False, True])
def test_rows_of_a_faulty_answer_are_errors_and_the_others_are_answered(served, explain):
    said = served.predict(
        None, rows(("a", 40), ("b", -5), ("c", 40)), {"on_error": "skip", "explain": explain}
    )
    assert [bool(error) for error in said["error"]] == [False, True, False]
    assert said["error"][1].startswith("row 1: the network's answer is no probability")
    assert said["score_subdural"][0] == pytest.approx(0.25)
    assert said[["decision_any", "probability_any"]].isna()[1:2].all(axis=None)
    if explain:
        assert isinstance(said["heat_map_subdural"][0], str)


def test_an_exam_of_which_a_slice_is_faulty_has_no_decision(served):
    said = served.predict(
        None, rows(("a", 40), ("a", -5), ("b", 40)), {"on_error": "skip", "aggregate": "exam"}
    )
    assert said["rows"].tolist() == [[2], [0], [1]]
    assert [bool(error) for error in said["error"]] == [False, True, True]


def test_else_the_request_fails_by_our_fault(served):
    with pytest.raises(Refusal, match="row 1: the network's answer") as refusal:
        served.predict(None, rows(("a", 40), ("b", -5)), {})
    assert refusal.value.get_http_status_code() == 500
