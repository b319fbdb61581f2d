import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.serving import package
from ich_mlflow.serving.package import load_classifier
from tests.factories import write_dicom


@pytest.fixture
def dicom(tmp_path):
    """A 512x512 CT file of noise between -1024 and 75 HU."""
    values = np.random.default_rng(3).integers(0, 1100, size=(512, 512))
    return write_dicom(tmp_path / "slice.dcm", values)


def _row(path):
    return base64.b64encode(path.read_bytes()).decode()


def _frame(*rows):
    return pd.DataFrame({"dicom": rows})


def test_the_serving_model_answers_as_keras_does(trained, ct_like):
    expected = keras.models.load_model(_keras_file(trained)).predict(
        ct_like.astype(np.float32)[..., None], verbose=0
    )
    served = load_classifier(trained.serving_uri).probabilities(ct_like)
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_one_slice_or_several_give_the_same_probabilities(trained, ct_like):
    classifier = load_classifier(trained.serving_uri)
    together = classifier.probabilities(ct_like)
    alone = np.concatenate([classifier.probabilities(ct_like[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_twin_that_differs_from_keras_is_not_logged(trained, ct_like, tmp_path):
    model = keras.models.load_model(_keras_file(trained))
    package.assemble(model, load_classifier(trained.serving_uri).specification, tmp_path)
    assert package.check_parity(model, tmp_path, ct_like[..., None]) <= 1e-5
    kernel, bias = model.get_layer("probabilities").get_weights()
    model.get_layer("probabilities").set_weights([kernel, bias + 0.1])
    with pytest.raises(ModelError, match="differs from Keras"):
        package.check_parity(model, tmp_path, ct_like[..., None])


def test_a_dicom_gets_named_probabilities_and_decisions(trained, dicom):
    answer = mlflow.pyfunc.load_model(trained.serving_uri).predict(_frame(_row(dicom), _row(dicom)))
    assert list(answer.columns) == [f"probability_{s}" for s in SUBTYPES] + [
        f"decision_{s}" for s in SUBTYPES
    ]
    assert len(answer) == 2
    thresholds = load_classifier(trained.serving_uri).specification.thresholds
    for label, threshold in zip(SUBTYPES, thresholds, strict=True):
        assert (answer[f"decision_{label}"] == (answer[f"probability_{label}"] >= threshold)).all()


@pytest.mark.parametrize(
    ("row", "said"),
    [("!!", "row 0: dicom is not base64"), ("AAAA", "row 0"), ("", "row 0")],
)
def test_what_is_no_dicom_is_refused_by_row(trained, row, said):
    with pytest.raises(mlflow.exceptions.MlflowException, match=said):
        mlflow.pyfunc.load_model(trained.serving_uri).predict(_frame(row))


def test_the_logged_versions_hold_no_pickle(trained):
    for uri in (trained.serving_uri, trained.keras_uri):
        folder = mlflow.artifacts.download_artifacts(uri)
        names = [name for _, _, files in os.walk(folder) for name in files]
        assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_the_keras_model_loads_by_mlflow(trained, ct_like):
    model = mlflow.keras.load_model(trained.keras_uri)
    assert model.predict(ct_like.astype(np.float32)[..., None], verbose=0).shape == (4, 5)


def test_over_rest_the_answer_is_the_offline_one_without_tensorflow(trained, dicom, workspace):
    """The real server on a free port of 127.0.0.1, with a TensorFlow that can't be imported."""
    (workspace / "no_tensorflow").mkdir(exist_ok=True)
    for name in ("tensorflow", "keras"):
        (workspace / "no_tensorflow" / f"{name}.py").write_text("raise ImportError('not on this machine')\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        f"{sys.executable} -m mlflow models serve -m {trained.serving_uri} -p {port} --env-manager local".split(),
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
            "PYTHONPATH": str(workspace / "no_tensorflow"),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_ready(port, server)
        offline = mlflow.pyfunc.load_model(trained.serving_uri).predict(_frame(_row(dicom)))
        for body in (
            {"dataframe_split": {"columns": ["dicom"], "data": [[_row(dicom)]]}},
            {"dataframe_records": [{"dicom": _row(dicom)}]},
            {"inputs": {"dicom": [_row(dicom)]}},
        ):
            status, answer = _post(port, body)
            assert status == 200
            assert answer["predictions"][0] == pytest.approx(offline.iloc[0].to_dict(), abs=1e-6)
        status, answer = _post(port, {"dataframe_records": [{"dicom": "AAAA"}]})
        assert status == 400
        assert "Traceback" not in json.dumps(answer)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def _keras_file(trained):
    folder = mlflow.artifacts.download_artifacts(trained.serving_uri)
    found = [os.path.join(at, name) for at, _, files in os.walk(folder) for name in files]
    return next(path for path in found if path.endswith("classifier.keras"))


def _wait_until_ready(port, server, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).read()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no answer on port {port} within {seconds} s")


def _post(port, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
