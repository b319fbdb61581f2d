"""Slices/s of a training epoch, beside the model alone and beside PNG files in a folder a class.

    python benchmarks/train.py                     # 224 pixels
    python benchmarks/train.py --image_size 96

Every row trains EfficientNet-B0 (random weights, one sigmoid: bleeds or not) on the same phantom slices for the same
number of steps, in turns; medians are printed with their ratio to "the model alone", which has its batch in memory
and augments nothing. What a row takes longer is its input pipeline. "ours" reads the stored set, augments Hounsfield
units, and resizes and windows in the graph. The PNGs hold the brain window at the image size, 8 bits, three channels,
made beforehand, with the same kinds of augmentation: by Keras' ImageDataGenerator, and by
image_dataset_from_directory with Keras' preprocessing layers in the model. The last rows train the head alone, the
backbone frozen.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ich_mlflow.ct.window import BRAIN, apply_windows
from ich_mlflow.dataset.batches import FeatureBatches, SliceBatches
from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.sampling import natural_order
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.models.slice_cnn.augmentation import augment_slices
from ich_mlflow.models.slice_cnn.backbone_graph import build_backbone
from ich_mlflow.models.slice_cnn.classifier import (
    backbone_of,
    build_classifier,
    features_of,
    frozen_of,
    head_of,
)
from ich_mlflow.models.slice_cnn.hyperparameters import Hyperparameters
from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
from ich_mlflow.sources.rsna import RsnaSource
from ich_mlflow.training.progress import EpochProgress, predict

Epoch = Callable[[], None]


def compiled(model: keras.Model) -> keras.Model:
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="binary_crossentropy")
    return model


def classifier(size: int) -> keras.Model:
    return build_classifier(num_labels=1, image_size=size, windows=(BRAIN,))


def of_pictures(size: int) -> keras.Model:
    """The same network for pictures [size, size, 3] in [0, 255], as notebooks have it."""
    backbone = build_backbone(image_size=size)
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(128, activation="relu")(x))
    return keras.Model(backbone.input, keras.layers.Dense(1, activation="sigmoid")(x))


def batches(stored: StoredSet, rows: np.ndarray, hyperparameters: Hyperparameters) -> SliceBatches:
    return SliceBatches(
        stored,
        rows,
        stored.subtypes[rows].any(axis=1, keepdims=True).astype(np.float32),
        batch_size=hyperparameters.batch_size,
        order=lambda epoch: natural_order(len(rows), seed=0, epoch=epoch),
        augment=partial(augment_slices, strengths=hyperparameters),
        num_draws=5,
    )


def from_memory(model: keras.Model, data: SliceBatches | FeatureBatches, steps: int) -> Epoch:
    first = tf.data.Dataset.from_tensors(data[0]).repeat()
    return lambda: model.fit(first, steps_per_epoch=steps, verbose=0)


def ours(model: keras.Model, data: Any, hyperparameters: Hyperparameters) -> Epoch:
    progress = EpochProgress(1, data.num_slices, hyperparameters)
    return lambda: model.fit(data, shuffle=False, verbose=0, callbacks=[progress])


def read_through(data: SliceBatches) -> None:
    for number in range(len(data)):
        data[number]


def write_pngs(stored: StoredSet, rows: np.ndarray, folder: Path, size: int) -> None:
    bleeds = stored.subtypes[rows].any(axis=1)
    for name in ("0", "1"):
        (folder / name).mkdir()
    for row, label in zip(rows, bleeds, strict=True):
        small = cv2.resize(stored.hu(np.array([row]))[0], (size, size), interpolation=cv2.INTER_AREA)
        picture = np.rint(apply_windows(small, (BRAIN,))).astype(np.uint8)
        picture = np.repeat(picture[..., :1], 3, axis=-1)
        cv2.imwrite(str(folder / str(int(label)) / f"{row:06d}.png"), picture)


def image_data_generator(model: keras.Model, folder: Path, hyperparameters: Hyperparameters) -> Epoch:
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=hyperparameters.rotation_degrees,
        width_shift_range=hyperparameters.shift,
        height_shift_range=hyperparameters.shift,
        zoom_range=hyperparameters.zoom,
        horizontal_flip=True,
    )
    size = hyperparameters.image_size
    flow = generator.flow_from_directory(
        str(folder), target_size=(size, size), batch_size=hyperparameters.batch_size, class_mode="binary"
    )
    return lambda: model.fit(flow, verbose=0)


def dataset_from_directory(model: keras.Model, folder: Path, hyperparameters: Hyperparameters) -> Epoch:
    size = hyperparameters.image_size
    pictures = keras.utils.image_dataset_from_directory(
        str(folder), label_mode="binary", image_size=(size, size), batch_size=hyperparameters.batch_size
    )
    augment = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(hyperparameters.rotation_degrees / 360),
            keras.layers.RandomTranslation(hyperparameters.shift, hyperparameters.shift),
            keras.layers.RandomZoom(hyperparameters.zoom),
        ]
    )
    pixels = keras.Input((size, size, 3))
    augmented = compiled(keras.Model(pixels, model(augment(pixels))))
    ready = pictures.prefetch(tf.data.AUTOTUNE)
    return lambda: augmented.fit(ready, verbose=0)


def epochs_of(
    stored: StoredSet, rows: np.ndarray, folder: Path, hyperparameters: Hyperparameters
) -> dict[str, Epoch]:
    size = hyperparameters.image_size
    data = batches(stored, rows, hyperparameters)
    whole, notebook = compiled(classifier(size)), compiled(of_pictures(size))
    frozen = classifier(size)
    backbone_of(frozen).trainable = False
    features = FeatureBatches(
        predict(features_of(frozen), data.as_stored(), said="features"),
        data.targets,
        batch_size=hyperparameters.batch_size,
        order=data.order_of,
    )
    write_pngs(stored, rows, folder, size)
    return {
        "the model alone": from_memory(whole, data, len(data)),
        "ours": ours(whole, data, hyperparameters),
        "PNG, ImageDataGenerator": image_data_generator(notebook, folder, hyperparameters),
        "PNG, image_dataset_from_directory": dataset_from_directory(notebook, folder, hyperparameters),
        "input of ours alone, one thread": partial(read_through, data),
        "head alone, whole pass": ours(compiled(frozen_of(frozen)), data, hyperparameters),
        "head alone, cached features": ours(compiled(head_of(frozen)), features, hyperparameters),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--slices", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    hyperparameters = Hyperparameters(image_size=arguments.image_size, batch_size=arguments.batch_size)
    source = RsnaSource(
        str(write_cohort(Path("data") / "benchmark-40-exams", CohortOptions(exams=40, exam_rate=0.3)))
    )
    with tempfile.TemporaryDirectory(dir="data") as temporary:
        stored = build_stored_set(source, Path(temporary) / "set", BuildOptions(seed=0), progress=False)
        rows = np.sort(np.random.default_rng(0).choice(len(stored.table), arguments.slices, replace=False))
        (Path(temporary) / "png").mkdir()
        epochs = epochs_of(stored, rows, Path(temporary) / "png", hyperparameters)
        rates: dict[str, list[float]] = {name: [] for name in epochs}
        for epoch in tqdm(epochs.values(), desc="first epochs, not counted"):
            epoch()
        for _ in range(arguments.rounds):
            for name, epoch in epochs.items():
                began = time.perf_counter()
                epoch()
                rates[name].append(arguments.slices / (time.perf_counter() - began))
    floor = statistics.median(rates["the model alone"])
    # Neighbours in time share the machine's mood: the overhead is the median over rounds of their ratio.
    overhead = statistics.median(
        alone / mine - 1 for alone, mine in zip(rates["the model alone"], rates["ours"], strict=True)
    )
    said = f"{arguments.image_size} pixels, batches of {arguments.batch_size}"
    print(f"| {said} | slices/s | x the model alone |\n|---|---|---|")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"| {name} | {median:,.1f} | {median / floor:.2f} |")
    print(f"input pipeline of ours: {overhead:+.1%} of the model's time (goal: below 5 %)")


if __name__ == "__main__":
    main()
