"""An exam of 32 slices by each model family, side by side, beside decoding plus the bare forward passes.

    python -m benchmarks.families

The network of the slices is EfficientNet-B0 at 224 pixels with weights from phantoms; an ensemble has five of them,
which takes as long as five others would. The network over series has its first weights.

floor     no project: 32 DICOM files of 512 x 512 decoded and resampled, and LiteRT's bare forward passes; of an
          ensemble five times as many, of exam_sequence twice as many, since it looks at mirror images
predict   what predict does with a series: its files read, checked, scored
REST      one request with all 32 files in base64, aggregate=exam, to `mlflow models serve` with one worker

All of them in turns; medians. Prints milliseconds an exam, slices a second, and times the floor; then the ensemble in
single networks.
"""

import argparse
import base64
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import numpy as np

from benchmarks import rest
from benchmarks.serve import Floor

SLICES, MEMBERS = 32, 5


def log_families() -> dict[str, str]:
    """A version of each, by name."""
    from ich_mlflow.models.exam_sequence.hyperparameters import Hyperparameters
    from ich_mlflow.models.exam_sequence.network import build_sequence
    from ich_mlflow.models.exam_sequence.training import packed
    from ich_mlflow.models.slice_cnn.packing import network_of
    from ich_mlflow.models.weights import WITHOUT_PATIENTS
    from ich_mlflow.serving.packaging import load_classifier, log_models

    told, ancestry = rest.specification(), WITHOUT_PATIENTS["phantom"]
    hu = np.random.default_rng(0).integers(-100, 100, (2, 256, 256, 1))
    one = network_of(rest.full_size_model(told.labels), hu)
    found = {}

    def log(name: str, networks: list, specification) -> None:
        with mlflow.start_run():
            found[name] = log_models(networks, specification, ancestry, name="benchmark")[1]

    log("slice_cnn", [one], told)
    log("ensemble of five", [one] * MEMBERS, replace(told, members=MEMBERS))
    sequence = Hyperparameters()
    network = build_sequence(
        num_labels=len(told.labels), num_inputs=3 * len(told.labels), kind=sequence.kind, width=sequence.width
    )
    samples = [np.zeros((4, 3 * len(told.labels)), np.float32)]
    for name, slices in (("exam_sequence", "slice_cnn"), ("exam_sequence on five", "ensemble of five")):
        folder = load_classifier(found[slices]).folder
        log(
            name,
            [packed(folder, samples, network)],
            replace(told, family="exam_sequence", aggregation="model"),
        )
    return found


def exam_files(folder: Path) -> list[bytes]:
    """The files of one series of 32 slices, from the neck up."""
    from ich_mlflow.dicom.slice import slice_from_bytes
    from ich_mlflow.phantom.cohort import CohortOptions, write_cohort

    write_cohort(folder, CohortOptions(exams=8), workers=1, progress=False)
    by_series: dict[str, list[tuple[float, bytes]]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        data = path.read_bytes()
        ct = slice_from_bytes(data, path.name)
        by_series.setdefault(ct.series_uid, []).append((ct.position_mm, data))
    whole = next(one for one in by_series.values() if len(one) >= SLICES)
    return [data for _, data in sorted(whole, key=lambda one: one[0])[:SLICES]]


def milliseconds(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return 1000 * (time.perf_counter() - started)


def predicted(classifier: Any, files: list[bytes]) -> None:
    """What predict does with the files of a series."""
    from ich_mlflow.serving.rows import row_of_dicom

    rows = [row_of_dicom(data, "the file") for data in files]
    classifier.predict_series(np.stack([row.hu for row in rows]), np.array([row.position_mm for row in rows]))


def floor_of(floor: Floor, files: list[bytes], passes: int) -> None:
    """The files decoded once, and so many bare forward passes of each."""
    for data in files:
        floor.post(data)
        for _ in range(passes - 1):
            floor.interpreter.invoke()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=5, help="each is run so often, in turns")
    arguments = parser.parse_args()
    from ich_mlflow.serving.packaging import load_classifier
    from ich_mlflow.serving.smoke_test import served

    mlflow.set_tracking_uri(f"sqlite:///{rest.folder('benchmark-families') / 'mlflow.db'}")
    mlflow.set_experiment("benchmark-families")
    uris = log_families()
    passes = dict(zip(uris, (1, MEMBERS, 2, 2 * MEMBERS), strict=True))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        files = exam_files(Path(scratch) / "cohort")
        floor = Floor(uris["slice_cnn"])
        rows = [[base64.b64encode(data).decode()] for data in files]
        body = json.dumps(
            {"dataframe_split": {"columns": ["dicom"], "data": rows}, "params": {"aggregate": "exam"}}
        ).encode()
        what: dict[tuple[str, str], Callable[[], object]] = {}
        for name, uri in uris.items():
            classifier, address = load_classifier(uri), stack.enter_context(served(uri))
            what[name, "floor"] = partial(floor_of, floor, files, passes[name])
            what[name, "predict"] = partial(predicted, classifier, files)
            what[name, "REST"] = partial(_answered, address, body)
        took: dict[tuple[str, str], list[float]] = {key: [] for key in what}
        for number in range(arguments.times + 1):
            for key, one in what.items():
                ms = milliseconds(one)
                if number:  # the first warms up
                    took[key].append(ms)
    median = {key: float(np.median(values)) for key, values in took.items()}
    print(f"| {SLICES} slices | floor ms | predict ms | x floor | slices/s | REST ms | x floor |")
    print("|---|---|---|---|---|---|---|")
    for name in uris:
        bare, predict, answer = (median[name, way] for way in ("floor", "predict", "REST"))
        print(
            f"| {name} | {bare:.0f} | {predict:.0f} | {predict / bare:.2f} | {1000 * SLICES / predict:.0f} | "
            f"{answer:.0f} | {answer / bare:.2f} |"
        )
    ratio = median["ensemble of five", "predict"] / median["slice_cnn", "predict"]
    print(f"an exam by the ensemble takes {ratio:.2f} times as long as by one network")


def _answered(address: str, body: bytes) -> None:
    # a kept connection would be closed while the others have their turn
    status, answer = rest.Client(address).post(body)
    if status != 200:
        raise RuntimeError(f"status {status}: {answer[:300]!r}")


if __name__ == "__main__":
    main()
