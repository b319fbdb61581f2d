import base64
import importlib
import os
from dataclasses import replace

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.errors import ModelError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.feature_distance import fit_gaussian
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.slice_cnn.saliency import saliency_maps
from ich_mlflow.serving import packaging as package
from ich_mlflow.serving.classifier import Classifier
from ich_mlflow.serving.packaging import load_classifier
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
    served = load_classifier(trained.serving_uri).uncalibrated(ct_like)
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_one_slice_or_several_give_the_same_probabilities(trained, ct_like):
    classifier = load_classifier(trained.serving_uri)
    together = classifier.probabilities(ct_like)
    alone = np.concatenate([classifier.probabilities(ct_like[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_twin_that_differs_from_keras_is_not_logged(trained, ct_like, tmp_path):
    model = keras.models.load_model(_keras_file(trained))
    logged = load_classifier(trained.serving_uri)
    networks = [network_of(model, ct_like[..., None])]
    package.assemble(networks, logged.specification, logged.ancestry, tmp_path)
    assert package.check_parity(networks, tmp_path) <= 1e-5
    kernel, bias = model.get_layer("probabilities").get_weights()
    model.get_layer("probabilities").set_weights([kernel, bias + 0.1])
    with pytest.raises(ModelError, match="differs from Keras"):
        package.check_parity(networks, tmp_path)


def test_a_version_says_how_unlike_a_slice_is_as_the_gaussian_beside_its_network_does(
    trained, ct_like, tmp_path
):
    logged = load_classifier(trained.serving_uri)
    network = network_of(keras.models.load_model(_keras_file(trained)), ct_like[..., None])
    pooled = network.pooled(ct_like[..., None])
    features = np.random.default_rng(0).normal(pooled.mean(axis=0), 0.1, (60, pooled.shape[1]))
    network = replace(network, features=fit_gaussian(features))
    package.assemble([network], logged.specification, logged.ancestry, tmp_path)
    order = np.array([2, 0, 3, 1])
    read = Classifier(tmp_path).predict_series(ct_like[order], order.astype(float))
    # LiteRT rounds otherwise, and the file has the components in half precision
    assert read.distance == pytest.approx(network.features.distance(pooled)[order], rel=2e-2)
    assert logged.predict_series(ct_like, np.arange(4.0)).distance is None


def test_a_dicom_gets_named_probabilities_and_decisions(trained, dicom):
    importlib.import_module("mlflow.pyfunc.scoring_server")  # as a notebook may: it is no server for that
    answer = mlflow.pyfunc.load_model(trained.serving_uri).predict(_frame(_row(dicom), _row(dicom)))
    assert list(answer.columns) == [
        *(f"probability_{label}" for label in (*SUBTYPES, "any")),
        *(f"decision_{label}" for label in (*SUBTYPES, "any")),
        *(f"score_{label}" for label in (*SUBTYPES, "any")),
        "operating_point", "model_name", "model_version", "warnings", "caveats", "error",
    ]  # fmt: skip
    assert len(answer) == 2
    specification = load_classifier(trained.serving_uri).specification
    thresholds = specification.slices.thresholds(specification.decides_by)
    for label, threshold in zip((*SUBTYPES, "any"), thresholds, strict=True):
        assert (answer[f"decision_{label}"] == (answer[f"probability_{label}"] >= threshold)).all()


def test_an_answer_names_the_registered_version_or_the_run(trained, dicom):
    mlflow.register_model(trained.serving_uri, "served-name")
    for uri, name, version in (
        ("models:/served-name/1", "served-name", "1"),
        (trained.serving_uri, "ich-5class (not registered)", f"run {trained.run_id[:8]}"),
    ):
        (answer,) = mlflow.pyfunc.load_model(uri).predict(_frame(_row(dicom))).to_dict(orient="records")
        assert (answer["model_name"], answer["model_version"]) == (name, version)


def test_explained_each_label_has_a_heat_map_where_the_keras_model_has_it(trained, ct_like):
    answer = mlflow.pyfunc.load_model(trained.serving_uri).predict(
        pd.DataFrame({"pixels": [ct_like[0].tolist()]}), params={"explain": True}
    )
    for label in SUBTYPES:
        assert base64.b64decode(answer[f"heat_map_{label}"][0]).startswith(b"\x89PNG")
    _, maps = load_classifier(trained.serving_uri).explained(ct_like)
    model = keras.models.load_model(_keras_file(trained), compile=False)
    np.testing.assert_allclose(maps, saliency_maps(model, ct_like[..., None]), atol=1e-4)


def test_keras_behind_the_same_version_answers_the_same(trained, ct_like):
    by_keras = load_classifier(trained.serving_uri, runtime="keras").probabilities(ct_like)
    np.testing.assert_allclose(
        by_keras, load_classifier(trained.serving_uri).probabilities(ct_like), atol=1e-5
    )


def test_an_unknown_runtime_is_refused(trained):
    with pytest.raises(ModelError, match="runtime is 'onnx', expected one of litert, keras"):
        load_classifier(trained.serving_uri, runtime="onnx")


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


def _keras_file(trained):
    folder = mlflow.artifacts.download_artifacts(trained.serving_uri)
    found = [os.path.join(at, name) for at, _, files in os.walk(folder) for name in files]
    return next(path for path in found if path.endswith("classifier.keras"))
