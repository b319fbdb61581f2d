"""Small inputs for tests: DICOM files, source folders, stored sets. Every value is made up."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ich_mlflow.dataset.build import BuildOptions, build_stored_set
from ich_mlflow.dataset.store import StoredSet
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import SliceError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.series.choice import SeriesChoice
from ich_mlflow.sources.base import LabelledFile, Quarantined
from ich_mlflow.sources.rsna import RsnaSource

AXIAL = [1, 0, 0, 0, 1, 0]
NO_BLEED = (0, 0, 0, 0, 0)
EPIDURAL_BLEED = (1, 0, 0, 0, 0)


def write_dicom(
    path: Path,
    stored_values: Sequence[Sequence[int]] | np.ndarray,
    *,
    bits_stored: int = 16,
    signed: bool = True,
    intercept: float | str = -1024,
    syntax: str = ExplicitVRLittleEndian,
    change: Callable[[FileDataset], Any] = lambda dataset: None,
) -> Path:
    """A CT file with RSNA's tags and its invalid UIDs. `change` edits the data set before it is written."""
    values = np.asarray(stored_values)
    pixels = np.ascontiguousarray(values.astype(np.int64) & 0xFFFF, dtype="<u2")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    tags = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": Path(path).stem, "Modality": "CT",
        "PatientID": "ID_aaaaaaaa", "StudyInstanceUID": "ID_bbbbbbbbbb", "SeriesInstanceUID": "ID_cccccccccc",
        "StudyID": "", "ImagePositionPatient": [-125.0, -125.0, 40.0], "ImageOrientationPatient": AXIAL,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": values.shape[0],
        "Columns": values.shape[1], "PixelSpacing": [0.5, 0.4], "BitsAllocated": 16, "BitsStored": bits_stored,
        "HighBit": bits_stored - 1, "PixelRepresentation": int(signed), "WindowCenter": ["00040", "00080"],
        "WindowWidth": ["00080", "00200"], "RescaleIntercept": intercept, "RescaleSlope": 1,
    }  # fmt: skip
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def rsna_rows(sop_uid: str, subtypes: Sequence[int]) -> list[str]:
    """The six rows of a slice in stage_2_train.csv."""
    rows = [f"{sop_uid}_{name},{label}" for name, label in zip(SUBTYPES, subtypes, strict=True)]
    return [*rows, f"{sop_uid}_any,{int(any(subtypes))}"]


def write_rsna_table(root: Path, rows: Sequence[str], *, header: str = "ID,Label") -> Path:
    """stage_2_train.csv with these rows, beside an empty stage_2_train/."""
    (root / "stage_2_train").mkdir(parents=True, exist_ok=True)
    table = root / "stage_2_train.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    return table


def write_rsna(root: Path, *, num_patients: int = 4, slices_per_patient: int = 3) -> Path:
    """An RSNA folder of 8x8 slices; every second patient bleeds (epidural) on every slice."""
    rows = []
    for number, (patient, place) in enumerate(
        itertools.product(range(num_patients), range(slices_per_patient))
    ):
        sop_uid = f"ID_{number:09x}"
        rows += rsna_rows(sop_uid, EPIDURAL_BLEED if patient % 2 else NO_BLEED)

        def identify(dataset: FileDataset, patient: int = patient, place: int = place) -> None:
            dataset.PatientID = f"ID_{patient:08x}"
            dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"ID_{patient:010x}"
            dataset.ImagePositionPatient = [0, 0, -5.0 * place]  # files stand from the head down

        (root / "stage_2_train").mkdir(parents=True, exist_ok=True)
        values = np.full((8, 8), 1024 + number)
        values[-1, -1] = 0  # a blank slice would be quarantined
        write_dicom(root / "stage_2_train" / f"{sop_uid}.dcm", values, change=identify)
    write_rsna_table(root, rows)
    return root


CTICH_HEADER = (
    "PatientNumber,SliceNumber,Intraventricular,Intraparenchymal,Subarachnoid,Epidural,Subdural,"
    "No_Hemorrhage,Fracture_Yes_No"
)


