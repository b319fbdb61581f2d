"""CQ500 (Chilamkurthy et al., The Lancet 2018, 392, 2388-2396): 491 head CT exams, each read by three radiologists."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np
import pandas as pd
from tqdm import tqdm

from ich_mlflow.dicom.series import SliceHeader, read_header
from ich_mlflow.dicom.slice import Slice, parse_slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.series.choice import Series, SeriesChoice, choose_series
from ich_mlflow.sources.base import LabelledFile, LabelLevel, Quarantined
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

CSV = "reads.csv"
READERS = ("R1", "R2", "R3")
#: The table's names of labels.SUBTYPES, and of any bleed.
_SUBTYPES = ("EDH", "IPH", "IVH", "SAH", "SDH")
_ANY = "ICH"
_COLUMNS = ["name", *(f"{reader}:{label}" for label in (*_SUBTYPES, _ANY) for reader in READERS)]

_LAYOUT = f"{CSV} and, anywhere below, CQ500CT<n> CQ500CT<n>/Unknown Study/<series>/CT<number>.dcm"
_ROW_NAME = re.compile(r"CQ500-CT-(\d+)")
_FOLDER_NAME = re.compile(r"CQ500-?CT-?(\d+)(?:[ _]CQ500-?CT-?\d+)?")
#: Headers read at once: on a share or in object storage it is waiting, not work.
_THREADS = 8

#: The image files of a study by the folder of their series.
_Found = dict[str, list[Entry]]


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
        name = self.folder.name(file.path)
        ct_slice = parse_slice(self.folder.read(file.path), name, patient_id=_study_of(file.path)[0])
        if ct_slice.sop_uid != file.sop_uid:
            raise SliceError(
                f"{name} holds another slice than when it was listed (SOPInstanceUID differs): run it again",
                reason="another_slice",
                tag="SOPInstanceUID",
            )
        return ct_slice

    def _list(self, folder: Folder) -> Listing:
        require(folder, "", expected=f"a folder with {_LAYOUT}")
        require(folder, CSV, expected=_LAYOUT)
        labels, found = _read_labels(folder), _find(folder)
        if not found.keys() & labels.subtypes.keys():
            raise DataError(
                f"{folder.name()} has image files of {len(found)} exams and usable labels in {CSV} for "
                f"{len(labels.subtypes)}, and none in common, expected {_LAYOUT}: pass the folder that holds both"
            )
        places = {study: Entry(_study_path(files), 0, 0) for study, files in found.items()}
        exams = match(labels, places, table=CSV, folder=folder)
        files: list[LabelledFile] = []
        rejected: list[Quarantined] = list(exams.rejected)
        series: list[SeriesChoice] = []
        for exam, looked in zip(exams.files, _look_through(folder, exams, found), strict=True):
            files += [replace(file, subtypes=exam.subtypes) for file in looked.files]
            rejected += looked.rejected
            series += looked.series
        if not files:
            raise DataError(f"{folder.name()} has no exam that can be used; the first: {rejected[0].detail}")
        files.sort(key=lambda file: file.sop_uid)
        rejected.sort(key=lambda one: (one.file, one.reason))
        counts = {**exams.counts, "exams": len(exams.files), "slices": len(files)}
        return Listing(files=tuple(files), rejected=tuple(rejected), counts=counts, series=tuple(series))


def _find(folder: Folder) -> dict[str, _Found]:
    """The image files of each study."""
    found: dict[str, _Found] = {}
    for entry in sorted(folder.files("", ".dcm", recursive=True)):
        study, path = _study_of(entry.path)
        if path:
            found.setdefault(study, {}).setdefault(str(PurePosixPath(entry.path).parent), []).append(entry)
    return found


def _study_of(path: str) -> tuple[str, str]:
    """The study's name as the table has it, and its folder, of a file in it; '' and '' where it is in none."""
    parts = PurePosixPath(path).parts[:-1]
    for depth, part in enumerate(parts, start=1):
        named = _FOLDER_NAME.fullmatch(part)
        if named:
            return f"CQ500-CT-{int(named[1])}", "/".join(parts[:depth])
    return "", ""


def _study_path(files: _Found) -> str:
    return _study_of(next(iter(files.values()))[0].path)[1]


def _look_through(folder: Folder, exams: Listing, found: Mapping[str, _Found]) -> Iterator[Listing]:
    """The chosen series of each exam, in their order. On a terminal with a bar: it takes minutes."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for exam in tqdm(exams.files, desc="headers", unit="exam", disable=None, leave=False):
            yield _choose(folder, exam.sop_uid, found[exam.sop_uid], pool)


def _choose(folder: Folder, study: str, found: _Found, pool: ThreadPoolExecutor) -> Listing:
    """The slices of the study's chosen series (without labels), what of it can't be used, and the choice."""
    groups: dict[tuple[str, str, bool], dict[str, tuple[Entry, SliceHeader]]] = {}
    broken: dict[str, list[Quarantined]] = {}
    for path, entries in found.items():
        for entry, read in zip(
            entries, pool.map(lambda one: _header(folder, one.path), entries), strict=True
        ):
            if isinstance(read, Quarantined):
                broken.setdefault(path, []).append(read)
            else:
                # A localizer may stand in the folder of the scan, and even in its series.
                group = groups.setdefault((path, read.series_uid, read.is_localizer), {})
                group[entry.path] = (entry, read)
    series = {
        key: Series(study=study, folder=key[0], headers=tuple(header for _, header in group.values()))
        for key, group in groups.items()
    }
    chosen, rows = choose_series(list(series.values()))
    if chosen is None:
        return Listing(
            files=(), rejected=(_no_series(study, found, rows, broken),), counts={}, series=tuple(rows)
        )
    key = next(key for key, one in series.items() if one is chosen)
    files = tuple(_labelled(entry, header) for entry, header in groups[key].values())
    return Listing(files=files, rejected=tuple(broken.get(key[0], ())), counts={}, series=tuple(rows))


def _header(folder: Folder, path: str) -> SliceHeader | Quarantined:
    try:
        return read_header(lambda num_bytes: folder.read(path, num_bytes=num_bytes), folder.name(path))
    except SliceError as error:
        return Quarantined(file=path, reason=error.reason, tag=error.tag, detail=str(error))


def _labelled(entry: Entry, header: SliceHeader) -> LabelledFile:
    return LabelledFile(
        sop_uid=header.sop_uid,
        path=entry.path,
        subtypes=(0, 0, 0, 0, 0),
        num_bytes=entry.num_bytes,
        modified_ns=entry.modified_ns,
    )


def _no_series(
    study: str, found: _Found, rows: Sequence[SeriesChoice], broken: Mapping[str, Sequence[Quarantined]]
) -> Quarantined:
    said = [f"{PurePosixPath(row.series).name}: {row.why}" for row in rows]
    said += [f"{PurePosixPath(path).name}: {len(files)} unreadable" for path, files in broken.items()]
    return Quarantined(
        file=_study_path(found),
        reason="no_series",
        tag="",
        detail=f"none of {study}'s series is a non-contrast axial scan of the head ({'; '.join(said)})",
    )


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
