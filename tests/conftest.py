"""One workspace a test process: making MLflow's database and training a network cost seconds each."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from tests.factories import TINY, ArraySource

#: 18 patients; every subtype has three, so that every split gets one of each.
LABELS = [[int(patient % 6 == subtype) for subtype in range(5)] for patient in range(18)]

#: Files that last longest, longest first. Test processes take files in this order, so that none is left alone with
#: a long one at the end.
LONGEST = (
    "stages/main/test_main.py",
    "stages/train/test_train.py",
    "stages/tune/test_tune.py",
    "stages/promote/test_promote.py",
    "stages/predict/test_predict.py",
    "stages/evaluate/test_evaluate.py",
    "stages/pretrain/test_pretrain.py",
    "stages/train/test_exam_sequence.py",
    "stages/train/test_resume.py",
    "stages/train/test_folds.py",
    "adding/test_family.py",
    "training/test_initial_weights.py",
    "training/test_loop_phases.py",
    "phantom/test_quirks.py",
    "dataset/test_spark.py",
    "models/slice_cnn/test_backbone_graph.py",
    "public_surface/test_runs.py",
    "public_surface/test_model_of_0_1.py",
    "models/exam_sequence/test_batches.py",
)


def pytest_collection_modifyitems(items):
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """A folder with a tracking database of its own, which is the current folder while the tests run."""
    folder = tmp_path_factory.mktemp("workspace")
    before = os.getcwd()
    os.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("tests")
    yield folder
    os.chdir(before)


@pytest.fixture(scope="session")
def stored_set(tmp_path_factory):
    """72 constant slices of 18 patients, each patient with one subtype or none."""
    folder = tmp_path_factory.mktemp("stored")
    source = ArraySource(folder, LABELS, slices_per_patient=4)
    return build_stored_set(source, folder / "set", BuildOptions(seed=0, workers=1), progress=False)


@pytest.fixture(scope="session")
def trained(workspace, stored_set):
    """The smallest training run: a network of two layers, 32 pixels, two epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        return train(
            TrainOptions(
                data=str(stored_set.path),
                image_size="32",
                epochs="2",
                batch_size="8",
                weights="random",
                # its slices all show what their patient has: a lone one would be answered with a warning
                series_smoothing="none",
            )
        )


@pytest.fixture(scope="session")
def two_stage(workspace, stored_set):
    """The same with a head of two stages and one epoch; in an experiment of its own, where promote does not look."""
    mlflow.set_experiment("two stages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "efficientnet-b0", TINY)
        trained = train(
            TrainOptions(
                data=str(stored_set.path),
                image_size="32",
                epochs="1",
                batch_size="8",
                weights="random",
                series_smoothing="none",
                num_classes="6",
                head="two_stage",
                prior_bias="true",
                learning_rate="1e-9",  # nothing moves, so that the start is seen at the end
            )
        )
    mlflow.set_experiment("tests")
    return trained


@pytest.fixture
def ct_like():
    """HU [4, 256, 256] int16 between air and bone."""
    return np.random.default_rng(0).integers(-1000, 1000, size=(4, 256, 256)).astype(np.int16)


@pytest.fixture
def tiny_backbone(monkeypatch):
    """efficientnet-b0 is a network of two layers, whose training runs take seconds."""
    monkeypatch.setitem(BACKBONES, "efficientnet-b0", TINY)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of this test's own on a free port, which refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here: apt install postgresql")
    binaries = found[-1].parent
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ich-postgres-"))
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make = [
        binaries / "initdb",
        "-D",
        folder / "data",
        "-U",
        "ich",
        "--auth=trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    subprocess.run(make, user=user, cwd=folder, check=True, capture_output=True)
    serve = [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, user=user, cwd=folder, stdout=log, stderr=log)
    try:
        ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        for _ in range(100):
            if subprocess.run(ready, check=False).returncode == 0:
                break
            time.sleep(0.2)
        else:
            pytest.fail((folder / "log").read_text())
        yield f"postgresql://ich@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)