def write_ctich(root: Path, rows: Sequence[str], *, header: str = CTICH_HEADER, grey: int = 106) -> Path:
    """A CT-ICH folder with these table rows and, for patient 49 slices 1 and 2, grey 8x8 images."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "hemorrhage_diagnosis.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    for kind, value in (("brain", grey), ("bone", 74)):
        folder = root / "Patients_CT" / "049" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for slice_number in (1, 2):
            image = np.full((16, 16), value, np.uint8)
            image[8:, 8:] = 0  # a blank slice would be quarantined
            cv2.imwrite(str(folder / f"{slice_number}.jpg"), image)
    return root


class ArraySource:
    """A source without files of its own: slices whose HU is the slice's number, but for a corner of air.

    Patient p has `slices_per_patient` slices and the labels `labels[p]` on all of them. `broken` names slices
    that can't be read. Spacing is 0.5 x 0.4 mm at 512x512.
    """

    name = "array"
    label_level = "slice"
    overlap = "made up, no patient"

    def __init__(
        self,
        folder: Path,
        labels: Sequence[Sequence[int]],
        *,
        slices_per_patient: int = 4,
        broken: Sequence[str] = (),
    ) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.labels = [tuple(int(label) for label in row) for row in labels]
        self.slices_per_patient = slices_per_patient
        self.broken = broken

    def files(self) -> list[LabelledFile]:
        return [
            LabelledFile(
                sop_uid=f"s{number:04d}",
                path=f"s{number:04d}.dcm",
                subtypes=self._labels_of(number),
                num_bytes=1,
                modified_ns=0,
            )
            for number in range(len(self.labels) * self.slices_per_patient)
        ]

    def rejected(self) -> list[Quarantined]:
        return []

    def audit(self) -> dict[str, int]:
        return {"slices": len(self.files())}

    def chosen_series(self) -> list[SeriesChoice]:
        return []

    def read(self, file: LabelledFile) -> Slice:
        if file.sop_uid in self.broken:
            raise SliceError(f"{file.sop_uid} is broken: leave it out", reason="truncated", tag="PixelData")
        number = int(file.sop_uid[1:])
        patient, place = divmod(number, self.slices_per_patient)
        hu = np.full((512, 512), number, np.int16)
        hu[-2:, -2:] = -1000  # a blank slice would be quarantined
        return Slice(
            hu=hu,
            sop_uid=file.sop_uid,
            patient_id=f"p{patient:03d}",
            study_uid=f"study{patient:03d}",
            series_uid=f"series{patient:03d}",
            position_mm=-5.0 * place,  # files stand from the head down
            pixel_spacing_mm=(0.5, 0.4),
        )

    def _labels_of(self, number: int) -> tuple[int, int, int, int, int]:
        return self.labels[number // self.slices_per_patient]  # type: ignore[return-value]


class BloodSource(ArraySource):
    """The same with masks: of a bleeding patient, slice k shows blood of `bit` on its upper 2 k rows of 512.

    Of each patient's first slice, 0, it is not known where its blood is.
    """

    def __init__(
        self,
        folder: Path,
        labels: Sequence[Sequence[int]],
        *,
        bit: int = 1,
        shape: tuple[int, int] = (512, 512),
        **options: Any,
    ) -> None:
        super().__init__(folder, labels, **options)
        self.bit, self.shape = bit, shape

    def read(self, file: LabelledFile) -> Slice:
        place = int(file.sop_uid[1:]) % self.slices_per_patient
        blood = np.zeros(self.shape, np.uint8)
        if any(file.subtypes):
            blood[: 2 * place] = self.bit
        return replace(super().read(file), blood=blood if place else None)


class SpotSource(ArraySource):
    """Heads of 30 HU in air with a bright spot where a slice bleeds, a place of its own a slice; its mask is known.

    Of slices of `unknown` patients it is not.
    """

    def __init__(
        self, folder: Path, labels: Sequence[Sequence[int]], *, unknown: Sequence[int] = (), **options: Any
    ) -> None:
        super().__init__(folder, labels, **options)
        self.unknown = unknown

    def read(self, file: LabelledFile) -> Slice:
        plain = super().read(file)
        number = int(file.sop_uid[1:])
        hu, blood = np.full((256, 256), -1000, np.int16), np.zeros((256, 256), np.uint8)
        hu[32:224, 32:224] = 30
        if any(file.subtypes):
            row, column = np.random.default_rng(number).integers(48, 160, 2)
            spot = (slice(row, row + 48), slice(column, column + 48))
            hu[spot], blood[spot] = 75, 1 << file.subtypes.index(1)
        known = number // self.slices_per_patient not in self.unknown
        return replace(plain, hu=hu, blood=blood if known else None)


def build_small_set(folder: Path, *, num_patients: int = 6, slices_per_patient: int = 4) -> StoredSet:
    """A stored set of constant slices at `folder`/set: every second patient has an epidural bleed."""
    labels = [EPIDURAL_BLEED if patient % 2 else NO_BLEED for patient in range(num_patients)]
    source = ArraySource(folder, labels, slices_per_patient=slices_per_patient)
    return build_stored_set(source, folder / "set", BuildOptions(seed=1, workers=1), progress=False)


def interrupt_reading(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Make RsnaSource stop as Ctrl-C does once it has read `after` files."""
    read, seen = RsnaSource.read, []

    def interrupted(self: RsnaSource, file: LabelledFile) -> Slice:
        seen.append(file)
        if len(seen) > after:
            raise KeyboardInterrupt
        return read(self, file)

    monkeypatch.setattr(RsnaSource, "read", interrupted)


