import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from ich_mlflow.ct.window import parse_windows
from ich_mlflow.errors import ModelError
from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters as OfSequence
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.training.compute import (
    Distribution,
    computing_in,
    device_names,
    memory_errors_explained,
    peak_memory_gib,
)

ROOT = Path(__file__).parents[2]
TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from ich_mlflow.models.slice_cnn.classifier import synchronize_batch_norms
from ich_mlflow.training.compute import Distribution

def step(distribution, synchronize=True):
    keras.utils.set_random_seed(0)
    with distribution.scope():
        model = keras.Sequential([
            keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="conv"), keras.layers.BatchNormalization(),
            keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, activation="sigmoid"),
        ])
        if synchronize:
            synchronize_batch_norms(model)
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss="binary_crossentropy")
        rng = np.random.default_rng(0)
        model.fit(rng.normal(size=(8, 8, 8, 1)), rng.integers(0, 2, (8, 1)), batch_size=8, verbose=0)
    return model.get_weights()

one, two = Distribution(), Distribution(["CPU:0", "CPU:1"])
assert (one.num_replicas, two.num_replicas) == (1, 2)
def difference(a, b):
    return max(np.abs(x - y).max() for x, y in zip(a, b))
alone = step(one)
print("SAME", difference(alone, step(two)))
print("ALONE", difference(alone, step(two, synchronize=False)))

# a whole training with remainders: 19 slices in batches of 8 and 5 to validate, over both devices
import tempfile
from pathlib import Path
from ich_mlflow.ct.window import BRAIN
from ich_mlflow.dataset.batches import SliceBatches
from ich_mlflow.models.slice_cnn.classifier import build_classifier
from ich_mlflow.training.loop import fit
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from tests.factories import build_small_set, tiny_network

stored = build_small_set(Path(tempfile.mkdtemp()), num_patients=6)
targets = stored.subtypes[:, :1].astype(np.float32)

def train(distribution):
    keras.utils.set_random_seed(0)
    with distribution.scope():
        backbone = tiny_network(include_top=False, weights=None, input_shape=(32, 32, 3), dropout=0.0)
        model = build_classifier(num_labels=1, image_size=32, windows=(BRAIN,), dropout=0.0, backbone=backbone)
        synchronize_batch_norms(model)
        result = fit(
            model,
            train=SliceBatches(stored, np.arange(19), targets[:19], batch_size=8, divisor=2),
            validation=SliceBatches(stored, np.arange(19, 24), targets[19:], batch_size=4),
            hyperparameters=Hyperparameters(
                image_size=32, batch_size=8, epochs=2, frozen_epochs=1, frozen_augment=True, learning_rate=0.01, ema=0.5
            ),
            score=lambda probabilities: {"val_loss": 0.5, "val/auc/macro": 0.5},
            on_epoch=lambda epoch, figures: None,
        )
    return result.history[["loss", "val_loss_uncalibrated"]].to_numpy().ravel()

for name, losses in (("ONE", train(one)), ("TWO", train(two))):
    print(name, *losses)
"""


def test_two_devices_take_the_same_step_as_one_and_only_because_statistics_are_shared():
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    lines = [
        line.split() for line in done.stdout.splitlines() if line.startswith(("SAME", "ALONE", "ONE", "TWO"))
    ]
    said = {name: np.array(values, float) for name, *values in lines}
    assert said["SAME"] < 1e-5
    assert said["ALONE"] > 1e-4
    # of a whole training both losses of the first epoch; after it Adam's division makes more of the rounding
    assert abs(said["ONE"] - said["TWO"])[:2].max() < 1e-5
    assert abs(said["ONE"] - said["TWO"]).max() < 0.01


def test_without_several_gpus_one_device_computes():
    assert Distribution().num_replicas == 1
    assert device_names()


@pytest.mark.parametrize(
    ("precision", "computed"), [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")]
)
def test_a_mixed_precision_computes_the_network_in_it_and_the_rest_in_float32(
    tiny_backbone, precision, computed
):
    before = keras.config.dtype_policy().name
    with computing_in(precision):
        model = build_classifier(num_labels=5, image_size=32, windows=parse_windows("brain"))
    assert keras.config.dtype_policy().name == before
    computes = {layer.name: layer.compute_dtype for layer in model.layers}
    assert (computes["resize"], computes["windows"], computes["probabilities"]) == ("float32",) * 3
    assert computes["dense"] == computes["tiny"] == computed
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when")])
def test_running_out_of_memory_says_what_to_lower(error):
    with (
        pytest.raises(ModelError, match=r"batch_size=32.*-P batch_size=16"),
        memory_errors_explained(Hyperparameters()),
    ):
        raise error


def test_running_out_of_memory_over_series_says_what_of_them_to_lower():
    with pytest.raises(ModelError) as refusal, memory_errors_explained(OfSequence()):
        raise MemoryError
    assert str(refusal.value) == (
        "out of memory with width=32, depth=2: pass a smaller -P width=16 or -P depth=, or on a GPU "
        "-P precision=mixed_bfloat16"
    )


def test_peak_memory_is_that_of_this_process():
    before = peak_memory_gib()["peak_memory_gib"]
    block = bytearray(2**28)  # a quarter of a GiB
    block[::4096] = b"1" * len(block[::4096])
    assert 0.1 < before <= peak_memory_gib()["peak_memory_gib"] < 100
