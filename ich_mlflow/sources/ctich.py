"""CT-ICH (Hssayeni et al., Data 2020, 5(1), 14), as PhysioNet's versions up to 1.3.0 lay it out."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ich_mlflow.ct.hounsfield import from_windows
from ich_mlflow.ct.window import Window
from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.labels import SUBTYPES
from ich_mlflow.sources.base import LabelledFile
from ich_mlflow.sources.listing import ListedSource, Listing, Subtypes, keep_both, require

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

    @property
    def name(self) -> str:
        """The name that selects this source: ctich."""
        return "ctich"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice from its two JPEGs. Raises SliceError, naming the file, where one can't be read."""
        folder = file.path.parent.parent
        brain = _read_grey(file.path)
        bone = _read_grey(folder / "bone" / file.path.name)
        if brain.shape != bone.shape:
            raise SliceError(
                f"{file.path} is {brain.shape} and its bone image {bone.shape}, expected the same size: "
                "copy both again"
            )
        return Slice(
            hu=from_windows(narrow=brain, narrow_window=BRAIN_JPEG, wide=bone, wide_window=BONE_JPEG),
            sop_uid=file.sop_uid,
            patient_id=folder.name,
            study_uid=f"CTICH_{folder.name}_study",
            series_uid=f"CTICH_{folder.name}_series",
            position_mm=SLICE_SPACING_MM * int(file.path.stem),
            pixel_spacing_mm=None,
        )

    def _list(self, root: Path) -> Listing:
        require(root, expected=f"a folder with {_LAYOUT}")
        require(root / CSV, expected=_LAYOUT)
        require(root / IMAGES, expected=_LAYOUT)
        labels, counts = _read_labels(root / CSV)
        # The original holds S_HGE_Seg.jpg masks beside S.jpg.
        paths = {
            _sop_uid(int(path.parts[-3]), int(path.stem)): path
            for path in root.glob(f"{IMAGES}/*/brain/*.jpg")
            if path.stem.isdecimal() and path.parts[-3].isdecimal()
        }
        return keep_both(labels, paths, counts, root=root)


def _sop_uid(patient: int, slice_number: int) -> str:
    return f"CTICH_{patient:03d}_{slice_number:02d}"


def _read_grey(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if image is None:
        raise SliceError(
            f"{path} is missing or no JPEG image, expected the slice in both brain/ and bone/: copy it again"
        )
    return image


def _read_labels(path: Path) -> tuple[dict[str, Subtypes], dict[str, int]]:
    """Subtypes by sop_uid, and counts of rows."""
    table = _parse_rows(path)
    num_rows = len(table)
    table = table.drop_duplicates()
    uids = [_sop_uid(*row) for row in table[["PatientNumber", "SliceNumber"]].itertuples(index=False)]
    table.index = pd.Index(uids)
    _refuse(path, table.index.duplicated(), uids, "labelled twice, differently", "remove the wrong rows")
    bleeds = table[_LABELS].to_numpy().any(axis=1)
    contradiction = bleeds == (table["No_Hemorrhage"].to_numpy() == 1)
    _refuse(path, contradiction, uids, "whose No_Hemorrhage contradicts the subtypes", "correct the labels")
    subtypes = map(tuple, table[_LABELS].to_numpy().tolist())
    counts = {"rows": num_rows, "repeated_rows": num_rows - len(table)}
    return dict(zip(uids, subtypes, strict=True)), counts


def _parse_rows(path: Path) -> pd.DataFrame:
    try:
        # The original begins with a byte-order mark.
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, OSError) as error:
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


def _refuse(path: Path, wrong: np.ndarray, uids: list[str], what: str, fix: str) -> None:
    slices = np.flatnonzero(wrong)
    if len(slices):
        raise DataError(f"{path} has {len(slices)} slices {what}, the first is {uids[slices[0]]}: {fix}")
