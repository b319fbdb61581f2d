"""Reading a set back for training, side by side: shuffled batches of 32, ours against TFRecord of PNG and PNG files.

    python benchmarks/read.py               # 40 phantom exams, about 1,150 slices of 512x512
    python benchmarks/read.py --exams 240

The PNGs hold what public notebooks keep: three windows at 224x224. Ours hold Hounsfield units at 256x256; the
model's first layers make windows and 224x224 of them. "as 224x224x3" does that here as well, in NumPy and
OpenCV, so that the pixels handed over are the same. A pass is a full permutation, but for TFRecord, which
shuffles in a buffer of 2,048. The rounds take turns; figures are medians.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

from ich_mlflow.ct.window import BONE, BRAIN, SUBDURAL, apply_windows
from ich_mlflow.dataset.store import StoredSet

BATCH = 32
SIZE = 224
Reader = Callable[[int], Iterator[np.ndarray]]


def picture(hu: np.ndarray) -> np.ndarray:
    """HU [256, 256] to uint8 [224, 224, 3]."""
    small = cv2.resize(hu, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.rint(apply_windows(small, (BRAIN, SUBDURAL, BONE))).astype(np.uint8)


def ours(stored: StoredSet, *, pictures: bool) -> Reader:
    def read(seed: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng(seed).permutation(len(stored.table))
        for start in range(0, len(order), BATCH):
            hu = stored.hu(order[start : start + BATCH])
            yield np.stack([picture(one) for one in hu]) if pictures else hu.astype(np.float32)

    return read


def png_files(folder: Path) -> Reader:
    import tensorflow as tf

    paths = sorted(map(str, folder.glob("*.png")))

    def read(seed: int) -> Iterator[np.ndarray]:
        order = np.random.default_rng(seed).permutation(len(paths))
        files = tf.data.Dataset.from_tensor_slices([paths[place] for place in order])
        decoded = files.map(
            lambda path: tf.io.decode_png(tf.io.read_file(path)), num_parallel_calls=tf.data.AUTOTUNE
        )
        yield from decoded.batch(BATCH).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    return read


def tfrecord(path: Path) -> Reader:
    import tensorflow as tf

    def read(seed: int) -> Iterator[np.ndarray]:
        records = tf.data.TFRecordDataset(str(path)).shuffle(2048, seed=seed)
        decoded = records.map(tf.io.decode_png, num_parallel_calls=tf.data.AUTOTUNE)
        yield from decoded.batch(BATCH).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    return read


def write_pngs(stored: StoredSet, folder: Path, record: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(record)) as writer:
        for row in range(len(stored.table)):
            image = picture(stored.hu(np.array([row]))[0])
            data = cv2.imencode(".png", image)[1].tobytes()
            (folder / f"{row:06d}.png").write_bytes(data)
            writer.write(data)


def num_bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.glob("[!s]*")
    return sum(file.stat().st_size for file in files)


def main() -> None:
    from ich_mlflow.dataset.build import BuildOptions, build_stored_set
    from ich_mlflow.phantom.cohort import CohortOptions, write_cohort
    from ich_mlflow.sources.rsna import RsnaSource

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exams", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    cohort = CohortOptions(exams=arguments.exams, exam_rate=0.3)
    source = RsnaSource(str(write_cohort(Path("data") / f"benchmark-{arguments.exams}-exams", cohort)))
    with tempfile.TemporaryDirectory(dir="data") as temporary:
        folder = Path(temporary)
        raw = build_stored_set(source, folder / "raw", BuildOptions(seed=0), progress=False)
        small = build_stored_set(source, folder / "zstd", BuildOptions(seed=0, compress=True), progress=False)
        (folder / "png").mkdir()
        write_pngs(raw, folder / "png", folder / "slices.tfrecord")
        readers = {
            "TFRecord of PNG": (tfrecord(folder / "slices.tfrecord"), folder / "slices.tfrecord"),
            "PNG files": (png_files(folder / "png"), folder / "png"),
            "ours": (ours(raw, pictures=False), raw.path),
            "ours, compressed": (ours(small, pictures=False), small.path),
            "ours, as 224x224x3": (ours(raw, pictures=True), raw.path),
            "ours, compressed, as 224x224x3": (ours(small, pictures=True), small.path),
        }
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for seed in range(arguments.rounds + 1):
            for name, (reader, _) in readers.items():
                start = time.perf_counter()
                read = sum(len(batch) for batch in reader(seed))
                assert read == len(raw.table)
                rates[name].append(read / (time.perf_counter() - start))
        print(
            f"{len(raw.table)} slices, {arguments.rounds} rounds after one to warm up, medians, files in the cache"
        )
        print(f"{'':32}{'slices/s':>10}{'x TFRecord':>12}{'KiB/slice':>11}")
        usual = rates["TFRecord of PNG"]
        for name, measured in rates.items():
            ratio = statistics.median(one / base for one, base in zip(measured[1:], usual[1:], strict=True))
            size = num_bytes(readers[name][1]) / len(raw.table) / 1024
            print(f"{name:32}{statistics.median(measured[1:]):10.0f}{ratio:12.1f}{size:11.1f}")


if __name__ == "__main__":
    main()
