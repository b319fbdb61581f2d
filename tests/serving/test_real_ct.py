"""LiteRT against Keras on real CT with trained weights, where the data are."""

import numpy as np

from ich_mlflow.ct.resample import to_stored_size
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.models.weights import read_weights, shipped_path
from ich_mlflow.serving.classifier import Specification
from ich_mlflow.serving.packaging import assemble, check_parity
from ich_mlflow.sources.registry import open_source
from ich_mlflow.stages.demonstrate.demonstrate import demonstration_model
from tests.real_data import CT_ICH, needs_ct_ich


@needs_ct_ich
def test_litert_says_what_keras_says_of_real_ct(tmp_path):
    source = open_source("ctich", CT_ICH)
    files = source.files()[:: max(1, len(source.files()) // 24)]
    hu = np.stack([to_stored_size(source.read(file).hu) for file in files])[..., None]
    path = shipped_path("efficientnet-b0-phantom")
    model = demonstration_model(read_weights(path), class_scheme(5).labels)
    specification = Specification.read(path.with_name("efficientnet-b0-phantom-5class.json"))
    networks = [network_of(model, hu)]
    assemble(networks, specification, Ancestry(), tmp_path)
    assert check_parity(networks, tmp_path) <= 1e-4
