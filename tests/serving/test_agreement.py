"""Training and serving agree: a DICOM file through the stored set and through the served model."""

import base64

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.serving.packaging import load_classifier, log_models
from ich_mlflow.sources.rsna import RsnaSource
from ich_mlflow.stages.common.scoring import score_rows
from ich_mlflow.stages.common.specification import from_validation
from tests.factories import write_rsna


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    write_rsna(folder / "rsna", num_patients=8, slices_per_patient=4)
    options = BuildOptions(seed=0, workers=1)
    stored = build_stored_set(RsnaSource(folder / "rsna"), folder / "set", options, progress=False)
    return folder / "rsna" / "stage_2_train", stored


@pytest.mark.parametrize(
    ("num_classes", "windows", "context"), [(4, "brain", 0), (5, "brain,subdural,bone", 0), (6, "brain", 1)]
)
def test_the_stored_set_and_the_served_model_say_the_same(
    workspace, tiny_backbone, data, num_classes, windows, context
):
    folder, stored = data
    scheme = class_scheme(num_classes)
    model = build_classifier(
        num_labels=num_classes, image_size=32, windows=parse_windows(windows), context=context,
        backbone=build_backbone(image_size=32, num_slices=1 + 2 * context),
    )  # fmt: skip
    rows = np.arange(len(stored.table))
    with mlflow.start_run() as run:
        said = model.predict(
            stored.hu_with_context(stored.rows("validation"), context).astype(np.float32), verbose=0
        )
        specification = from_validation(
            stored, said, scheme, calibration="temperature", rule="max_f1"
        ).specification(
            stored,
            run_id=run.info.run_id,
            weights="random",
            recipe="demo",
            decides_by="max_f1",
            context=context,
        )
        _, uri = log_models(model, specification, sample_hu=stored.hu_with_context(rows[:4], context))
    expected = specification.slices.calibrated(score_rows(load_classifier(uri), stored, rows))
    shuffled = np.random.default_rng(0).permutation(rows)
    names = stored.table["sop_uid"].to_numpy()[shuffled]
    files = [base64.b64encode((folder / f"{name}.dcm").read_bytes()).decode() for name in names]
    frame = pd.DataFrame({"dicom": files})
    answer = mlflow.pyfunc.load_model(uri).predict(frame)
    served = answer[[f"probability_{label}" for label in scheme.labels]].to_numpy(dtype=float)
    np.testing.assert_allclose(served, expected[shuffled], atol=1e-5)
    assert len(np.unique(served.round(6), axis=0)) > len(rows) // 2  # slices that differ are told apart
