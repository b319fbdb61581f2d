"""CQ500 (Chilamkurthy et al., The Lancet 2018, 392, 2388-2396): 491 head CT exams, each read by three radiologists."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from ich_mlflow.dicom.slice import Slice
from ich_mlflow.errors import DataError
from ich_mlflow.sources.base import LabelledFile, LabelLevel
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import (
    Labels,
    ListedSource,
    Listing,
    contradictions,
    match,
    read_table,
    require,
)
from ich_mlflow.sources.studies import THREADS, choose_slices, list_slices, look_at, read_listed, zips_text

CSV = "reads.csv"
READERS = ("R1", "R2", "R3")
#: The table's names of labels.SUBTYPES, and of any bleed.
_SUBTYPES = ("EDH", "IPH", "IVH", "SAH", "SDH")
_ANY = "ICH"
_COLUMNS = ["name", *(f"{reader}:{label}" for label in (*_SUBTYPES, _ANY) for reader in READERS)]

_LAYOUT = f"{CSV} and, anywhere below, CQ500CT<n> CQ500CT<n>/Unknown Study/<series>/CT<number>.dcm"
_ROW_NAME = re.compile(r"CQ500-CT-(\d+)")
_FOLDER_NAME = re.compile(r"CQ500-?CT-?(\d+)(?:[ _]CQ500-?CT-?\d+)?")


_IMAGES = (".dcm", ".dcm.gz")


@dataclass(frozen=True)
class Cq500Source(ListedSource):
    """One series of each exam below `root`, by sources.series_choice; every slice carries its exam's labels.

    The truth of a label is what two of the three readers say. Where their majorities on any bleed and on the
    subtypes contradict each other the subtypes stand, and audit() counts it: ich_without_subtype,
    subtype_without_ich. Its other counts are of exams, but for `slices`. Looking through the folder reads the
    header of every file of every exam with labels.
    """

    name: ClassVar[str] = "cq500"
    label_level: ClassVar[LabelLevel] = "study"
    overlap: ClassVar[str] = "independent of RSNA 2019 (Centre for Advanced Research in Imaging, New Delhi)"

    def read(self, file: LabelledFile) -> Slice:
        """Read one slice. Raises SliceError where it can't be used, or is not the one that was listed."""
        return read_listed(self.folder, file, patient_id=_study_of(file.path)[0])

    def _list(self, folder: Folder) -> Listing:
        require(folder, "", expected=f"a folder with {_LAYOUT}")
        require(folder, CSV, expected=_LAYOUT)
        entries = folder.files("", "", recursive=True)
        labels, found = _read_labels(folder), _find(entries)
        if not found.keys() & labels.subtypes.keys():
            raise DataError(
                f"{folder.name()} has image files of {len(found)} exams and usable labels in {CSV} for "
                f"{len(labels.subtypes)}, and none in common, expected {_LAYOUT}: pass the folder that holds both"
                + zips_text([entry.path for entry in entries])
            )
        places = {study: Entry(_study_path(files), 0, 0) for study, files in found.items()}
        exams = match(labels, places, table=CSV, folder=folder)
        return list_slices(folder, exams, _look_through(folder, exams, found))


def _find(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The image files of each study."""
    found: dict[str, list[Entry]] = {}
    for entry in sorted(entry for entry in entries if entry.path.endswith(_IMAGES)):
        study, path = _study_of(entry.path)
        if path:
            found.setdefault(study, []).append(entry)
    return found


def _study_of(path: str) -> tuple[str, str]:
    """The study's name as the table has it, and its folder, of a file in it; '' and '' where it is in none."""
    parts = PurePosixPath(path).parts[:-1]
    for depth, part in enumerate(parts, start=1):
        named = _FOLDER_NAME.fullmatch(part)
        if named:
            return f"CQ500-CT-{int(named[1])}", "/".join(parts[:depth])
    return "", ""


def _study_path(files: Sequence[Entry]) -> str:
    return _study_of(files[0].path)[1]


def _look_through(folder: Folder, exams: Listing, found: Mapping[str, Sequence[Entry]]) -> Iterator[Listing]:
    """The chosen series of each exam, in their order. On a terminal with a bar: it takes minutes."""
    with ThreadPoolExecutor(THREADS) as pool:
        for exam in tqdm(exams.files, desc="headers", unit="exam", disable=None, leave=False):
            files = found[exam.sop_uid]
            yield choose_slices(exam.sop_uid, _study_path(files), look_at(folder, files, pool))


def _read_labels(folder: Folder) -> Labels:
    """The majority of the readers, by study."""
    table = _parse_rows(folder.name(CSV), folder.read(CSV))
    num_rows = len(table)
    table = table.drop_duplicates()
    names = [f"CQ500-CT-{number}" for number in table["name"]]
    twice = contradictions(
        names, pd.Index(names).duplicated(keep=False), "contradicting_rows", "read twice, differently"
    )
    votes = {
        label: table[[f"{reader}:{label}" for reader in READERS]].sum(axis=1).to_numpy()
        for label in (*_SUBTYPES, _ANY)
    }
    any_bleed = votes.pop(_ANY) >= 2
    subtypes = np.column_stack(list(votes.values())) >= 2
    with_subtype = subtypes.any(axis=1)
    rows = map(tuple, subtypes.astype(int).tolist())
    return Labels(
        subtypes={name: label for name, label in zip(names, rows, strict=True) if name not in twice},
        rejected=twice,
        counts={
            "rows": num_rows,
            "repeated_rows": num_rows - len(table),
            "ich_without_subtype": int((any_bleed & ~with_subtype).sum()),
            "subtype_without_ich": int((with_subtype & ~any_bleed).sum()),
        },
    )


def _parse_rows(path: str, data: bytes) -> pd.DataFrame:
    """The study's number as `name`, and the readers' labels 0 or 1."""
    table = read_table(path, data)
    missing = [column for column in _COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}, expected name, Category, R1:ICH, R1:IPH, … R3:SAH: copy "
            "the table again"
        )
    numbers = table[_COLUMNS].copy()
    numbers["name"] = table["name"].astype(str).str.strip().str.extract(f"^{_ROW_NAME.pattern}$")[0]
    numbers = numbers.apply(pd.to_numeric, errors="coerce")
    good = numbers["name"].notna() & numbers[_COLUMNS[1:]].isin([0, 1]).all(axis=1)
    bad = np.flatnonzero(~good.to_numpy())
    if len(bad) or not len(numbers):
        where = f"{len(bad)} unreadable rows, the first on line {bad[0] + 2}" if len(bad) else "no rows"
        raise DataError(
            f"{path} has {where}, expected CQ500-CT-<n> and reads of 0 or 1: copy the table again"
        )
    return numbers.astype(int)
