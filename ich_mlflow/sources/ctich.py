"""CT-ICH (Hssayeni et al., Data 2020, 5(1), 14), as PhysioNet's versions up to 1.3.0 lay it out."""

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd

from ich_mlflow.ct.hounsfield import from_windows
from ich_mlflow.ct.window import Window
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import Labels, ListedSource, Listing, contradictions, match, require

CSV = "hemorrhage_diagnosis.csv"
IMAGES = "Patients_CT"
BRAIN_JPEG = Window(40, 120)
BONE_JPEG = Window(700, 3200)
SLICE_SPACING_MM = 5.0

_LAYOUT = f"{CSV} and {IMAGES}/NNN/{{brain,bone}}/S.jpg"
_LABELS = [subtype.capitalize() for subtype in SUBTYPES]
_COLUMNS = ["PatientNumber", "SliceNumber", *_LABELS, "No_Hemorrhage"]


@dataclass(frozen=True)
class CtIchSource(ListedSource):
    """The labelled slices below `root`. Hounsfield units are rebuilt from the two windows of each slice.

    Outside the head both JPEGs are black, which the formula makes -900 HU (the bone window's lower end), and
    not -1000: every window in use shows both as black. Pixel spacing isn't recorded; slices are 5 mm apart.
    """

    overlap: ClassVar[str] = "independent of RSNA 2019 (Al Hilla Teaching Hospital, Iraq)"

    @property
    def name(self) -> str:
        """The name that selects this source: ctich."""
        return "ctich"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice from its two JPEGs. Raises SliceError, naming the file, where one can't be read."""
        patient, number = _place(file.path)
        bone_path = _bone_path(file.path)
        brain = _read_grey(self.folder, file.path)
        bone = _read_grey(self.folder, bone_path)
        if brain.shape != bone.shape:
            raise SliceError(
                f"{self.folder.name(file.path)} is {brain.shape} and its bone image {bone.shape}, expected the "
                "same size: copy both again",
                reason="unequal_images",
            )
        return Slice(
            hu=from_windows(narrow=brain, narrow_window=BRAIN_JPEG, wide=bone, wide_window=BONE_JPEG),
            sop_uid=file.sop_uid,
            patient_id=patient,
            study_uid=f"CTICH_{patient}_study",
            series_uid=f"CTICH_{patient}_series",
            position_mm=SLICE_SPACING_MM * int(number),
            pixel_spacing_mm=None,
        )

    def _list(self, folder: Folder) -> Listing:
        require(folder, "", expected=f"a folder with {_LAYOUT}")
        require(folder, CSV, expected=_LAYOUT)
        require(folder, IMAGES, expected=_LAYOUT)
        labels = _read_labels(folder)
        images = {image.path: image for image in folder.files(IMAGES, ".jpg", recursive=True)}
        entries = {}
        for path, brain in images.items():
            patient, number = _place(path)
            # The original holds S_HGE_Seg.jpg masks beside S.jpg.
            if PurePosixPath(path).parent.name == "brain" and number.isdecimal() and patient.isdecimal():
                bone = images.get(_bone_path(path), Entry("", 0, 0))
                newest = max(brain.modified_ns, bone.modified_ns)
                both = Entry(path, brain.num_bytes + bone.num_bytes, newest)
                entries[_sop_uid(int(patient), int(number))] = both
        return match(labels, entries, table=CSV, folder=folder)


def _place(path: str) -> tuple[str, str]:
    """(patient folder, slice number) of Patients_CT/NNN/brain/S.jpg."""
    parts = PurePosixPath(path)
    return parts.parts[-3], parts.stem


def _bone_path(path: str) -> str:
    brain = PurePosixPath(path)
    return str(brain.parent.parent / "bone" / brain.name)


def _sop_uid(patient: int, slice_number: int) -> str:
    return f"CTICH_{patient:03d}_{slice_number:02d}"


def _read_grey(folder: Folder, path: str) -> np.ndarray:
    data = np.frombuffer(folder.read(path), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None:
        raise SliceError(
            f"{folder.name(path)} is no JPEG image, expected the slice in both brain/ and bone/: copy it again",
            reason="not_jpeg",
        )
    return image


def _read_labels(folder: Folder) -> Labels:
    table = _parse_rows(folder.name(CSV), folder.read(CSV))
    num_rows = len(table)
    table = table.drop_duplicates()
    uids = [_sop_uid(*row) for row in table[["PatientNumber", "SliceNumber"]].itertuples(index=False)]
    twice = pd.Index(uids).duplicated(keep=False)
    bleeds = table[_LABELS].to_numpy().any(axis=1)
    unequal = bleeds == (table["No_Hemorrhage"].to_numpy() == 1)
    rejected = {
        **contradictions(uids, unequal, "any_contradicts", "No_Hemorrhage contradicts the subtypes"),
        **contradictions(uids, twice, "contradicting_rows", "labelled twice, differently"),
    }
    subtypes = map(tuple, table[_LABELS].to_numpy().tolist())
    return Labels(
        subtypes={uid: label for uid, label in zip(uids, subtypes, strict=True) if uid not in rejected},
        rejected=rejected,
        counts={"rows": num_rows, "repeated_rows": num_rows - len(table)},
    )


def _parse_rows(path: str, data: bytes) -> pd.DataFrame:
    try:
        # The original begins with a byte-order mark.
        table = pd.read_csv(io.BytesIO(data), encoding="utf-8-sig", skipinitialspace=True)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} can't be read as a table ({reason}): copy it again") from None
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns))}, expected {', '.join(_COLUMNS)}: "
            "copy the table again"
        )
    numbers = table[_COLUMNS].apply(pd.to_numeric, errors="coerce")
    flags = numbers[[*_LABELS, "No_Hemorrhage"]]
    whole = (numbers[["PatientNumber", "SliceNumber"]] % 1 == 0).all(axis=1)
    bad = np.flatnonzero(~(flags.isin([0, 1]).all(axis=1) & whole).to_numpy())
    if len(bad) or not len(numbers):
        where = f"{len(bad)} unreadable rows, the first on line {bad[0] + 2}" if len(bad) else "no rows"
        raise DataError(f"{path} has {where}, expected numbers, labels 0 or 1: copy the table again")
    return numbers.astype(int)
