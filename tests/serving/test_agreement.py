"""Training and serving agree: a DICOM file through the stored set and through the served model."""

import base64

import mlflow
import numpy as np
import pandas as pd
import pytest

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.labels import class_scheme
from ich_mlflow.models.ancestry import Ancestry
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.packing import network_of
from ich_mlflow.serving.packaging import load_classifier, log_models
from ich_mlflow.serving.response import probability_columns, score_columns
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
    ("num_classes", "windows", "context", "framing", "series"),
    [
        (4, "brain", 0, "image", {"series_smoothing": "none"}),
        (5, "brain,subdural,bone", 0, "head", {"series_smoothing": "15mm", "mirror": True}),
        (6, "brain", 1, "head", {"series_smoothing": "20mm"}),
    ],
)
def test_the_stored_set_and_the_served_model_say_the_same(
    workspace, tiny_backbone, data, num_classes, windows, context, framing, series
):
    folder, stored = data
    scheme = class_scheme(num_classes)
    model = build_classifier(
        num_labels=num_classes, image_size=32, framing=framing, windows=parse_windows(windows), context=context,
        backbone=build_backbone(image_size=32, num_slices=1 + 2 * context),
    )  # fmt: skip
    rows = np.arange(len(stored.table))
    with mlflow.start_run() as run:
        said = model.predict(
            stored.hu_with_context(stored.rows("validation"), context).astype(np.float32), verbose=0
        )
        specification = from_validation(
            stored, said, scheme, calibration="temperature", rule="max_f1", **series
        ).specification(
            stored,
            run_id=run.info.run_id,
            weights="random",
            recipe="demo",
            decides_by="max_f1",
            context=context,
        )
        _, uri = log_models(
            [network_of(model, stored.hu_with_context(rows[:4], context))],
            specification,
            Ancestry(),
            name="agreement",
        )
    scores = specification.scores(score_rows(load_classifier(uri), stored, rows).slices)
    expected = specification.slices.calibrated(scores)
    shuffled = np.random.default_rng(0).permutation(rows)
    names = stored.table["sop_uid"].to_numpy()[shuffled]
    files = [base64.b64encode((folder / f"{name}.dcm").read_bytes()).decode() for name in names]
    frame = pd.DataFrame({"dicom": files})
    answer = mlflow.pyfunc.load_model(uri).predict(frame)
    served = answer[probability_columns(scheme.findings)].to_numpy(dtype=float)
    np.testing.assert_allclose(served, expected[shuffled], atol=1e-5)
    said_itself = answer[score_columns(scheme.findings)].to_numpy(dtype=float)
    np.testing.assert_allclose(said_itself, scores[shuffled], atol=1e-5)
    assert len(np.unique(served.round(6), axis=0)) > len(rows) // 2  # slices that differ are told apart


def test_a_series_is_scored_as_its_slices_smoothed_and_mirrored_by_hand(workspace, tiny_backbone, data):
    _, stored = data
    model = build_classifier(
        num_labels=5, image_size=32, windows=parse_windows("brain"), backbone=build_backbone(image_size=32)
    )
    rows = stored.rows("validation")
    hu = stored.hu(rows)[..., None].astype(np.float32)
    straight, mirrored = (model.predict(one, verbose=0) for one in (hu, hu[:, :, ::-1]))
    specification = from_validation(
        stored,
        straight,
        class_scheme(5),
        calibration="none",
        rule="max_f1",
        series_smoothing="10mm",
        mirror=True,
    ).specification(stored, run_id="r", weights="random", recipe="demo")
    with mlflow.start_run():
        _, uri = log_models(
            [network_of(model, stored.hu_with_context(rows, 0))], specification, Ancestry(), name="agreement"
        )
    classifier = load_classifier(uri)
    members = stored.whole_series(rows[:1])[0]
    at = np.searchsorted(rows, members)
    log_odds = [np.log(one[at] / (1 - one[at])) for one in (straight, mirrored)]
    mean = np.mean(log_odds, axis=0)
    # 4 mm apart in a window of 10: a neighbour counts .6, the one after it .2
    said = classifier.predict_series(stored.hu(members), 4.0 * np.arange(len(members))).slices
    first = (mean[0] + 0.6 * mean[1] + 0.2 * mean[2]) / 1.8
    np.testing.assert_allclose(np.log(said[0] / (1 - said[0])), first, atol=1e-4)
    # a lone slice is a series of one
    alone = classifier.predict_series(stored.hu(members[:1]), np.zeros(1)).slices
    np.testing.assert_allclose(np.log(alone / (1 - alone))[0], mean[0], atol=1e-4)
    # where the network looked is asked of the slice as it stands
    np.testing.assert_allclose(classifier.explained(stored.hu(members))[0], straight[at], atol=1e-4)
