"""What sources whose labels are of whole studies have in common: of each study one series is taken, by its headers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

from tqdm import tqdm

from ich_mlflow.dicom.image_header import ImageHeader
from ich_mlflow.dicom.series import read_header
from ich_mlflow.dicom.slice import Slice, parse_slice
from ich_mlflow.errors import DataError, SliceError
from ich_mlflow.series.choice import TO_EVALUATE, SeriesChoice, choose
from ich_mlflow.series.series import Series, scans_of
from ich_mlflow.sources.base import LabelledFile, Quarantined
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import Listing
from ich_mlflow.system.counting import counted

#: Headers read at once: on a share or in object storage it is waiting, not work.
THREADS = 8
#: Files looked at in a go: all at once would keep a waiting task for each of millions.
_BATCH = 4096

#: A file, and its header or why it has none.
LookedAt = tuple[Entry, ImageHeader | Quarantined]


def look_at(folder: Folder, entries: Sequence[Entry], pool: Executor) -> Iterator[LookedAt]:
    """The header of every file, in their order."""
    return zip(entries, pool.map(lambda entry: _header(folder, entry.path), entries), strict=True)


def look_through(folder: Folder, entries: Sequence[Entry]) -> Iterator[LookedAt]:
    """As look_at, of any number of files. On a terminal with a bar: it takes minutes."""
    bar = tqdm(total=len(entries), desc="headers", unit="file", disable=None, leave=False)
    with ThreadPoolExecutor(THREADS) as pool, bar:
        for start in range(0, len(entries), _BATCH):
            for looked in look_at(folder, entries[start : start + _BATCH], pool):
                yield looked
                bar.update()


def choose_slices(study: str, place: str, files: Iterable[LookedAt]) -> Listing:
    """The slices of the study's chosen series (without labels), what of it can't be used, and the choice.

    place: the study's folder, which stands on the list of what can't be used where no series will do.
    """
    groups: dict[tuple[str, str, bool], list[tuple[Entry, ImageHeader]]] = {}
    broken: dict[str, list[Quarantined]] = {}
    for entry, read in files:
        path = folder_of(entry)
        if isinstance(read, Quarantined):
            broken.setdefault(path, []).append(read)
        else:
            # A localizer may stand in the folder of the scan, and even in its series.
            groups.setdefault((path, read.series_uid, read.is_localizer), []).append((entry, read))
    scans: list[tuple[Series, list[Entry]]] = []
    for (path, *_), group in groups.items():
        headers = [header for _, header in group]
        named = PurePosixPath(path).name != study
        for one, places in scans_of(headers, study=study, folder=path, is_named_by_folder=named):
            scans.append((one, [group[k][0] for k in places]))
    scans.sort(key=lambda scan: (scan[0].folder, scan[0].header.series_uid))
    found = choose([one for one, _ in scans], TO_EVALUATE)
    rows = [
        _row(one, chosen=number in found.chosen, why=found.why[number])
        for number, (one, _) in enumerate(scans)
    ]
    if not found.chosen:
        rejected = _no_series(study, place, rows, broken)
        return Listing(files=(), rejected=(rejected,), counts={}, series=tuple(rows))
    chosen, entries = scans[found.chosen[0]]
    slices = tuple(_labelled(entry, header) for entry, header in zip(entries, chosen.headers, strict=True))
    return Listing(files=slices, rejected=tuple(broken.get(chosen.folder, ())), counts={}, series=tuple(rows))


def _row(one: Series, *, chosen: bool, why: str) -> SeriesChoice:
    return SeriesChoice(
        study=one.study,
        series=one.folder,
        step_mm=one.step_mm,
        num_slices=len(one.headers),
        chosen=chosen,
        why=why,
    )


def list_slices(folder: Folder, exams: Listing, chosen: Iterable[Listing]) -> Listing:
    """The chosen slices of all exams, each with its exam's labels and patient.

    exams: an exam in the place of a slice, as match() lists them; chosen: choose_slices of each of their files. Raises
    DataError where no exam can be used.
    """
    files: list[LabelledFile] = []
    rejected: list[Quarantined] = list(exams.rejected)
    series: list[SeriesChoice] = []
    for exam, one in zip(exams.files, chosen, strict=True):
        files += [replace(file, subtypes=exam.subtypes, patient_id=exam.patient_id) for file in one.files]
        rejected += one.rejected
        series += one.series
    if not files:
        raise DataError(f"{folder.name()} has no exam that can be used; the first: {rejected[0].detail}")
    files.sort(key=lambda file: file.sop_uid)
    rejected.sort(key=lambda one: (one.file, one.reason))
    counts = {**exams.counts, "exams": len(exams.files), "slices": len(files)}
    return Listing(files=tuple(files), rejected=tuple(rejected), counts=counts, series=tuple(series))


def read_listed(folder: Folder, file: LabelledFile, *, patient_id: str) -> Slice:
    """Read one slice; patient_id '': the file's. Raises SliceError where it can't be used, or is not the listed one."""
    name = folder.name(file.path)
    ct_slice = parse_slice(folder.read(file.path), name, patient_id=patient_id)
    if ct_slice.sop_uid != file.sop_uid:
        raise SliceError(
            f"{name} holds another slice than when it was listed (SOPInstanceUID differs): run it again",
            reason="another_slice",
            tag="SOPInstanceUID",
        )
    return replace(ct_slice, patient_id=patient_id or ct_slice.patient_id)


def zips_text(paths: Iterable[str]) -> str:
    """That zips among the files are not looked into, for the end of a message; '' where there are none."""
    count = sum(path.lower().endswith(".zip") for path in paths)
    return f" ({counted(count, 'zip')} in it: unpack first)" if count else ""


def folder_of(entry: Entry) -> str:
    """The path of the folder that the file stands in."""
    return str(PurePosixPath(entry.path).parent)


def _header(folder: Folder, path: str) -> ImageHeader | Quarantined:
    try:
        return read_header(lambda num_bytes: folder.read(path, num_bytes=num_bytes), folder.name(path))
    except SliceError as error:
        return Quarantined(file=path, reason=error.reason, tag=error.tag, detail=str(error))


def _labelled(entry: Entry, header: ImageHeader) -> LabelledFile:
    return LabelledFile(
        sop_uid=header.sop_uid,
        path=entry.path,
        subtypes=(0, 0, 0, 0, 0),
        num_bytes=entry.num_bytes,
        modified_ns=entry.modified_ns,
    )


def _no_series(
    study: str, place: str, rows: Sequence[SeriesChoice], broken: Mapping[str, Sequence[Quarantined]]
) -> Quarantined:
    said = [f"{PurePosixPath(row.series).name}: {row.why}" for row in rows]
    said += [f"{PurePosixPath(path).name}: {len(files)} unreadable" for path, files in broken.items()]
    return Quarantined(
        file=place,
        reason="no_series",
        tag="",
        detail=f"none of {study}'s series is a non-contrast axial scan of the head ({'; '.join(said)})",
    )
