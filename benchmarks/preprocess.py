"""Preprocessing side by side on the same files: the usual notebook, ours, and the floor.

    python benchmarks/preprocess.py                 # 240 phantom exams, about 7,000 slices of 512x512
    python benchmarks/preprocess.py --spark         # with Spark on this machine
    python benchmarks/preprocess.py --data <folder> # RSNA's layout, your own disk

The rounds take turns, so that a busy machine slows all alike; figures are medians, ratios against the notebook
way of the same round. Ours includes everything `preprocess` does: pre-flight, journal, checksums, flush to disk,
table, split.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom

from ich_mlflow.sources.rsna import RsnaSource

WINDOWS = ((40, 80), (80, 200), (600, 2800))
SIZE = 224


def notebook_way(source: RsnaSource, out: Path) -> None:
    """dcmread, pixel_array, float64, three windows, cv2.resize, PNG: what public notebooks do."""
    for file in source.files():
        dataset = pydicom.dcmread(source.folder.name(file.path))
        image = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        channels = []
        for center, width in WINDOWS:
            lowest = center - width / 2
            channels.append((np.clip(image, lowest, lowest + width) - lowest) / width * 255)
        picture = cv2.resize(np.stack(channels, axis=-1), (SIZE, SIZE)).astype(np.uint8)
        cv2.imwrite(str(out / f"{file.sop_uid}.png"), picture)


def floor(source: RsnaSource, out: Path) -> None:
    """The bytes, and one resize of the pixels that end them."""
    for file in source.files():
        data = source.folder.read(file.path)
        side = int((len(data) // 2) ** 0.5)
        cv2.resize(np.frombuffer(data, np.int16)[-side * side :].reshape(side, side), (256, 256))


def ours(**options: object) -> Callable[[RsnaSource, Path], None]:
    def build(source: RsnaSource, out: Path) -> None:
        # Here, since each process that is spawned imports this file again.
        from ich_mlflow.dataset.build import BuildOptions, build_stored_set

        build_stored_set(
            RsnaSource(source.root), out / "set", BuildOptions(seed=0, **options), progress=False
        )

    return build


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exams", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder in RSNA's layout instead of phantoms")
    parser.add_argument("--spark", action="store_true")
    arguments = parser.parse_args()
    from ich_mlflow.phantom.cohort import CohortOptions, write_cohort

    cohort = CohortOptions(exams=arguments.exams, exam_rate=0.3)
    folder = arguments.data or write_cohort(Path("data") / f"benchmark-{arguments.exams}-exams", cohort)
    source = RsnaSource(str(folder))
    num_slices = len(source.files())
    pipelines = {
        "notebook way, 1 process": notebook_way,
        "ours, 1 process": ours(workers=1),
        "ours, all cores": ours(),
        "ours, all cores, compressed": ours(compress=True),
        "floor: bytes and one resize": floor,
    }
    if arguments.spark:
        pipelines["ours, Spark local[*]"] = ours(engine="spark")
    cv2.setNumThreads(1)
    rates: dict[str, list[float]] = {name: [] for name in pipelines}
    sizes: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, pipeline in pipelines.items():
            out = Path(tempfile.mkdtemp(dir="data"))
            start = time.perf_counter()
            pipeline(source, out)
            rates[name].append(num_slices / (time.perf_counter() - start))
            sizes[name] = folder_bytes(out) / num_slices / 1024
            shutil.rmtree(out)
    print(f"{num_slices} slices of {folder}, {arguments.rounds} rounds, medians")
    print(f"{'':32}{'slices/s':>10}{'x notebook':>12}{'KiB/slice':>11}")
    usual = rates["notebook way, 1 process"]
    for name, measured in rates.items():
        ratio = statistics.median(one / base for one, base in zip(measured, usual, strict=True))
        print(f"{name:32}{statistics.median(measured):10.0f}{ratio:12.1f}{sizes[name]:11.1f}")


if __name__ == "__main__":
    main()
