"""A whole set of studies, scored: predict on one and two cores beside the floor.

    python -m benchmarks.predict --studies 24

The studies are phantoms as a hospital exports them, every fourth a chest, with other series among them and some files
that are no images, made once under data/. The model is EfficientNet-B0 at 224 pixels with weights from phantoms.

floor      no predict: the files of the right series read, decoded, resampled, and LiteRT's bare forward pass, one after
           another in this process. It knows which files these are
predict    all of it: headers of all files, series chosen, scored, tables and page written; without pictures and DICOM,
           and with them. On one core and on two; a process of its own, whose start counts

Everything is run --times in turns; medians. Slices a second are of the scored slices; for predict's own `to scores` the
clock runs from its first look at the folder to the last score.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mlflow
import numpy as np

from benchmarks import rest
from benchmarks.serve import Floor

WAYS = {
    "1 core": ["--workers", "1", "--pictures", "0", "--dicom", "false"],
    "2 cores": ["--workers", "2", "--pictures", "0", "--dicom", "false"],
    "2 cores, pictures, DICOM": ["--workers", "2"],
}


def studies(folder: Path, count: int) -> tuple[Path, list[Path], int]:
    """The folder, the files of its right series, and how many files there are in all."""
    from ich_mlflow.intake.files import files_of
    from ich_mlflow.intake.survey import survey
    from ich_mlflow.phantom.studies import StudySetOptions, write_study_set

    path = folder / f"studies-{count}"
    if not path.is_dir():
        part = path.with_name(f"{path.name}.partial")
        shutil.rmtree(part, ignore_errors=True)
        write_study_set(part, StudySetOptions(studies=count, exam_rate=0.3, junk=24))
        part.with_name(f"{part.name}.truth.json").rename(path.with_name(f"{path.name}.truth.json"))
        part.rename(path)
    truth = json.loads(path.with_name(f"{path.name}.truth.json").read_text())
    right = {one["series_uid"] for one in truth["series"] if one["is_right"]}
    files = files_of(path)
    images = [image for found in survey(files).studies.values() for image in found]
    chosen = [image.file.path for image in images if image.header.series_uid in right]
    return path, chosen, len(files)


def predicted(model: str, path: Path, out: Path, options: list[str]) -> tuple[float, dict]:
    """Seconds of a whole predict, and its summary."""
    shutil.rmtree(out, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "entrypoints.predict",
        "--input",
        str(path),
        "--model",
        model,
        "--out",
        str(out),
    ]
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    started = time.perf_counter()
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return took, json.loads((out / "summary.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    folder = rest.folder("benchmark-predict")
    mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').absolute()}")
    path, files, num_files = studies(folder, arguments.studies)
    model = rest.log_served("benchmark-predict")
    floor = Floor(model)
    took: dict[str, list[float]] = {name: [] for name in ("floor", *WAYS)}
    to_scores: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(arguments.times):
        started = time.perf_counter()
        for file in files:
            floor.post(file.read_bytes())
        took["floor"].append(time.perf_counter() - started)
        for name, options in WAYS.items():
            whole, summary = predicted(model, path, folder / "out", options)
            if summary["counts"]["slices"] != len(files):
                raise SystemExit(f"{summary['counts']['slices']} slices scored, expected {len(files)}")
            took[name].append(whole)
            to_scores[name].append(summary["seconds_to_scores"])
    print(f"\n{num_files} files, {arguments.studies} studies, {len(files)} slices scored")
    print(f"{'':<26}{'whole, s':>10}{'slices/s':>10}{'to scores, s':>14}{'slices/s':>10}{'of the floor':>14}")
    bare = float(np.median(took["floor"]))
    print(f"{'floor':<26}{bare:>10.1f}{len(files) / bare:>10.0f}")
    for name in WAYS:
        whole, scores = float(np.median(took[name])), float(np.median(to_scores[name]))
        print(
            f"{name:<26}{whole:>10.1f}{len(files) / whole:>10.0f}{scores:>14.1f}{len(files) / scores:>10.0f}"
            f"{bare / scores:>14.2f}"
        )


if __name__ == "__main__":
    main()
