"""A table of slices: a row names a DICOM file, and has its labels."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from ich_mlflow.errors import DataError, nearest
from ich_mlflow.sources.base import NO_FILE, UNMATCHED, LabelledFile, Quarantined
from ich_mlflow.sources.folder import Entry, Folder
from ich_mlflow.sources.listing import Listing, match
from ich_mlflow.sources.studies import look_through
from ich_mlflow.sources.table_columns import FILE, PATIENT, STUDY
from ich_mlflow.sources.table_rows import LabelRow, LabelTable

#: Missing files of which the most alike name is looked for: each costs a comparison with a whole folder.
_COMPARED = 20


#: A file of the table whose header could be read, and its row.
_Image = tuple[LabelledFile, LabelRow]


def list_files(folder: Folder, table: LabelTable) -> Listing:
    """The files of the table, each with its row's labels and patient, by SOPInstanceUID.

    The header of each is read. Files in the same folders with the same suffix and without a row are listed as such.
    Raises DataError where no row's file is there or can be used, or nobody says whose a file is.
    """
    here = _entries(folder, table.rows)
    if not here.keys() & table.rows.keys():
        raise DataError(_none_there(folder, table))
    suffixes = {PurePosixPath(name).suffix for name in table.rows} - {""}
    beside = {path for path in here if PurePosixPath(path).suffix in suffixes and path != table.name}
    entries = {path: here[path] for path in here if path in table.rows or path in beside}
    listed = table.with_lines(match(table.labels(), entries, table=table.name, folder=folder))
    rejected = list(_with_nearest(listed.rejected, here))
    images, faulty = _look_through(folder, table, [entries[file.path] for file in listed.files], listed)
    kept, copies, unlike = _one_each(images, table)
    rejected += [*faulty, *unlike]
    if not kept:
        first = next(one for one in rejected if one.reason not in UNMATCHED)
        raise DataError(f"{table.path} names no slice that can be used; the first: {first.detail}")
    rejected.sort(key=lambda one: (one.file, one.reason))
    counts = {**listed.counts, "slices": len(kept), "copies": copies}
    return Listing(files=tuple(kept), rejected=tuple(rejected), counts=counts)


def _entries(folder: Folder, names: Iterable[str]) -> dict[str, Entry]:
    """Every file of the folders that the names are in, by path."""
    places = sorted({posixpath.dirname(name) for name in names})
    there = (place for place in places if _is_there(folder, place))
    return {entry.path: entry for place in there for entry in folder.files(place, "")}


def _is_there(folder: Folder, place: str) -> bool:
    try:
        return folder.exists(place)
    except OSError:  # no name that a file system takes
        return False


def _none_there(folder: Folder, table: LabelTable) -> str:
    name, row = next(iter(table.rows.items()))
    drive = " (a path of Windows)" if name[1:3] == ":/" else ""
    return (
        f"{table.path} names {len(table.rows):,} files and none of them is there, the first {name}{drive} on line "
        f"{row.line}, expected paths from {folder.name()} or whole ones: mend the column {FILE}, or if it names "
        f"studies pass -P columns={STUDY}=<its column>"
    )


def _with_nearest(rejected: Iterable[Quarantined], here: Mapping[str, Entry]) -> Iterator[Quarantined]:
    """The rejected, and of the first files that are not there which name is most like theirs."""
    compared = 0
    for one in rejected:
        if one.reason != NO_FILE or compared == _COMPARED:
            yield one
            continue
        compared += 1
        place = posixpath.dirname(one.file)
        yield replace(
            one,
            detail=one.detail
            + nearest(
                one.file,
                [p for p in here if posixpath.dirname(p) == place and _digits(p) == _digits(one.file)],
            ),
        )


def _look_through(
    folder: Folder, table: LabelTable, entries: list[Entry], listed: Listing
) -> tuple[list[_Image], list[Quarantined]]:
    """The listed files whose headers can be read, and the others with their lines."""
    images, faulty = [], []
    for file, (_, header) in zip(listed.files, look_through(folder, entries), strict=True):
        row = table.rows[file.path]
        if isinstance(header, Quarantined):
            faulty.append(replace(header, detail=f"line {row.line} of {table.name}: {header.detail}"))
            continue
        if not (row.patient or header.patient_id):
            raise DataError(
                f"{table.path}, line {row.line}: {file.path} has no PatientID and the table no column {PATIENT}, "
                f"expected one of them, since patients may not cross splits: add the column {PATIENT}"
            )
        named = replace(file, sop_uid=header.sop_uid, patient_id=row.patient)
        images.append((named, row))
    return images, faulty


def _one_each(
    images: Iterable[_Image], table: LabelTable
) -> tuple[list[LabelledFile], int, list[Quarantined]]:
    """Of copies of one image the largest file, by SOPInstanceUID; how many more there are; those that contradict."""
    by_uid: dict[str, list[_Image]] = {}
    for image in images:
        by_uid.setdefault(image[0].sop_uid, []).append(image)
    kept, copies, unlike = [], 0, []
    for _, same in sorted(by_uid.items()):
        files, first = [file for file, _ in same], same[0][1]
        other = next((row for _, row in same if row.differs(first)), None)
        if other is None:
            kept.append(max(files, key=lambda file: file.num_bytes))  # a copy may be cut short
            copies += len(files) - 1
            continue
        detail = (
            f"line {first.line} and line {other.line} of {table.name} label one image (SOPInstanceUID) "
            "differently: remove one"
        )
        unlike += [
            Quarantined(file=file.path, reason="contradicting_rows", tag="SOPInstanceUID", detail=detail)
            for file in files
        ]
    return kept, copies, unlike


def _digits(name: str) -> str:
    """A name with other digits is another file: to take its slice for this one's would mislabel a patient."""
    return "".join(one for one in name if one.isdigit())
