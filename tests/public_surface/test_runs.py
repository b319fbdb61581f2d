"""What the runs of train, evaluate and promote hold: the names of their tags and metrics, and a training's bits."""

import mlflow
import numpy as np
import pytest

from tests import THREADS
from tests.factories import training_process
from tests.public_surface.adapter import newest_run, probabilities, run_stage
from tests.public_surface.recorded import expect, expect_bits, expect_names, floats
from tests.stages.promote.contenders import make_arena, make_set, quick, train_contender

#: A tiny training that sets every hyperparameter that a short one can.
SETTING = {
    "image_size": "32", "epochs": "2", "batch_size": "8", "weights": "random", "deterministic": True,
    "seed": 3, "windows": "brain,subdural,bone", "context": "1", "frozen_epochs": "1", "loss": "focal",
    "label_smoothing": "0.05", "prior_bias": "true", "sampling": "class_balanced", "sampling_rate": "0.4",
    "schedule": "cosine", "learning_rate": "0.003", "clip_norm": "1", "weight_decay": "0.01", "ema": "0.9",
    "dropout": "0.2", "dense_units": "16", "rotation_degrees": "15", "shift": "0.1", "zoom": "0.2",
    "monitor": "val_auc", "batch_norm_momentum": "0.9",
}  # fmt: skip


@pytest.fixture(scope="module")
def bands(workspace, tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("surface-bands"))


@pytest.fixture
def registry(workspace):
    """A registry without models, before and after."""
    client = mlflow.MlflowClient()
    _empty(client)
    yield client
    _empty(client)


def names(run):
    """Of a run's tags, without MLflow's own, and of its metrics."""
    tags = sorted(name for name in run.data.tags if not name.startswith("mlflow."))
    return {"tags": tags, "metrics": sorted(run.data.metrics)}


def test_a_train_run_has_the_recorded_tags_and_metrics(trained):
    expect_names("train-run", names(mlflow.get_run(trained.run_id)))


def test_an_evaluate_run_has_the_recorded_tags_and_metrics(trained, monkeypatch):
    uri = trained.serving_uri
    ended = run_stage(monkeypatch, "evaluate", model=uri, baseline=uri, resamples=100, heat_maps=1)
    assert ended == 0
    expect_names("evaluate-run", names(newest_run("evaluate")))


def test_a_promotion_ends_with_0_a_refusal_with_3_and_both_have_the_recorded_names(
    registry, monkeypatch, tmp_path
):
    quick(monkeypatch)
    arena, now = make_arena(tmp_path), {}
    for quality, code in ((1.0, 0), (0.0, 3)):
        run = train_contender(arena, quality)
        assert run_stage(monkeypatch, "promote", run=run, smoke=False, resamples=200) == code
        now["promoted" if code == 0 else "refused"] = names(newest_run("promote"))
    (model,) = registry.search_registered_models()
    now["registered"] = {
        "name": model.name,
        "aliases": sorted(model.aliases),
        "version_tags": [sorted(registry.get_model_version(model.name, number).tags) for number in "12"],
    }
    expect("promote-run", now)


def test_a_deterministic_training_gives_the_bits_that_it_gave(workspace, bands, monkeypatch):
    for name in (*THREADS, "PYTEST_XDIST_WORKER"):  # recorded with as many as there are cores
        monkeypatch.delenv(name, raising=False)
    process = training_process(workspace, mlflow.get_tracking_uri(), {**SETTING, "data": str(bands.path)})
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    run_id = next(line.split()[1] for line in output.splitlines() if line.startswith("RUN "))
    hu = np.concatenate([np.load(shard) for shard in sorted(bands.path.glob("hu-*.npy"))])[::16]
    said = probabilities(mlflow.get_run(run_id).data.tags["ich.serving_model_uri"], hu)
    assert np.ptp(said, axis=0).max() > 0.001  # it is no constant
    # rounding adds up over the steps of a training
    expect_bits(
        "training", {f"slice/{number}": floats(row) for number, row in enumerate(said)}, tolerance=1e-3
    )


def _empty(client):
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