def tiny_network(
    *, include_top: bool, weights: str | None, input_shape: tuple[int, int, int], dropout: float = 0.2
) -> keras.Model:
    """A network with everything that makes training hard to repeat (statistics, dropped units), in two layers."""
    assert not include_top
    assert weights is None
    pixels = keras.Input(input_shape)
    x = keras.layers.Rescaling([1 / 255] * 3)(pixels)
    x = keras.layers.Conv2D(8, 4, strides=4, name="stem_conv")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    return keras.Model(pixels, x, name="tiny")


TINY = replace(BACKBONES["efficientnet-b0"], build=tiny_network)


def tiny_pyramid(*, include_top, weights, input_shape):
    """Four convolutions by half, named as taps: for pretraining in seconds."""
    assert weights is None
    x = pixels = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem_conv")(x)
    for tap in _TAPS:
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=tap)(x)
    return keras.Model(pixels, x, name="tiny_pyramid")


_TAPS = ("quarter", "eighth", "sixteenth", "last")
TINY_PYRAMID = replace(BACKBONES["efficientnet-b0"], build=tiny_pyramid, taps=_TAPS)
#: Trainings of the tiny network in a process of its own: options as JSON, how often; prints each run's id.
TRAIN_SCRIPT = """
import json, sys
import mlflow
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.stages.train.options import TrainOptions
from ich_mlflow.stages.train.train import train
from tests.factories import TINY
BACKBONES["efficientnet-b0"] = TINY
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("tests")
for _ in range(int(sys.argv[3])):
    print("RUN", train(TrainOptions(**json.loads(sys.argv[2]))).run_id, flush=True)
"""


def training_process(
    folder: Path, tracking_uri: str, options: dict[str, str], *, times: int = 1
) -> subprocess.Popen[str]:
    """Start TRAIN_SCRIPT in that folder; its output comes through stdout."""
    return _process(TRAIN_SCRIPT, folder, tracking_uri, options, str(times))


def _process(
    script: str, folder: Path, tracking_uri: str, options: dict[str, Any], *more: str
) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-c", script, tracking_uri, json.dumps(options), *more],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


#: Pixels a side of a phantom where no sentence is about its pixels: a sixteenth of the work of 256.
SMALL_ROWS = 64
PRETRAIN_SCRIPT = """
import json, sys
import mlflow
from ich_mlflow.models.slice_cnn.backbones import BACKBONES
from ich_mlflow.stages.pretrain import pretrain
from ich_mlflow.stages.pretrain.options import PretrainOptions
from tests.factories import SMALL_ROWS, TINY_PYRAMID
BACKBONES["efficientnet-b0"] = TINY_PYRAMID
pretrain.ROWS = SMALL_ROWS
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("tests")
pretrain.pretrain(PretrainOptions(**json.loads(sys.argv[2])))
"""


def pretraining_process(folder: Path, tracking_uri: str, options: dict[str, Any]) -> subprocess.Popen[str]:
    """Pretrain the tiny pyramid in a process of its own, in that folder; its output comes through stdout."""
    return _process(PRETRAIN_SCRIPT, folder, tracking_uri, options)
