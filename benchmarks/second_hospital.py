"""One network against the mean of five on PHE-SICH-CT-IDS, a hospital that none has learned from or been chosen by.

    python benchmarks/ladder.py --data data/ctich
    python benchmarks/second_hospital.py --data /data/phe-sich
    python benchmarks/second_hospital.py --data /data/phe-sich --model models:/ich-5class-ctich-demo/1

The five networks of the ladder's folds, each alone and their mean, as slices stand and then averaged with the mirror
image and smoothed over 15 mm. Labels are of intraparenchymal blood with its oedema, in exams that all bleed: AUC of
slices, intervals over patients. With --model a
registered model alone, as it serves. The pictures are windowed: white is taken as bone, black as air.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.ladder import SCHEME, fold_file
from ich_mlflow.evaluation.assess import Predictions, assess, difference
from ich_mlflow.evaluation.text import with_interval
from ich_mlflow.labels import with_any
from ich_mlflow.models.logits import mean_of_logits
from ich_mlflow.models.series import USUAL_STEP_MM, smoothed_each
from ich_mlflow.serving.packaging import load_classifier
from ich_mlflow.tracking.registry import full_model_uri

#: What a grey level stands for, by the data's README; the ends are clipped.
_LOW_HU, _HIGH_HU, _AIR_HU, _BONE_HU = -10.0, 90.0, -1000, 700
_LABELS = ("intraparenchymal", "any")


def pictures(folder: Path, table: pd.DataFrame) -> np.ndarray:
    """HU int16 [N, 256, 256] of the table's slices."""
    found = []
    for row in table.itertuples():
        path = folder / "slices" / f"{row.patient:04d}" / f"{row.slice:02d}.jpg"
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise FileNotFoundError(path)
        hu = _LOW_HU + (_HIGH_HU - _LOW_HU) * grey.astype(np.float32) / 255
        found.append(np.select([grey >= 254, grey <= 1], [_BONE_HU, _AIR_HU], hu).astype(np.int16))
    return np.stack(found)


def said_of(hu: np.ndarray, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    """What a network says of slices as they stand and of their mirror images, float32 [N, 5] each."""
    (member,) = load_classifier(full_model_uri(f"runs:/{run_id}/serving")).members
    straight, mirrored = (member.outputs(one) for one in (hu, hu[:, :, ::-1]))  # type: ignore[attr-defined]
    return straight, mirrored


def of_model(uri: str, table: pd.DataFrame, hu: np.ndarray) -> Predictions:
    """What a model version says, series by series, as it serves: averaged and smoothed as it has it."""
    classifier = load_classifier(uri)
    patients = table["patient"].to_numpy()
    outputs = np.empty((len(hu), len(classifier.specification.labels)), np.float32)
    for patient in np.unique(patients):
        rows = np.flatnonzero(patients == patient)
        position_mm = USUAL_STEP_MM * table["slice"].to_numpy()[rows]
        outputs[rows] = classifier.predict_series(hu[rows], position_mm).slices
    return predictions(outputs, table)


def predictions(outputs: np.ndarray, table: pd.DataFrame) -> Predictions:
    """Of the labels that the data has, from outputs [N, 5]."""
    scores = with_any(outputs, SCHEME.labels)
    bleeds = table["haemorrhage"].to_numpy() == 1
    places = [SCHEME.findings.index(label) for label in _LABELS]
    return Predictions(
        labels=_LABELS,
        targets=np.stack([bleeds, bleeds], axis=1),
        probabilities=scores[:, places].astype(np.float64),
        thresholds=np.full(2, 0.5),
        patients=table["patient"].to_numpy(),
    )


def cells(of: Predictions, *, digits: int = 2) -> list[str]:
    """AUC with its interval, label by label."""
    assessed = assess(of)
    found = []
    for label in _LABELS:
        value, interval = assessed.values[f"auc/{label}"], assessed.interval(f"auc/{label}")
        if digits == 2:
            found.append(with_interval(value, interval.low, interval.high))
        else:
            found.append(f"{value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of PHE-SICH-CT-IDS")
    parser.add_argument("--out", type=Path, default=Path("data/ladder"), help="the ladder's folder")
    parser.add_argument("--seed", type=int, default=0, help="of the ladder's networks")
    parser.add_argument("--model", help="instead: a model version's URI")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.data / "labels.csv").sort_values(["patient", "slice"])
    hu = pictures(arguments.data, table)
    if arguments.model:
        print("| | intraparenchymal | any |\n|---|---|---|")
        print(f"| {arguments.model} | {' | '.join(cells(of_model(arguments.model, table, hu), digits=3))} |")
        return
    runs = []
    for fold in range(5):
        with np.load(fold_file(arguments, fold, arguments.seed)) as file:
            runs.append(str(file["run_id"]))
    each = [said_of(hu, run) for run in runs]
    patients = table["patient"].to_numpy()
    position_mm = USUAL_STEP_MM * table["slice"].to_numpy()

    print("| how | who | intraparenchymal | any |\n|---|---|---|---|")
    for how in ("as it stands", "mirror image, smoothed"):
        views = [[one] if how == "as it stands" else [one, other] for one, other in each]
        outputs = [mean_of_logits(*of_one) for of_one in views] + [
            mean_of_logits(*(one for of_one in views for one in of_one))
        ]
        if how != "as it stands":
            outputs = [smoothed_each(one, position_mm, patients, "15mm") for one in outputs]
        found = [predictions(one, table) for one in outputs]
        for name, one in zip([*(f"fold {fold}" for fold in range(5)), "mean of five"], found, strict=True):
            print(f"| {how} | {name} | {' | '.join(cells(one))} |")
        singles = [difference(found[-1], one) for one in found[:-1]]
        for label in _LABELS:
            gains = [
                float(one.loc[(one["metric"] == "auc") & (one["label"] == label), "difference"].iloc[0])
                for one in singles
            ]
            print(
                f"mean of five minus one, {label}: {np.mean(gains):+.3f} on average, {min(gains):+.3f} to "
                f"{max(gains):+.3f}"
            )


if __name__ == "__main__":
    main()
